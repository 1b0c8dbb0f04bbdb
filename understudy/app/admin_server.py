"""The admin server as the control process runs it: no signals of its own, and an end in bounded time."""

import contextlib
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

GRACE_SECONDS: Final = 2
"""What a slow client of the admin API gets at the end."""


class AdminServer(uvicorn.Server):
    """uvicorn without its signal handlers: the control process has its own. Ends on ``should_exit``."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                # Else whoever is on this machine chooses the address that is slowed down, let in and audited.
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
