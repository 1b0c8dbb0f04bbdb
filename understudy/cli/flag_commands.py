"""`understudy flag list|get|set|weights|history|restore`: one flag at a time, as the REST API has them."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import DocumentFormat, Reason, kill, print_change, revive
from understudy.cli.flag_app import flag_app
from understudy.cli.frame import CommandError, ExitCode

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi


class Form(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


class State(StrEnum):
    """Whether a flag answers."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class Listed(StrEnum):
    """The states by which flags are listed."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    KILLED = "KILLED"


Flag = Annotated[str, typer.Argument(metavar="FLAG", help="Key of the flag.", show_default=False)]
Format = Annotated[Form, typer.Option("--format", help="For people, or JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change, and who would move.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]


def path_of(key: str, action: str = "") -> str:
    """The path of flag *key*, or of what is done to it."""
    return f"/api/v1/flags/{quote(os.fsencode(key), safe='')}{f'/{action}' if action else ''}"


@flag_app.command("list")
def list_flags(
    words: Annotated[str, typer.Option("--search", metavar="TEXT", help="In key, description, owner.")] = "",
    tag: Annotated[str, typer.Option("--tag", metavar="TAG")] = "",
    owner: Annotated[str, typer.Option("--owner", metavar="NAME")] = "",
    state: Annotated[Listed | None, typer.Option("--state", show_default=False)] = None,
    archived: Annotated[
        bool | None, typer.Option("--archived/--not-archived", help="Only these.", show_default=False)
    ] = None,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """List flags: state, default variant, variants, owner and tags."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, print_rows, visible

    asked = {"q": words, "tag": tag, "owner": owner, "state": state.value if state else ""}
    if archived is not None:
        asked["archived"] = "true" if archived else "false"
    api = AdminApi(admin, token)
    flags = list(_all_flags(api, {name: value for name, value in asked.items() if value}))
    if form is Form.JSON:
        print_json({"flags": flags})
        return
    rows = [("flag", "state", "default", "variants", "owner", "tags"), *map(_row, flags)]
    print_rows([[visible(cell) for cell in row] for row in rows])


