"""`understudy rules history`, `diff` and `restore`: the versions of the rules document."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import AsJson, Reason, print_change

At = Annotated[
    str,
    typer.Option("--at", metavar="TIME", help="As it was then: 2026-11-26T04:00:00Z.", show_default=False),
]
Version = Annotated[int, typer.Argument(min=1, metavar="VERSION", show_default=False)]


def history(
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=200, metavar="N", help="So many, newest first.")
    ] = 20,
    at: At = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    as_json: AsJson = False,
) -> None:
    """List who changed the rules, when and why, newest first; with --at the version of that time alone."""
    from urllib.parse import urlencode

    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    query = urlencode({"at": at} if at else {"limit": limit})
    told = api.json(api.get(f"/api/v1/rules/history?{query}"), key="versions")
    if as_json:
        print_json(told)
        return
    for rules in told["versions"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(rules["at"]))
        typer.echo(visible(f"{rules['version']:>6}  {at}  {rules['author']}  {rules['reason']}".rstrip()))


def diff(
    before: Version,
    after: Version,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    as_json: AsJson = False,
) -> None:
    """Say what changed from one version of the rules to another."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    told = api.json(api.get(f"/api/v1/rules/{before}/diff/{after}"), key="changes")
    if as_json:
        print_json(told)
        return
    for line in _lines(told["changes"]):
        typer.echo(visible(line))
    if not told["changes"]:
        typer.echo(f"versions {before} and {after} say the same")


def restore(
    version: Version, admin: Admin = DEFAULT_ADMIN, token: ApiToken = "", reason: Reason = ""
) -> None:
    """Make an earlier version the newest one again. Flags that are killed now stay killed."""
    from urllib.parse import urlencode

    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    query = f"?{urlencode({'reason': reason})}" if reason else ""
    answer = api.post(f"/api/v1/rules/{version}/restore{query}", {})
    print_change(f"the rules are those of version {version} again", api.json(answer, key="version"))


def _lines(changes: list[Mapping[str, Any]]) -> Iterator[str]:
    for change in changes:
        yield change["path"] or "(the whole document)"
        for mark, side in (("-", "before"), ("+", "after")):
            if side in change:
                yield f"  {mark} {json.dumps(change[side], ensure_ascii=False)}"
