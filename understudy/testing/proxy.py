"""A TCP proxy that harms what passes, as told, while it runs."""

import asyncio
import random
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from understudy.testing.faults import (
    Bandwidth,
    Direction,
    Latency,
    LimitData,
    Reset,
    Slicer,
    SlowClose,
    Timeout,
)
from understudy.testing.listener import LOOPBACK, PATIENCE_SECONDS, PIECE_BYTES, Listener, finish, reset

CONNECT_SECONDS: Final = 5.0
PIECES_AHEAD: Final = 16
"""Pieces read but not yet passed on, per direction: what can be under way while latency holds it back."""
PACE_SECONDS: Final = 0.02
"""The piece that a bandwidth lets through at once, and the room it keeps, as a time."""


class Recording:
    """The bytes that one connection passed on: ``up`` to the upstream, ``down`` to the client."""

    def __init__(self) -> None:
        self.up = bytearray()
        self.down = bytearray()


class FaultProxy:
    """Forwards TCP both ways between its own port of 127.0.0.1 and *upstream* (host, port).

    ``up`` (client to upstream) and ``down`` (upstream to client) hold the faults, changeable at any
    time. A peer's end (FIN) and reset are passed on as such, after the bytes before them; a client
    whose upstream cannot be reached within 5 s is reset. At most 256 KiB per direction and connection
    are held here: a receiver that does not read stops the sender.

    *chance* gives numbers in [0, 1) for jitter; by default the same ones in each run. With *record*,
    ``recordings`` has one entry per connection, in order, and keeps the first *record_bytes* of all
    together.
    """

    def __init__(
        self,
        *,
        upstream: tuple[str, int],
        chance: Callable[[], float] | None = None,
        record: bool = False,
        record_bytes: int = 1024 * 1024,
    ) -> None:
        self.upstream = upstream
        self.up = Direction()
        self.down = Direction()
        self.connections = 0
        self.open_connections = 0
        self.recordings: list[Recording] = []
        self.chance = chance or random.Random(0).random
        self._is_recording = record
        self._record_bytes_left = record_bytes
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
        """The port of 127.0.0.1; the same one after `refuse` and `resume`."""
        return self._listener.port

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def bytes_up(self) -> int:
        """Bytes passed on to the upstream, on all connections so far."""
        return self.up.passed_bytes

    @property
    def bytes_down(self) -> int:
        """Bytes passed on to clients, on all connections so far."""
        return self.down.passed_bytes

    def refuse(self) -> None:
        """Stop listening: new connections are refused, present ones go on."""
        self._listener.refuse()

    def resume(self) -> None:
        """Listen again, on the same port."""
        self._listener.listen()

    def heal(self) -> None:
        """No fault in either direction, and listening."""
        self.up.set()
        self.down.set()
        self.resume()

    async def until(
        self, is_there: Callable[[], object], *, timeout_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until *is_there*, asked again whenever a counter changed. Raises TimeoutError."""
        await self._listener.until(is_there, timeout_seconds)

    async def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        self.open_connections += 1
        upstream = socket.socket(socket.AF_INET6 if ":" in self.upstream[0] else socket.AF_INET)
        self._listener.own(upstream)
        self._listener.changed.set()
        is_reset = False
        try:
            try:
                await self._forward(client, upstream)
            except* OSError:
                is_reset = True
            except* _Enough:
                pass
            if not is_reset:
                async with asyncio.TaskGroup() as finishing:
                    finishing.create_task(finish(client))
                    finishing.create_task(finish(upstream))
        finally:
            for each in (client, upstream):
                reset(each) if is_reset else each.close()
            self.open_connections -= 1
            self._listener.disown(client, upstream)

    async def _forward(self, client: socket.socket, upstream: socket.socket) -> None:
        recording = self._new_recording()
        up = _Stream(client, upstream, self.up, self.chance, lambda piece: self._note(recording.up, piece))
        down = _Stream(
            upstream, client, self.down, self.chance, lambda piece: self._note(recording.down, piece)
        )
        up.check()
        down.check()
        async with asyncio.TaskGroup() as watching:
            watches = [watching.create_task(stream.watch()) for stream in (up, down)]
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(upstream, self.upstream)
            async with asyncio.TaskGroup() as passing:
                for stream in (up, down):
                    passing.create_task(stream.read())
                    passing.create_task(stream.write())
            for watch in watches:
                watch.cancel()

    def _new_recording(self) -> Recording:
        recording = Recording()
        if self._is_recording:
            self.recordings.append(recording)
        return recording

    def _note(self, record: bytearray, piece: bytes) -> None:
        if self._is_recording:
            kept = piece[: self._record_bytes_left]
            record += kept
            self._record_bytes_left -= len(kept)
        self._listener.changed.set()


class _Enough(Exception):
    """A fault ends this connection in order."""


class _Stream:
    """One direction of one connection: read a little ahead, suffer the faults, pass on."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        direction: Direction,
        chance: Callable[[], float],
        note: Callable[[bytes], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._direction = direction
        self._chance = chance
        self._note = note
        self._loop = asyncio.get_running_loop()
        self._ahead: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(PIECES_AHEAD)
        self._passed_bytes = 0
        self._free_at = 0.0

    def check(self) -> None:
        """Raise ConnectionResetError or `_Enough` when a fault ends the connection here."""
        if (cut := self._direction.find(Reset)) and self._passed_bytes >= cut.after_bytes:
            raise ConnectionResetError("fault: reset")
        if (limit := self._direction.find(LimitData)) and self._passed_bytes >= limit.after_bytes:
            raise _Enough

    async def watch(self) -> None:
        """End the connection when changed faults, or time, ask for it; until then, go on for ever."""
        while True:
            self.check()
            timeout = self._direction.find(Timeout)
            if not await self._direction.has_changed(within_seconds=timeout.seconds if timeout else None):
                raise _Enough

    async def read(self) -> None:
        """Read no further ahead than the queue is long. Empty is the peer's end, None its reset."""
        data: bytes | None = b"-"
        while data:
            try:
                data = await self._loop.sock_recv(self._source, PIECE_BYTES)
            except ConnectionError:
                data = None
            await self._ahead.put((self._loop.time(), data))

    async def write(self) -> None:
        """Pass on what was read, then how it ended."""
        while True:
            came_at, data = await self._ahead.get()
            await self._direction.pause(came_at + self._latency_seconds() - self._loop.time())
            if not data:
                break
            await self._pass(data)
        if slow := self._direction.find(SlowClose):
            await self._direction.pause(slow.seconds)
        while self._direction.find(Timeout):
            await self._direction.has_changed(within_seconds=None)
        if data is None:
            raise ConnectionResetError("the peer reset the connection")
        self._sink.shutdown(socket.SHUT_WR)

    def _latency_seconds(self) -> float:
        latency = self._direction.find(Latency)
        return latency.seconds + latency.jitter_seconds * (2 * self._chance() - 1) if latency else 0.0

    async def _pass(self, data: bytes) -> None:
        while data:
            if self._direction.find(Timeout):
                self._swallow(data)
                return
            piece = data[: self._piece_bytes()]
            if await self._is_paced(len(piece)):
                await self._loop.sock_sendall(self._sink, piece)
                data = data[len(piece) :]
                self._count(piece)
                slicer = self._direction.find(Slicer)
                await self._direction.pause(slicer.pause_seconds if slicer else 0.0)

    def _swallow(self, data: bytes) -> None:
        self._direction.swallowed_bytes += len(data)
        self._note(b"")

    def _piece_bytes(self) -> int:
        most = PIECE_BYTES
        if slicer := self._direction.find(Slicer):
            most = min(most, slicer.size_bytes)
        if bandwidth := self._direction.find(Bandwidth):
            most = min(most, int(bandwidth.bytes_per_second * PACE_SECONDS))
        for fault in (self._direction.find(Reset), self._direction.find(LimitData)):
            if fault is not None:
                most = min(most, fault.after_bytes - self._passed_bytes)
        return max(1, most)

    async def _is_paced(self, size_bytes: int) -> bool:
        """Wait until the bandwidth has room; False when the faults changed meanwhile."""
        bandwidth = self._direction.find(Bandwidth)
        if bandwidth is None:
            return True
        now = self._loop.time()
        # Time not used counts for one pace at most, so that late timers do not add up.
        self._free_at = max(self._free_at, now - PACE_SECONDS) + size_bytes / bandwidth.bytes_per_second
        if self._free_at <= now:
            return True
        is_changed = await self._direction.has_changed(within_seconds=self._free_at - now)
        self._free_at = 0.0 if is_changed else self._free_at
        return not is_changed

    def _count(self, piece: bytes) -> None:
        self._passed_bytes += len(piece)
        self._direction.passed_bytes += len(piece)
        self._note(piece)
        self.check()
