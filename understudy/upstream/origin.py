"""One origin: where it is, and how a connection to it is opened. Addresses come from configuration only."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from understudy.config import OriginTls, Service, client_context

P = TypeVar("P", bound=asyncio.Protocol)

SHUTDOWN_SECONDS: Final = 1.0
"""How long a TLS goodbye may take; connections are aborted, so this is only for uvloop's own failures."""


class Origin:
    """``http://host:port``, ``https://host:port`` or ``unix:/path``, as the configuration names it.

    ``tls`` is None for a connection in the clear; ``server_name`` is whom its certificate must name.
    """

    def __init__(self, url: str, *, tls: OriginTls | None = None) -> None:
        self.url = url
        self.path = url.removeprefix("unix:") if url.startswith("unix:") else ""
        parts = urlsplit("" if self.path else url)
        self.host = parts.hostname or ""
        self.port = parts.port or 0
        self.tls = (tls or OriginTls()) if parts.scheme == "https" else None
        self.server_name = (tls.server_name if tls is not None else "") or self.host

    def __repr__(self) -> str:
        return self.url

    @property
    def authority(self) -> bytes:
        """What Host says to an origin that was asked without one."""
        if self.path:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("latin-1")

    async def connect(self, loop: asyncio.AbstractEventLoop, make: Callable[[], P]) -> P:
        """A connection to the origin, after the TLS handshake if there is one.

        Raises OSError: ssl.SSLError among them for what the handshake finds wrong. The deadline is the
        caller's.
        """
        if self.path:
            _, protocol = await loop.create_unix_connection(make, self.path)
        elif self.tls is None:
            _, protocol = await loop.create_connection(make, self.host, self.port)
        else:
            protocol = await self._connect_safely(loop, make, client_context(self.tls))
        return protocol

    async def _connect_safely(
        self, loop: asyncio.AbstractEventLoop, make: Callable[[], P], context: ssl.SSLContext
    ) -> P:
        try:
            _, protocol = await loop.create_connection(
                make,
                self.host,
                self.port,
                ssl=context,
                server_hostname=self.server_name,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError) as error:
            # A refused connection is another error: this one was made, and ended in the handshake.
            raise ssl.SSLError(0, "the origin ended the handshake") from error
        return protocol


def origins_of(service: Service) -> list[Origin]:
    """Every origin of *service*, in the order of the configuration."""
    return [Origin(url, tls=service.tls) for url in service.all_origins]
