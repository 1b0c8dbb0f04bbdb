"""What a client connection knows of the socket it came through."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from understudy.proxy.connection import ClientConnection
from understudy.upstream.connection import BUFFER_BYTES

if TYPE_CHECKING:
    from understudy.proxy.server import Proxy

SHUTDOWN_SECONDS: Final = 24 * 3600.0
"""No limit of the event loop: the proxy's own clock ends what a closed TLS connection still waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One kind of listener. ``tls`` is None for a plain one."""

    proxy: "Proxy"
    is_unix: bool = False
    tls: ssl.SSLContext | None = None
    handshake_seconds: float = 10.0

    @property
    def options(self) -> dict[str, Any]:
        """What the event loop is told of TLS."""
        if self.tls is None:
            return {}
        return {
            "ssl": self.tls,
            "ssl_handshake_timeout": self.handshake_seconds,
            "ssl_shutdown_timeout": SHUTDOWN_SECONDS,
        }

    def client(self) -> asyncio.Protocol:
        """Protocol factory: who takes the next connection."""
        if self.tls is not None:
            return Handshake(self)
        return self.connection()

    def connection(self) -> ClientConnection:
        """A connection on which requests may come."""
        return ClientConnection(self.proxy, is_unix=self.is_unix, is_tls=self.tls is not None)


class Handshake(asyncio.Protocol):
    """A TLS client until it has shaken hands; then a `ClientConnection` takes its place.

    So a peer that never says anything costs no parser, and the proxy knows of it when it drains. The event
    loop tells nobody of a handshake that failed: the object just goes.
    """

    def __init__(self, door: Door) -> None:
        self._door: Door | None = door
        self._proxy = door.proxy
        self.since = door.proxy.clock.now
        self._proxy.handshakes.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._proxy.handshakes.discard(self)
        door, self._door = self._door, None
        assert door is not None
        secured = cast(asyncio.Transport, transport)
        connection = door.connection()
        # As much as without TLS may wait here while the client is not read; the default is 256 KiB.
        secured.set_read_buffer_limits(high=BUFFER_BYTES)  # type: ignore[attr-defined]
        secured.set_protocol(connection)
        connection.connection_made(secured)

    def __del__(self) -> None:
        if self._door is not None:
            self._proxy.metrics.errors["tls_handshake"] += 1
