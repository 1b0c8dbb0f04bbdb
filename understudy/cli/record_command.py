"""`understudy record`: its options. What they mean is in `recorded`, imported when the command runs."""

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.admin_options import DEFAULT_ADMIN, Admin, ApiToken
from understudy.cli.frame import end


def record(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.har", help="Where it goes.", dir_okay=False)
    ],
    admin: Admin = DEFAULT_ADMIN,
    token: ApiToken = "",
    requests: Annotated[
        int, typer.Option("--requests", min=1, max=1_000_000, metavar="N", help="End after so many.")
    ] = 1000,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=86_400, metavar="S", help="End after so long.")
    ] = 60.0,
    max_bytes: Annotated[
        str, typer.Option("--max-bytes", metavar="SIZE", help="End before the file is larger.")
    ] = "64MiB",
    share: Annotated[
        float, typer.Option("--share", min=0.0, max=1.0, metavar="SHARE", help="Of the requests, by chance.")
    ] = 1.0,
    path_prefix: Annotated[
        str, typer.Option("--path-prefix", metavar="PATH", help="Only paths that begin like this.")
    ] = "",
    route: Annotated[
        str, typer.Option("--route", metavar="NAME", help="Only this route, as the metrics name it.")
    ] = "",
) -> None:
    """Record what passes the running proxy, redacted, for `replay`. Ctrl-C ends it early, with a whole file.

    Exit 0: recorded, 1: nothing passed, 3: no answer from the admin API, 73: no room for the file.
    """
    from understudy.cli import recorded
    from understudy.cli.remote import AdminApi

    wanted = {
        "requests": requests,
        "seconds": seconds,
        "max_bytes": max_bytes,
        "share": share,
        "path_prefix": path_prefix,
        "route": route,
    }
    end(recorded.run(AdminApi(admin, token), wanted, output))
