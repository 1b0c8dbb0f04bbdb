"""A change of flags from the command line: shown first, asked for, made only if nobody was quicker."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import typer

from understudy.cli.frame import CommandError, ExitCode
from understudy.cli.screen import print_json, print_rows, visible

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi

_MOST_LINES: Final = 200
"""Of a longer list of changes the rest is counted: nobody reads it, and `--format json` has it."""

Send = Callable[[bool], dict[str, Any]]
"""Makes the change, or asks what it would do (``True``): the admin API's answer."""


def make(
    api: "AdminApi",
    send: Send,
    *,
    version: int,
    is_dry: bool,
    is_yes: bool,
    as_json: bool,
    brief: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> dict[str, Any] | None:
    """Show what *send* would do to *version* of the rules, ask, and do it; None when it only was to be shown.

    *brief* makes of the answer to a dry run what is shown of it to people.

    Raises: CommandError when somebody says no, or changed the rules meanwhile (what they changed is shown).
    """
    from understudy.cli.remote import VersionMoved

    if as_json and not (is_dry or is_yes):
        hint = "--yes goes on without asking, --dry-run only shows"
        raise CommandError("--format json has no place for a question", hint, code=ExitCode.USAGE)
    try:
        if is_dry or not is_yes:
            told = send(True)
            print_json(told) if as_json else show(brief(told) if brief else told)
            if is_dry or not told["changes"]:
                return None
            ask()
        return send(False)
    except VersionMoved as moved:
        raise _with_what_changed(api, moved, version) from None


def ask() -> None:
    """Ask whether to go on. Raises: CommandError when the answer is no, or nobody is there."""
    if not is_attended():
        hint = "--yes goes on without asking, --dry-run only shows"
        raise CommandError("nothing was changed: there is nobody to ask", hint, code=ExitCode.USAGE)
    if not typer.confirm("Go on?", err=True):
        raise CommandError("nothing was changed")


def is_attended() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def _with_what_changed(api: "AdminApi", moved: CommandError, version: int) -> CommandError:
    """*moved* with what somebody else changed since *version*."""
    actual = getattr(moved, "actual", 0)
    hint = "look at it, and try again"
    if 0 < version < actual:
        told = api.json(api.get(f"/api/v1/rules/{version}/diff/{actual}"), key="changes")
        changed = [f"  {line}" for line in change_lines(told["changes"])]
        hint = "\n".join([f"since version {version}:", *map(visible, changed[:_MOST_LINES]), f"  {hint}"])
    message = moved.message.removesuffix("; nothing was changed")
    return CommandError(f"{message}; nothing was changed", hint, code=moved.code)


def show(told: Mapping[str, Any]) -> None:
    """The answer to a dry run: each change, then who moves."""
    lines = list(change_lines(told["changes"]))
    for line in lines[:_MOST_LINES]:
        typer.echo(visible(line))
    if len(lines) > _MOST_LINES:
        typer.echo(f"and {len(lines) - _MOST_LINES:,} lines more")
    if not told["changes"] and not told.get("is_brief"):
        typer.echo("nothing would change")
    for move in told.get("moves", ()):
        _show_move(move)
    omitted = told.get("omitted") or ()
    if omitted:
        typer.echo(f"not drawn for: {len(omitted)} more flags")


def _show_move(move: Mapping[str, Any]) -> None:
    share = f"{move['moved']:,} of {move['units']:,} units ({move['share']:.2%})"
    typer.echo("")
    typer.echo(visible(f"{move['flag']}: {share} would move"))
    rows = [("from", "to", "share", "for example")]
    rows += [
        (str(way["from"] or "-"), str(way["to"] or "-"), f"{way['share']:.2%}", ", ".join(way["examples"]))
        for way in move["matrix"]
        if way["from"] != way["to"]
    ]
    if len(rows) > 1:
        print_rows([[visible(cell) for cell in row] for row in rows], indent="  ")


def change_lines(changes: list[Mapping[str, Any]]) -> Iterator[str]:
    """Each change with its place, what was there and what is."""
    for change in changes:
        yield change["path"] or "(the whole document)"
        for mark, side in (("-", "before"), ("+", "after")):
            if side in change:
                yield f"  {mark} {json.dumps(change[side], ensure_ascii=False)}"