def _all_flags(api: "AdminApi", asked: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every flag that fits, page by page."""
    after = {"limit": "1000"}
    while True:
        told = api.json(api.get(f"/api/v1/flags?{urlencode({**asked, **after})}"), key="flags")
        yield from told["flags"]
        if told.get("next") is None:
            return
        after["after"] = str(told["next"])


def _row(flag: Mapping[str, Any]) -> tuple[str, ...]:
    labels = flag.get("metadata") or {}
    state = "KILLED" if flag.get("killed") else str(flag.get("state", "ENABLED"))
    return (
        str(flag["key"]),
        "ARCHIVED" if labels.get("archived") is True else state,
        str(flag.get("defaultVariant") or "-"),
        ", ".join(flag.get("variants") or {}),
        str(labels.get("owner", "-")),
        str(labels.get("tags", "-")),
    )


@flag_app.command("get")
def get_flag(
    flag: Flag,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Annotated[DocumentFormat, typer.Option("--format", help="How to print it.")] = DocumentFormat.YAML,
) -> None:
    """Print FLAG with the version of the rules, ready to be changed and set again."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json
    from understudy.cli.streams import print_document
    from understudy.config import write_yaml

    version, found = read_flag(AdminApi(admin, token), flag)
    document = {"version": version, **found}
    if form is DocumentFormat.JSON:
        print_json(document)
    else:
        print_document(write_yaml(document))


def read_flag(api: "AdminApi", key: str) -> tuple[int, dict[str, Any]]:
    """The version of the rules, and flag *key* in it. Raises: CommandError."""
    answer = api.get(path_of(key))
    return api.version(answer), api.json(answer, key="key")


@flag_app.command("set")
def set_flag(
    flag: Flag,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Its definition, YAML or JSON; - is standard input.", show_default=False
        ),
    ] = None,
    default: Annotated[
        str, typer.Option("--default", metavar="VARIANT", help="Change the default variant alone.")
    ] = "",
    state: Annotated[
        State | None,
        typer.Option("--state", help="Change the state alone.", show_default=False),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """Create or replace FLAG, after showing what changes and who moves; or change its default or state."""
    from understudy.cli.remote import AdminApi

    patch = _patch(default, state)
    if (file is None) == (not patch):
        raise CommandError("set a FILE, or --default and --state", code=ExitCode.USAGE)
    api = AdminApi(admin, token)
    if file is None:
        version, _ = read_flag(api, flag)
        _change(api, "PATCH", flag, patch, version, dry_run, yes, reason, form)
        return
    given = read_mapping(file, "a flag is a mapping with variants and defaultVariant")
    inside = given.pop("version", None)
    if inside is not None and (isinstance(inside, bool) or not isinstance(inside, int)):
        raise CommandError(f"{file}: version is a whole number", code=ExitCode.USAGE)
    _change(api, "PUT", flag, given, inside or _version_of(api, flag), dry_run, yes, reason, form)


def _patch(default: str, state: State | None) -> dict[str, str]:
    found = {"defaultVariant": default, "state": state.value if state else ""}
    return {name: value for name, value in found.items() if value}


def read_mapping(file: Path, otherwise: str) -> dict[str, Any]:
    """The mapping in *file* (- is standard input). Raises: CommandError *otherwise*, ConfigError."""
    from understudy.config import MOST_BYTES, parse_bytes, read_file

    if str(file) == "-":
        given = parse_bytes(sys.stdin.buffer.read(MOST_BYTES + 1), "standard input")
    else:
        given = read_file(file)
    if not isinstance(given, dict):
        raise CommandError(f"{file}: {otherwise}")
    return given


def _version_of(api: "AdminApi", key: str) -> int | None:
    """The version of the rules; None when there is no such flag yet."""
    found = api.find(path_of(key))
    return None if found is None else api.version(found)


def _change(
    api: "AdminApi",
    method: str,
    key: str,
    document: object,
    version: int | None,
    is_dry: bool,
    is_yes: bool,
    reason: str,
    form: Form,
    *,
    action: str = "",
    done: str = "is set",
) -> None:
    """Show, ask and do one change of flag *key*, and say so."""
    from understudy.cli.flag_change import make
    from understudy.cli.screen import print_json

    def send(dry: bool) -> dict[str, Any]:
        answer = api.change(
            method, path_of(key, action), document, version=version, reason=reason, is_dry=dry
        )
        return api.json(answer, key="changes" if dry else "version")

    as_json = form is Form.JSON
    change = make(api, send, version=version or 0, is_dry=is_dry, is_yes=is_yes, as_json=as_json)
    if change is not None and as_json:
        print_json(change)
    elif change is not None:
        print_change(f"{key} {done}", change)


@flag_app.command("weights")
def weigh_flag(
    flag: Flag,
    weights: Annotated[
        list[str], typer.Argument(metavar="VARIANT=WEIGHT...", help="For example canary=5 stable=95.")
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """Change the weights of FLAG's split, after showing who moves."""
    from understudy.cli.remote import AdminApi

    body = {"weights": _weights(weights)}
    api = AdminApi(admin, token)
    version, _ = read_flag(api, flag)
    words = ", ".join(weights)
    _change(
        api, "POST", flag, body, version, dry_run, yes, reason, form, action="weights", done=f"has {words}"
    )


def _weights(given: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in given:
        name, sign, text = word.rpartition("=")
        if not (name and sign and text.isascii() and text.isdigit() and len(text) < 10):
            hint = "like canary=5; a weight is a whole number from 0"
            raise CommandError(f"{word!r} is no variant with its weight", hint, code=ExitCode.USAGE)
        if name in found:
            raise CommandError(f"{name} has two weights", code=ExitCode.USAGE)
        found[name] = int(text)
    return found


@flag_app.command("history")
def flag_history(
    flag: Flag,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=200, metavar="N", help="So many, newest first.")
    ] = 20,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """List the versions in which FLAG changed: who, when, why, and what, newest first."""
    from understudy.cli.flag_change import change_lines
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    told = api.json(api.get(f"{path_of(flag, 'history')}?limit={limit}"), key="versions")
    if form is Form.JSON:
        print_json(told)
        return
    for one in told["versions"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["at"]))
        typer.echo(visible(f"{one['version']:>6}  {at}  {one['author']}  {one['reason']}".rstrip()))
        for line in change_lines(one["changes"]):
            typer.echo(visible(f"        {line}"))


@flag_app.command("restore")
def restore_flag(
    flag: Flag,
    version: Annotated[int, typer.Argument(min=1, metavar="VERSION", show_default=False)],
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Format = Form.TEXT,
) -> None:
    """Make FLAG alone what it was in VERSION of the rules. It stays killed if it is."""
    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    present = api.version(api.get("/api/v1/flags?limit=1"))
    body = {"version": version}
    done = f"is as in version {version} again"
    _change(api, "POST", flag, body, present, dry_run, yes, reason, form, action="restore", done=done)


flag_app.command("kill")(kill)
flag_app.command("revive")(revive)
