"""`understudy flags usage`: how flags are used, by variant."""

import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.flag_app import flag_app

PATH = "/api/v1/usage"


class Form(StrEnum):
    """How usage is printed."""

    TEXT = "text"
    JSON = "json"


@flag_app.command("usage")
def usage(
    flag: Annotated[
        str, typer.Argument(metavar="[KEY]", help="One flag; all without it.", show_default=False)
    ] = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    form: Annotated[Form, typer.Option("--format", help="For people, or JSON.")] = Form.TEXT,
) -> None:
    """Show how often flags were evaluated, by how many units, and when last, by variant."""
    from urllib.parse import quote

    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible
    from understudy.cli.streams import print_document

    api = AdminApi(admin, token)
    query = f"?flag={quote(flag.encode('utf-8', 'replace'), safe='')}" if flag else ""
    told = api.json(api.get(PATH + query), key="flags")
    if form is Form.JSON:
        print_json(told)
    else:
        print_document("".join(f"{visible(line)}\n" for line in _lines(told, time.time())))


def _lines(told: Mapping[str, Any], now: float) -> Iterator[str]:
    rows = [
        (f"{flag['flag']} {row['variant']}".rstrip(), row)
        for flag in told["flags"]
        for row in flag["variants"] or [{"variant": "", "evaluations": 0, "units": None, "last_seen": None}]
    ]
    width = max((len(name) for name, _ in rows), default=0)
    for name, row in rows:
        units = "" if row["units"] is None else f"  {row['units']:>10,} units"
        yield f"{name:{width}}  {row['evaluations']:>12,} evaluations{units}  {_seen(row['last_seen'], now)}"
    days = told["retention_seconds"] / 86_400
    kept = f"{told['sample']:.4g} of all units" if told["sample"] < 1 else "every unit"
    units = (
        f"units are estimated from {kept}" if told["sample"] else "no units are kept (exposures.sample is 0)"
    )
    yield f"the last {days:.0f} days; {units}"


def _seen(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    ago = max(0.0, now - at)
    for seconds, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if ago >= seconds:
            return f"{ago // seconds:.0f} {word} ago"
    return "just now"
