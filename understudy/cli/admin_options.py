"""The options of every command that speaks to the admin API: where it is, and who asks."""

from typing import Annotated, Final

import typer

DEFAULT_ADMIN: Final = "http://127.0.0.1:9090"

Admin = Annotated[
    str, typer.Option("--admin", metavar="URL", envvar="UNDERSTUDY_ADMIN", help="Address of the admin API.")
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
