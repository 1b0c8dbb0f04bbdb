"""Writes of one turn of the event loop, sent together at its end.

A write that wakes a sleeping peer costs several microseconds of inter-processor signalling; sent one
after another, the writes of a turn wake each peer once. The client's bytes and the primary's go
before any copy, so a shadow never stands in front of them.
"""

import asyncio
from typing import Protocol


class Writer(Protocol):
    """A connection; its transport is None once it is lost."""

    transport: asyncio.Transport | None


class Copier(Writer, Protocol):
    """A connection to a shadow, told whether something of it waits here."""

    is_waiting: bool


class Outgoing:
    """Call `flush` before closing a connection that may have something in here.

    A transport that cannot be written to any more is aborted; nobody else's writes suffer. ``flushes``
    counts: what was added at the present number is not handed over yet.
    """

    __slots__ = ("_copies", "_first", "_loop", "flushes")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._first: list[tuple[Writer, bytes]] = []
        self._copies: list[tuple[Copier, bytes]] = []
        self.flushes = 0

    def add(self, writer: Writer, data: bytes) -> None:
        """Send *data* at the end of this turn."""
        first = self._first
        if not first and not self._copies:
            self._loop.call_soon(self.flush)
        first.append((writer, data))

    def add_copy(self, writer: Copier, data: bytes) -> None:
        """Send *data* after everything that `add` took."""
        if not self._first and not self._copies:
            self._loop.call_soon(self.flush)
        self._copies.append((writer, data))
        writer.is_waiting = True

    def take_back(self, writer: Writer) -> list[bytes]:
        """Remove what `add` took for *writer* and is not handed over yet, in order."""
        taken = [data for known, data in self._first if known is writer]
        if taken:
            self._first[:] = [entry for entry in self._first if entry[0] is not writer]
        return taken

    def flush(self) -> None:
        """Hand everything to the transports now."""
        self.flushes += 1
        for writer, data in self._first:
            transport = writer.transport
            if transport is not None:
                try:
                    transport.write(data)
                except RuntimeError:  # closed or half-closed under our hands
                    transport.abort()
        self._first.clear()
        for copier, data in self._copies:
            copier.is_waiting = False
            transport = copier.transport
            if transport is not None:
                try:
                    transport.write(data)
                except RuntimeError:
                    transport.abort()
        self._copies.clear()
