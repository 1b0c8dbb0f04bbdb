"""`understudy rules history`, `diff` and `restore`: the versions of the rules document."""

import time
from typing import Annotated

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken, InEnvironment, rules_path
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
    environment: InEnvironment = "",
) -> None:
    """List who changed the rules, when and why, newest first; with --at the version of that time alone."""
    from urllib.parse import urlencode

    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    query = urlencode({"at": at} if at else {"limit": limit})
    told = api.json(api.get(f"{rules_path(environment)}/history?{query}"), key="versions")
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
    environment: InEnvironment = "",
) -> None:
    """Say what changed from one version of the rules to another."""
    from understudy.cli.flag_change import change_lines
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    told = api.json(api.get(f"{rules_path(environment)}/{before}/diff/{after}"), key="changes")
    if as_json:
        print_json(told)
        return
    for line in change_lines(told["changes"]):
        typer.echo(visible(line))
    if not told["changes"]:
        typer.echo(f"versions {before} and {after} say the same")


def restore(
    version: Version,
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    reason: Reason = "",
    environment: InEnvironment = "",
) -> None:
    """Make an earlier version the newest one again. Flags that are killed now stay killed."""
    from urllib.parse import urlencode

    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    query = f"?{urlencode({'reason': reason})}" if reason else ""
    answer = api.post(f"{rules_path(environment)}/{version}/restore{query}", {})
    done = f"the rules are those of version {version} again"
    print_change(done, api.json(answer, key="version"), environment=environment)
