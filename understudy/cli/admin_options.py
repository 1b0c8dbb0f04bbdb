"""The options of every command that speaks to the admin API: where it is, and who asks."""

from typing import Annotated, Final

import typer

DEFAULT_ADMIN: Final = "http://127.0.0.1:9090"

Admin = Annotated[
    str, typer.Option("--admin", metavar="URL", envvar="UNDERSTUDY_ADMIN", help="Address of the admin API.")
]
InEnvironment = Annotated[
    str,
    typer.Option(
        "--environment",
        metavar="NAME",
        help="Whose rules, in place of those of the process that is asked.",
        show_default=False,
    ),
]
ApiToken = Annotated[
    str,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="UNDERSTUDY_TOKEN",
        help="API token; other users of the machine see command lines, so better the variable.",
        show_default=False,
    ),
]


def rules_path(environment: str) -> str:
    """Where the rules of *environment* are; empty: those of the process that is asked."""
    import os
    from urllib.parse import quote

    if not environment:
        return "/api/v1/rules"
    return f"/api/v1/environments/{quote(os.fsencode(environment), safe='')}/rules"
