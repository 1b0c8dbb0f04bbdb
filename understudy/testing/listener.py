"""A listening socket of 127.0.0.1 that owns what it accepts: the sockets, and one task for each of them."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
BACKLOG: Final = 1024
PIECE_BYTES: Final = 16 * 1024
LINGER_SECONDS: Final = 1.0
"""How long an orderly close goes on reading: closing on unread bytes would send a reset, not a FIN."""
PATIENCE_SECONDS: Final = 30.0
"""How long a test waits for what it expects: nothing that works takes so long, even on a busy machine."""
NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset."""


def reset(connection: socket.socket) -> None:
    """Close with a reset; bytes that are not sent yet are lost."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    connection.close()


async def finish(connection: socket.socket) -> None:
    """Send the end, then read and forget until the peer ends too, for at most `LINGER_SECONDS`."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LINGER_SECONDS):
            while await asyncio.get_running_loop().sock_recv(connection, PIECE_BYTES):
                pass


async def until(
    is_there: Callable[[], object], changed: asyncio.Event, timeout_seconds: float | None
) -> None:
    """Wait until *is_there*, asked again whenever *changed* is set. Raises TimeoutError."""
    async with asyncio.timeout(timeout_seconds):
        while not is_there():
            changed.clear()
            await changed.wait()


class Listener:
    """Accepts on a port that stays its own, and runs *serve* for each connection until `close`."""

    def __init__(self, serve: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> None:
        self.port = 0
        self.changed = asyncio.Event()
        self._serve = serve
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: set[socket.socket] = set()
        self._holder: socket.socket | None = None
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        """Take a free port and listen on it."""
        self._holder = self._bound(0)
        self.port = self._holder.getsockname()[1]
        await self._group.__aenter__()
        self.listen()

    def listen(self) -> None:
        """Accept connections (again)."""
        if self._socket is None:
            self._socket = self._bound(self.port)
            self._socket.listen(BACKLOG)
            asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)

    def refuse(self) -> None:
        """Refuse connections; those accepted stay, and so does the port."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    async def close(self) -> None:
        """Refuse, end the tasks, close the sockets. Raises what a task raised, as a group."""
        self.refuse()
        for task in self._tasks:
            task.cancel()
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            for each in (*self._sockets, self._holder):
                if each is not None:
                    each.close()
            self._sockets.clear()

    async def until(self, is_there: Callable[[], object], timeout_seconds: float) -> None:
        """Wait until *is_there*, asked again after each change. Raises TimeoutError."""
        await until(is_there, self.changed, timeout_seconds)

    def own(self, connection: socket.socket) -> None:
        """Close *connection* with the listener, unless it is closed before."""
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.add(connection)

    def disown(self, *connections: socket.socket) -> None:
        """These are closed."""
        self._sockets.difference_update(connections)
        self.changed.set()

    def _bound(self, port: int) -> socket.socket:
        # The holder shares the port with the listening socket and keeps it while connections are refused.
        bound = socket.socket()
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((LOOPBACK, port))
        return bound

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.own(connection)
        task = self._group.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
