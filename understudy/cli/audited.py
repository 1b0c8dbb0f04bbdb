"""`understudy audit`: who changed what, as a file, and whether anybody changed the record of it."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.access import Entry, Head, flaws, read_entry, read_head
from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.frame import CommandError, ExitCode, complain, end

if TYPE_CHECKING:
    from understudy.cli.remote import AdminApi

audit_app = typer.Typer(
    help="Export the audit of all changes, and verify its chain of hashes.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@audit_app.command("export")
def export_audit(
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where it goes; - is standard output.")
    ] = "-",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
) -> None:
    """Write every entry as a line of JSON, oldest first. The head of the chain goes to standard error."""
    from understudy.cli.output_file import write_file
    from understudy.cli.remote import AdminApi
    from understudy.cli.streams import print_document

    entries, head = _asked(AdminApi(admin, token))
    text = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries)
    if output == "-":
        print_document(text)
    else:
        write_file(Path(output), text)
    typer.echo(f"head {head}", err=True)


@audit_app.command("verify")
def verify_audit(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="An export; else the admin API is asked.", show_default=False),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="NUMBER:HASH",
            help="A head of this audit that was kept apart; repeatable. Shows an end that was cut off.",
        ),
    ] = None,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
) -> None:
    """Find entries that were altered, deleted, inserted, reordered or cut off. Exit 0: none, 1: some.

    A chain shows by itself what happened inside it. An end that was cut off, and a chain that was written
    anew, show only against a head that was kept where the store's owner cannot change it: give the one that
    an earlier `verify` or `export` printed.
    """
    from understudy.cli.remote import AdminApi

    kept = [_read_head(text) for text in heads or ()]
    if file is None:
        plain, head = _asked(AdminApi(admin, token))
        entries = _read(plain, "the admin API")
        known = [*kept, head]
    else:
        entries, known = _read(_of_file(file), str(file)), kept
    found = list(flaws(entries, known))
    for flaw in found:
        complain(flaw)
    if found:
        end(ExitCode.REFUSED)
    last = Head(number=entries[-1].number, hash=entries[-1].hash) if entries else Head()
    typer.echo(f"{len(entries):,} entries, all as they were written; head {last}")
    if not kept:
        hint = "keep this head apart, and give it next time: --head NUMBER:HASH"
        complain("no head was given, so an end that was cut off would not show", hint, is_warning=True)


def _asked(api: "AdminApi") -> tuple[list[Any], Head]:
    """Every entry that the admin API has, as JSON, and the head it keeps beside them."""
    entries: list[Any] = []
    head = None
    while True:
        page = api.json(api.get(f"/api/v1/audit?after={_last(entries)}"), key="entries")
        told = page.get("head") or {}
        # That of the first page: later entries may be added while we read.
        head = head or _read_head(f"{told.get('number')}:{told.get('hash')}")
        last = _last(entries)
        entries += page["entries"]
        # An audit into which entries were put may go back, and would be asked for without end.
        if not page["entries"] or _last(entries) <= last:
            return entries, head


def _last(entries: list[Any]) -> int:
    return int(entries[-1]["number"]) if entries else 0


def _of_file(file: Path) -> Iterator[Any]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise CommandError(f"{file}, line {number}: is no JSON: {error}") from None


def _read(plain: Iterable[Any], where: str) -> list[Entry]:
    entries = []
    for number, entry in enumerate(plain, start=1):
        try:
            entries.append(read_entry(entry))
        except ValueError as error:
            raise CommandError(f"{where}, entry {number}: {error}") from None
    return entries


def _read_head(text: str) -> Head:
    try:
        return read_head(text)
    except ValueError as error:
        raise CommandError(f"--head: {error}", code=ExitCode.USAGE) from None
