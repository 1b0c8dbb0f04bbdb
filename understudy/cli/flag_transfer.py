"""`understudy flags export` and `import`: flags as files, of flagd, Unleash and GrowthBook."""

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import Reason, print_change
from understudy.cli.flag_app import flag_app
from understudy.cli.flag_commands import DryRun, Form, Format, Yes, read_mapping
from understudy.cli.frame import CommandError, ExitCode, complain

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi
    from understudy.transfer import Imported, Merged

_MOST_NAMED: Final = 20
_YAML: Final = (".yaml", ".yml")


class Out(StrEnum):
    """What flags are exported as."""

    FLAGD = "flagd"


class Kind(StrEnum):
    """Whose file is imported."""

    FLAGD = "flagd"
    UNLEASH = "unleash"
    GROWTHBOOK = "growthbook"


@flag_app.command("export")
def export_flags(
    form: Annotated[Out, typer.Option("--format", help="Of which product.")] = Out.FLAGD,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to; YAML when it is named so.", show_default=False
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            help="A configuration or rules document, instead of the rules in force.",
            show_default=False,
        ),
    ] = None,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
) -> None:
    """Write all flags and segments as a file in flagd's format. Importing it again changes nothing."""
    from understudy.cli.output_file import write_file
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import json_text
    from understudy.cli.streams import print_document
    from understudy.config import read_file, write_yaml
    from understudy.transfer import lost_in_flagd, write_flagd

    _ = form  # so far there is one
    if config is None:
        api = AdminApi(admin, token)
        document: Any = api.json(api.get("/api/v1/rules"))
    else:
        document = read_file(config)
        if not isinstance(document, dict) or not isinstance(document.get("flags", {}), dict):
            raise CommandError(f"{config}: has no mapping of flags")
    exported = write_flagd(document)
    is_yaml = output is not None and output.suffix in _YAML
    text = write_yaml(exported) if is_yaml else json_text(exported)
    if output is None:
        print_document(text)
    else:
        write_file(output, text)
    for lost in lost_in_flagd(document):
        complain(str(lost), is_warning=True)


@flag_app.command("import")
def import_flags(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON or YAML; - is standard input.", show_default=False),
    ],
    kind: Annotated[
        Kind | None, typer.Option("--from", help="Whose file it is; usually it tells.", show_default=False)
    ] = None,
    environment: Annotated[
        str, typer.Option("--from-environment", metavar="NAME", help="Which environment of the export.")
    ] = "",
    unit: Annotated[
        str,
        typer.Option(
            "--unit",
            metavar="ATTRIBUTE",
            help="What becomes the targetingKey: userId of Unleash, id of GrowthBook.",
        ),
    ] = "",
    merge: Annotated[bool, typer.Option("--merge", help="Replace flags that say something else.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Remove flags that are not in FILE.")] = False,
    accept_moved_units: Annotated[
        bool,
        typer.Option("--accept-moved-units", help="Percentages keep their shares, but fall on other units."),
    ] = False,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="Import the others when some cannot be.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """Import flags of flagd, Unleash or GrowthBook, where their meaning is the same; all or none."""
    from understudy.cli.remote import AdminApi
    from understudy.transfer import Mode, merged, read_flags

    if merge and replace:
        raise CommandError("--merge or --replace, not both", code=ExitCode.USAGE)
    mode = Mode.MERGE if merge else Mode.REPLACE if replace else Mode.ADD
    given = read_mapping(file, "a file of flags is a mapping")
    imported = read_flags(given, kind=kind.value if kind else "", environment=environment, unit=unit)
    _check(imported, is_skipping=skip_refused, is_moving=accept_moved_units or dry_run)
    api = AdminApi(admin, token)
    answer = api.get("/api/v1/rules")
    done = merged(api.json(answer), imported, mode)
    why = reason or f"import {Path(os.fspath(file)).name}"
    _put(api, done, api.version(answer), why, is_dry=dry_run, is_yes=yes, as_json=form is Form.JSON)


def _check(imported: "Imported", *, is_skipping: bool, is_moving: bool) -> None:
    """Tell what an import would lose. Raises: CommandError unless that was accepted."""
    from understudy.cli.screen import print_problems

    noted: dict[str, list[str]] = {}
    for note in imported.notes:
        noted.setdefault(note.message, []).append(note.path)
    for message, keys in noted.items():
        complain(f"{_named(keys)}: {message}", is_warning=True)
    if imported.problems:
        print_problems(imported.problems, subject="the file")
    if imported.problems and not is_skipping:
        hint = f"not imported: {_named(imported.refused)}; --skip-refused imports the others"
        raise CommandError("nothing was imported", hint)
    if imported.moved:
        what = "1 flag" if len(imported.moved) == 1 else f"{len(imported.moved)} flags"
        message = f"{what} with percentages: the shares stay, but they fall on other units"
        complain(
            f"{message} ({_named(imported.moved)})", "the products hash units differently", is_warning=True
        )
        if not is_moving:
            raise CommandError("nothing was imported", "--accept-moved-units imports them nevertheless")


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(keys[:_MOST_NAMED]) + more


def _put(
    api: "AdminApi",
    done: "Merged",
    version: int,
    reason: str,
    *,
    is_dry: bool,
    is_yes: bool,
    as_json: bool,
) -> None:
    from understudy.cli.flag_change import make
    from understudy.cli.screen import print_json

    summary = {name: list(getattr(done, name)) for name in ("added", "replaced", "removed", "unchanged")}
    if not as_json:
        for name, keys in summary.items():
            typer.echo(f"{name}: {len(keys)}{f' ({_named(keys)})' if keys else ''}")

    def send(dry: bool) -> dict[str, Any]:
        answer = api.change(
            "PUT", "/api/v1/rules", dict(done.document), version=version, reason=reason, is_dry=dry
        )
        told = api.json(answer, key="changes" if dry else "version")
        return {**told, **summary}

    def brief(told: dict[str, Any]) -> dict[str, Any]:
        return _brief(told, done) if told["changes"] else told

    change = make(api, send, version=version, is_dry=is_dry, is_yes=is_yes, as_json=as_json, brief=brief)
    if change is not None and as_json:
        print_json(change)
    elif change is not None:
        print_change("the flags are imported", change)


def _brief(told: Mapping[str, Any], done: "Merged") -> dict[str, Any]:
    """*told* without the whole text of flags that are new or gone: these were named."""
    named = {f"/flags/{key}" for key in (*done.added, *done.removed)}
    changes = [change for change in told.get("changes", ()) if change["path"] not in named]
    moves = [move for move in told.get("moves", ()) if move["flag"] not in done.added]
    return {**told, "changes": changes, "moves": moves, "is_brief": True}
