"""`understudy samples`: look at one whole, forget those of a unit."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import AsJson
from understudy.cli.frame import CommandError, ExitCode

samples_app = typer.Typer(
    help="Look at a sample of a difference, or forget samples.", no_args_is_help=True, rich_markup_mode=None
)


@samples_app.command("show")
def show_sample(
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id, from the report.", show_default=False)],
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    as_json: AsJson = False,
) -> None:
    """Show both answers of a sample, where they differ, and how to ask again."""
    from urllib.parse import quote

    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible
    from understudy.cli.streams import print_document

    api = AdminApi(admin, token)
    sample = api.json(api.get(f"/api/v1/samples/{quote(name.encode('utf-8', 'replace'), safe='')}"), key="id")
    if as_json:
        print_json(sample)
    else:
        print_document("".join(f"{visible(line)}\n" for line in _lines(sample)))


@samples_app.command("purge")
def purge_samples(
    unit: Annotated[
        str,
        typer.Option(
            "--unit", metavar="TEXT", help="Whose samples: a user id, as the route's unit reads it."
        ),
    ] = "",
    is_all: Annotated[bool, typer.Option("--all", help="Everybody's.")] = False,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
) -> None:
    """Forget the samples of one unit, or all of them. The counts stay: they name nobody."""
    from understudy.cli.remote import AdminApi

    if bool(unit) == is_all:
        hint = "--unit TEXT names one unit, --all means everybody"
        raise CommandError("whose samples shall be forgotten?", hint, code=ExitCode.USAGE)
    api = AdminApi(admin, token)
    asked = {"all": "true"} if is_all else {"unit": unit}
    deleted = api.json(api.delete("/api/v1/samples", **asked), key="deleted")["deleted"]
    typer.echo("1 sample is forgotten" if deleted == 1 else f"{deleted} samples are forgotten")


def _lines(sample: Mapping[str, Any]) -> Iterator[str]:
    yield f"{sample.get('endpoint')}  {sample.get('service')}  {sample.get('path')}  {sample.get('kind')}"
    yield f"request  {sample.get('request')}"
    for side in ("primary", "shadow"):
        yield ""
        yield from _answer(side, sample.get(side))
    yield ""
    changes = sample.get("explanation") or ()
    yield "differences" if changes else "no difference in what is shown"
    for change in changes:
        told = f"{_json(change.get('primary'))} → {_json(change.get('shadow'))}"
        yield f"  {change.get('path')}  {change.get('change')}  {told}"
    if sample.get("curl"):
        yield ""
        yield str(sample["curl"])


def _answer(side: str, answer: object) -> Iterator[str]:
    if not isinstance(answer, Mapping):
        yield f"{side}  is not kept"
        return
    yield f"{side}  {answer.get('status')}"
    for name, value in answer.get("headers") or ():
        yield f"  {name}: {value}"
    body = answer.get("body")
    if body is not None:
        yield ""
        text = body if isinstance(body, str) else _json(body, indent=2)
        yield from (f"  {line}" for line in text.splitlines())


def _json(value: object, *, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)
