"""The admin server as the control process runs it: no signals of its own, and an end in bounded time."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

GRACE_SECONDS: Final = 2
"""What a slow client of the admin API gets at the end."""
MOST_MESSAGE_BYTES: Final = 16 * 1024
"""A listener sends a token and an id; a JSON Web Token with many claims has 4 KiB."""
PING_SECONDS: Final = 15.0
"""Proxies drop connections that are silent for a minute; one that does not answer in as long is cut."""


class AdminServer(uvicorn.Server):
    """uvicorn without its signal handlers: the control process has its own. Ends on ``should_exit``."""

    def __init__(self, app: ASGIApp) -> None:
        logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                # Else whoever is on this machine chooses the address that is slowed down, let in and audited.
                proxy_headers=False,
                ws="websockets-sansio",
                ws_max_size=MOST_MESSAGE_BYTES,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """uvicorn takes every refused WebSocket for a fault of the application: anybody could fill the log."""
    return record.msg != "ASGI callable returned without completing handshake."
