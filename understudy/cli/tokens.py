"""`understudy token`: make, list and revoke API tokens."""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from understudy.access import Role, words
from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.commands import AsJson, Reason
from understudy.cli.frame import CommandError, ExitCode, complain

PATH: Final = "/api/v1/tokens"

token_app = typer.Typer(
    help="Make, list and revoke API tokens. The first one closes the admin API to all others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose, or what for.", show_default=False)],
    role: Annotated[
        Role,
        typer.Option(
            "--role",
            help=(
                "evaluator asks for flags alone, viewer reads, operator kills and reloads, editor changes"
                " rules, admin does all."
            ),
        ),
    ] = Role.VIEWER,
    environments: Annotated[
        list[str] | None,
        typer.Option(
            "--environment",
            metavar="NAME[=ROLE]",
            help="Only there; repeatable, each with a role of its own or that of --role.",
            show_default=False,
        ),
    ] = None,
    flag_set: Annotated[
        str,
        typer.Option(
            "--flag-set", metavar="NAME", help="An evaluator of the flags with this flagSetId alone."
        ),
    ] = "",
    days: Annotated[
        int, typer.Option("--days", min=0, max=3650, metavar="N", help="It ends after so many; 0: never.")
    ] = 0,
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="STORE",
            help="Make it in the store itself, when no token is left: a URL, or the configuration file"
            " that names the store.",
            show_default=False,
        ),
    ] = "",
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it. It is shown this once: the store keeps only its hash."""
    from understudy.cli.screen import print_json

    was_open = not token
    held = {"flag_set": flag_set} if flag_set else {}
    rights = _rights(role, environments or [])
    wanted = {**held, "name": name, **rights, "expires_in_days": days, "reason": reason}
    if store:
        from understudy.cli.stored_token import made_in_store

        made = made_in_store(store, wanted)
    else:
        from understudy.cli.remote import AdminApi

        api = AdminApi(admin, token)
        made = api.json(api.post(PATH, wanted), key="token")
    if as_json:
        print_json(made)
        return
    typer.echo(made["token"])
    complain(f"keep it: it is shown this once ({_roles(made)}, {made['selector']})", is_warning=True)
    if store:
        complain("processes that run know it within 5 s", is_warning=True)
    elif was_open:
        complain("from now on the admin API asks everybody for a token", is_warning=True)


@token_app.command("list")
def list_tokens(admin: Admin = DEFAULT_ADMIN, token: ApiToken = "", as_json: AsJson = False) -> None:
    """List every token that was ever made, by selector."""
    from understudy.cli.remote import AdminApi
    from understudy.cli.screen import print_json, visible

    api = AdminApi(admin, token)
    told = api.json(api.get(PATH), key="tokens")
    if as_json:
        print_json(told)
        return
    if not told["tokens"]:
        typer.echo("there is no token: every user of this machine may change everything")
    for line in _lines(told["tokens"], time.time()):
        typer.echo(visible(line))


@token_app.command("revoke")
def revoke_token(
    selector: Annotated[
        str, typer.Argument(metavar="SELECTOR", help="From `understudy token list`.", show_default=False)
    ],
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    reason: Reason = "",
) -> None:
    """End a token, and the sessions of its owner's browser, at once."""
    from urllib.parse import quote

    from understudy.cli.remote import AdminApi

    api = AdminApi(admin, token)
    parameters = {"reason": reason} if reason else {}
    told = api.json(api.delete(f"{PATH}/{quote(selector, safe='')}", **parameters), key="selector")
    typer.echo(f"{told['selector']} ({told['name']}) is revoked")


def _rights(role: Role, environments: list[str]) -> dict[str, Any]:
    """The role everywhere, or a role for each of *environments*, written NAME or NAME=ROLE."""
    roles: dict[str, str] = {}
    for given in environments:
        name, _, own = given.partition("=")
        if name in roles:
            raise CommandError(f"--environment {name} is given twice", code=ExitCode.USAGE)
        if own and own not in list(Role):
            hint = f"one of {', '.join(Role)}"
            raise CommandError(f"--environment {given}: {own!r} is no role", hint, code=ExitCode.USAGE)
        roles[name] = own or role.value
    return {"roles": roles} if roles else {"role": role.value}


def _roles(token: Mapping[str, Any]) -> str:
    """What a token may do, for people; an older admin API tells of no roles by environment."""
    roles = {name: Role(role) for name, role in (token.get("roles") or {}).items()}
    return words(Role(token["role"]) if token["role"] else None, roles)


def _lines(tokens: list[Mapping[str, Any]], now: float) -> Iterator[str]:
    roles = [_roles(token) for token in tokens]
    room = max(8, *map(len, roles)) if roles else 8
    width = max((len(str(token["name"])) for token in tokens), default=0)
    for token, role in zip(tokens, roles, strict=True):
        used = f"used {_day(token['used_at'])}" if token["used_at"] else "never used"
        yield f"{token['selector']}  {token['name']:{width}}  {role:{room}}  {_state(token, now)}, {used}"


def _state(token: Mapping[str, Any], now: float) -> str:
    if token["revoked_at"]:
        return f"revoked {_day(token['revoked_at'])}"
    if token["expires_at"]:
        return f"{'ended' if token['expires_at'] <= now else 'ends'} {_day(token['expires_at'])}"
    return "works"


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
