"""`understudy environments` and `understudy flag promote`: the environments of one store."""

import json
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import AsJson, Reason
from understudy.cli.frame import CommandError, ExitCode, complain, end

if TYPE_CHECKING:
    from rich.text import Text

    from understudy.cli.remote import AdminApi

Flag = Annotated[str, typer.Argument(metavar="FLAG", help="Key of the flag.", show_default=False)]

environments_app = typer.Typer(
    help="The environments of the store: dev, staging, prod.", no_args_is_help=True, rich_markup_mode=None
)


class Part(StrEnum):
    """What travels with a flag only when it is asked for."""

    STATE = "state"
    WEIGHTS = "weights"
    KILLED = "killed"
    SEGMENTS = "segments"
    PREREQUISITES = "prerequisites"


@environments_app.command("list")
def list_environments(admin: Admin = DEFAULT_ADMIN, token: ApiToken = "", as_json: AsJson = False) -> None:
    """List the environments of the store, and the newest version of the rules of each."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    told = api.json(api.get("/api/v1/environments"), key="environments")
    if as_json:
        print_json(told)
        return
    width = max((len(environment["name"]) for environment in told["environments"]), default=0)
    for environment in told["environments"]:
        own = "  of this admin API" if environment["own"] else ""
        typer.echo(visible(f"{environment['name']:{width}}  {_held(environment)}{own}"))


def _held(environment: Mapping[str, Any]) -> str:
    if not environment["version"]:
        return "no rules yet"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(environment["at"]))
    return f"version {environment['version']}  {at}"


def promote(
    flag: Annotated[str, typer.Argument(metavar="FLAG", help="Key of the flag.", show_default=False)],
    source: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The environment it is in.", show_default=False)
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="NAME", help="The environment it goes to.", show_default=False)
    ],
    parts: Annotated[
        list[Part] | None,
        typer.Option(
            "--with",
            help="Let this travel, too, instead of what the target has; repeatable.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Bring FLAG as it is in one environment into another, after showing what that changes there.

    Its definition and the segments that are missing travel. State, weights and kill switch of the target
    stay, and so do segments that it has otherwise, unless --with names them. A new flag arrives DISABLED.
    """
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import plain_problems, print_json, print_problems
    from understudy.errors import Problem

    api = AdminApi(admin, token)
    path = _path(flag, source, target, [part.value for part in parts or ()], reason)
    answer = api.get(path)
    told = api.json(answer, key="changes")
    problems = [Problem(**error) for error in told["errors"]]
    if as_json and (dry_run or problems or not told["changes"]):
        print_json({**told, "errors": plain_problems(problems)})
    elif not as_json:
        _show(told)
    if problems:
        print_problems(problems, subject=f"{flag} for {target}")
        end(ExitCode.REFUSED)
    if dry_run or not told["changes"]:
        return
    if not yes:
        _confirm(f"change {target}?")
    made = _made(api, path, answer.headers.get("etag", ""))
    if as_json:
        print_json(made)
    else:
        typer.echo(f"{flag} is promoted: {target} has rules version {made['version']}")


def _path(flag: str, source: str, target: str, parts: list[str], reason: str) -> str:
    import os
    from urllib.parse import quote, urlencode

    query = {"to": target, "with": ",".join(parts), "reason": reason}
    asked = urlencode({name: value for name, value in query.items() if value})
    where = quote(os.fsencode(source), safe="")
    return f"/api/v1/environments/{where}/flags/{quote(os.fsencode(flag), safe='')}/promotion?{asked}"


def _made(api: "AdminApi", path: str, tag: str) -> dict[str, Any]:
    return api.json(api.post(path, {}, if_match=tag), key="version")


def _confirm(question: str) -> None:
    """Ask whoever sits there; a pipeline says --yes. Raises: CommandError."""
    import sys

    if not sys.stdin.isatty():
        raise CommandError("nobody is there to say yes", "--yes, or --dry-run", code=ExitCode.USAGE)
    if not typer.confirm(question):
        complain("nothing was changed", is_warning=True)
        end(ExitCode.REFUSED)


def _show(told: Mapping[str, Any]) -> None:
    """The difference, what stays and what is to be known, for people."""
    from rich.text import Text

    from understudy.cli.screen import console, visible

    screen = console()
    here, there = (f"{told[side]['environment']} version {told[side]['version']}" for side in ("from", "to"))
    screen.print(Text(visible(f"{told['flag']}: {here} → {there}"), style="bold"))
    for line in _lines(told["changes"]):
        screen.print(line)
    for stay in told["stays"]:
        kept = f"stays: {stay['place']}: {_short(stay['there'])} (there: {_short(stay['here'])})"
        screen.print(Text(visible(f"{kept}; --with {stay['part']}"), style="cyan"))
    if not told["changes"]:
        screen.print(Text(visible(f"{told['to']['environment']} has it so already")))
    for note in told["notes"]:
        screen.print(Text("note: ", style="yellow") + Text(visible(note)))


def _lines(changes: list[Mapping[str, Any]]) -> Iterator["Text"]:
    """Old lines in red, new ones in green, as JSON; a value that is a whole object over several lines."""
    from rich.text import Text

    from understudy.cli.screen import visible

    for change in changes:
        yield Text(visible(change["path"]) or "(the whole document)")
        for mark, side, color in (("-", "before", "red"), ("+", "after", "green")):
            if side in change:
                written = json.dumps(change[side], ensure_ascii=False, indent=2)
                for line in written.split("\n"):
                    yield Text(f"  {mark} {visible(line)}", style=color)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"
