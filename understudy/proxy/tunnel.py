"""Bytes both ways between a client and a service that switched protocols; nothing in them is read."""

import asyncio
from typing import Protocol

from understudy.upstream.connection import BUFFER_BYTES, UpstreamConnection


class Owner(Protocol):
    """Keeps the tunnel's deadlines; it owned the client's connection before."""

    def tunnel_moved(self) -> None:
        """Bytes have passed."""

    def tunnel_closing(self) -> None:
        """One side is gone or told to go: what the other still has to get is being sent."""

    def tunnel_ended(self, *, bytes_in: int, bytes_out: int) -> None:
        """Both connections are gone; so much has come from the client and from the service."""


class TunnelEnd(asyncio.Protocol):
    """One of the two ends: what it reads, the other writes."""

    def __init__(self, tunnel: "Tunnel", transport: asyncio.Transport) -> None:
        self.transport: asyncio.Transport | None = transport
        self.other: TunnelEnd = self
        self.has_ended = False  # its peer sends no more
        self.bytes = 0  # that its peer has sent
        self._tunnel = tunnel

    def data_received(self, data: bytes) -> None:
        self._tunnel.owner.tunnel_moved()
        self.bytes += len(data)
        self.other.write(data)

    def write(self, data: bytes) -> None:
        """Send *data*; a vanished peer swallows it."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def read_on(self) -> None:
        """Read, unless the other end has enough to write; then its `resume_writing` reads on."""
        other = self.other.transport
        if self.transport is None or self.transport.is_closing():
            return
        if other is not None and other.get_write_buffer_size() > BUFFER_BYTES:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Pass the end on; whoever has said it may still listen."""
        self.has_ended = True
        transport = self.other.transport
        if transport is None or self.other.has_ended or not transport.can_write_eof():
            self._tunnel.close()
            return False
        transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._tunnel.lost(self, exc)


class Tunnel:
    """Joins the connections of a client and a service; *service* keeps its pool's books."""

    def __init__(self, owner: Owner, client: asyncio.Transport, service: UpstreamConnection) -> None:
        assert service.transport is not None
        self.owner = owner
        self._service = service
        self._near = TunnelEnd(self, client)
        self._far = TunnelEnd(self, service.transport)
        self._near.other, self._far.other = self._far, self._near
        client.set_protocol(self._near)
        service.transport.set_protocol(self._far)

    def start(self, *, from_client: bytes, from_service: bytes, is_half_closed: bool) -> None:
        """Pass on what either side has sent behind its head, then read on.

        *is_half_closed*: the client has said already that it sends no more.
        """
        if from_service:
            self._far.data_received(from_service)
        if from_client:
            self._near.data_received(from_client)
        if is_half_closed and not self._near.eof_received():
            return
        self._near.read_on()
        self._far.read_on()

    def close(self) -> None:
        """Close both connections once what was written has gone out."""
        self.owner.tunnel_closing()
        for end in (self._near, self._far):
            if end.transport is not None:
                end.transport.close()

    def abort(self) -> None:
        """End both connections now."""
        for end in (self._near, self._far):
            if end.transport is not None:
                end.transport.abort()

    def lost(self, end: TunnelEnd, exc: Exception | None) -> None:
        """*end* has lost its connection: the other gets what is written, then the same fate."""
        if end is self._far:
            self._service.connection_lost(exc)
        other = end.other.transport
        if other is None:
            self.owner.tunnel_ended(bytes_in=self._near.bytes, bytes_out=self._far.bytes)
        elif exc is not None:
            other.abort()
        else:
            self.owner.tunnel_closing()
            other.close()
