"""A raw TCP server that plays a script to each peer and records every byte it is sent."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from itertools import chain, pairwise, repeat
from types import TracebackType
from typing import Final, Self

from understudy.testing.http1 import request_end
from understudy.testing.listener import (
    LINGER_SECONDS,
    LOOPBACK,
    PATIENCE_SECONDS,
    PIECE_BYTES,
    Listener,
    reset,
    until,
)

TURNS: Final = 3
"""Turns of the loop after which a peer in the same loop has read what was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """Wait for bytes after those of the former `Receive`.

    *until* is a number of bytes, or a mark that ends them; None waits for one whole HTTP/1.1 request,
    body included. For a malformed request say what to wait for: its own end may never come.
    """

    until: bytes | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send *data*, split at the offsets of *split_at*, ascending, with *pause_seconds* between the pieces.

    Without a pause, pieces are apart for a reader in the same loop only.
    """

    data: bytes
    split_at: Sequence[int] = ()
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait *seconds*; what comes meanwhile is recorded."""

    seconds: float


class End(Enum):
    """How a script may end. One without an end keeps the connection until the peer ends it."""

    CLOSE = "close"
    """Close in order (FIN), though the peer may go on."""
    RESET = "reset"
    """Close with a reset (RST)."""
    HANG = "hang"
    """Read on, but send nothing and do not close, whatever the peer does, until the server closes."""
    STALL = "stall"
    """As HANG, and without reading: the peer's bytes stop in the buffers of the two kernels."""


Step = Receive | Send | Pause | End | bytes
"""One step of a script; bytes are sent whole."""
Script = Sequence[Step]


class Connection:
    """What one peer sent: ``received`` in all, ``taken`` by each `Receive` that was satisfied.

    ``ending`` is ``""`` until the peer ended it by ``"eof"`` or ``"reset"``; ``is_closed`` once this
    side is closed too.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.taken: list[bytes] = []
        self.ending = ""
        self.is_closed = False
        self._taken_bytes = 0
        self._changed = asyncio.Event()

    async def take(self, step: Receive) -> bool:
        """Wait for the bytes of *step* and take them; False when the peer ended before."""
        await until(lambda: self.ending or self._end_of(step) is not None, self._changed, None)
        end = self._end_of(step)
        if end is None:
            return False
        self.taken.append(bytes(self.received[self._taken_bytes : end]))
        self._taken_bytes = end
        return True

    async def ended(
        self, by: Sequence[str] = ("eof", "reset"), *, timeout_seconds: float | None = None
    ) -> None:
        """Wait until the peer ended it *by* one of these. Raises TimeoutError."""
        await until(lambda: self.ending in by, self._changed, timeout_seconds)

    def note(self, data: bytes, *, ending: str = "") -> None:
        """The peer sent *data*, or ended; its first ending counts."""
        self.received += data
        self.ending = self.ending or ending
        self._changed.set()

    def _end_of(self, step: Receive) -> int | None:
        start = self._taken_bytes
        if step.until is None:
            return request_end(self.received, start)
        if isinstance(step.until, int):
            return start + step.until if len(self.received) >= start + step.until else None
        at = self.received.find(step.until, start)
        return at + len(step.until) if at >= 0 else None


class ScriptedServer:
    """Listens on 127.0.0.1; the nth connection plays the nth script, later ones the last.

    Without a script it records only. With *forever*, a script starts again after its last step.
    ``connections`` has each `Connection`, in order of acceptance, with all that it sent: this is for
    tests, not for long runs.

    Raises ValueError when an empty script should be played for ever.
    """

    def __init__(self, *scripts: Script, forever: bool = False) -> None:
        if forever and not (scripts and all(scripts)):
            raise ValueError("script: an empty one cannot be played for ever")
        self.connections: list[Connection] = []
        self._scripts = scripts
        self._is_forever = forever
        self._listener = Listener(self._serve)

    async def __aenter__(self) -> Self:
        await self._listener.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.close()

    @property
    def port(self) -> int:
        """The port of 127.0.0.1."""
        return self._listener.port

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as `FaultProxy` takes its upstream."""
        return LOOPBACK, self.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    async def connection(self, number: int = 0, *, timeout_seconds: float = PATIENCE_SECONDS) -> Connection:
        """The connection of that *number*, from 0, once it is accepted. Raises TimeoutError."""
        await self.until(lambda: len(self.connections) > number, timeout_seconds=timeout_seconds)
        return self.connections[number]

    async def until(
        self, is_there: Callable[[], object], *, timeout_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until *is_there*, asked again after each accept, byte and end. Raises TimeoutError."""
        await self._listener.until(is_there, timeout_seconds)

    async def _serve(self, peer: socket.socket) -> None:
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)] if self._scripts else ()
        connection = Connection()
        self.connections.append(connection)
        self._listener.changed.set()
        end: End | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(peer, connection))
                end = await self._play(
                    chain.from_iterable(repeat(script)) if self._is_forever else script, peer, connection
                )
                if end in (End.RESET, End.STALL):
                    reading.cancel()
                await self._hold(end, peer, connection)
                reading.cancel()
        finally:
            if end is End.RESET:
                reset(peer)
            peer.close()
            connection.is_closed = True
            self._listener.disown(peer)

    async def _read(self, peer: socket.socket, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(peer, PIECE_BYTES):
                connection.note(data)
                self._listener.changed.set()
            connection.note(b"", ending="eof")
        except OSError:
            connection.note(b"", ending="reset")
        self._listener.changed.set()

    async def _play(self, script: Iterable[Step], peer: socket.socket, connection: Connection) -> End | None:
        for step in script:
            if isinstance(step, End):
                return step
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Receive):
                if not await connection.take(step):
                    return None
            elif not await _has_sent(Send(data=step) if isinstance(step, bytes) else step, peer):
                connection.note(b"", ending="reset")
                return None
        return None

    async def _hold(self, end: End | None, peer: socket.socket, connection: Connection) -> None:
        if end is None:
            await connection.ended()
        elif end is End.CLOSE:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_WR)
                await connection.ended(timeout_seconds=LINGER_SECONDS)
        elif end is not End.RESET:
            await connection.ended(by=["reset"])


async def _has_sent(step: Send, peer: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    try:
        for first, last in pairwise((0, *step.split_at, len(step.data))):
            await loop.sock_sendall(peer, step.data[first:last])
            if step.pause_seconds and last < len(step.data):
                await asyncio.sleep(step.pause_seconds)
            for _ in range(TURNS):
                await asyncio.sleep(0)
    except OSError:
        return False
    return True
