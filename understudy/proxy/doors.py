"""The listeners of one worker: open while there is room, else shut, and who comes waits in the kernel."""

import asyncio
import socket
from collections import Counter
from typing import Any, Final, Protocol

BACKLOG: Final = 4096

LAST_FILES: Final = 8
"""One in so many file descriptors is kept back for connections to services, and at most ``MOST_KEPT``."""
MOST_KEPT: Final = 256


class Welcome(Protocol):
    """Who takes the connections of one listener."""

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket."""

    @property
    def options(self) -> dict[str, Any]:
        """What the event loop is told besides: TLS."""

    def client(self) -> asyncio.Protocol:
        """Protocol factory."""


class Doors:
    """Accepts connections until the worker is full: *most_connections* are open, or a new one
    got a descriptor among the last of the *files* that the process may open (0: no such bound).

    Shut doors are closed listeners of the same sockets, whose queues stay. Accepting until it fails for want
    of descriptors will not do: libuv then takes in who waits and hangs up on them, or, where another took its
    spare descriptor, tries again at once, for ever. *shut* counts by reason: ``connections``, ``files``.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        shut: "Counter[str]",
        most_connections: int = 0,
        files: int = 0,
    ) -> None:
        self._loop = loop
        self._shut = shut
        self.limit(most_connections)
        self._last_file = files - min(MOST_KEPT, files // LAST_FILES)
        self._bound: list[tuple[socket.socket, Welcome]] = []
        self._servers: list[asyncio.Server] = []
        self._room = asyncio.Event()
        self.is_open = False

    @property
    def is_shut(self) -> bool:
        """Whether somebody may be waiting outside."""
        return bool(self._bound) and not self.is_open

    def limit(self, most_connections: int) -> None:
        """Let in so many from now on; 0 for no bound."""
        self._most = most_connections
        self._few = most_connections - max(1, most_connections // 32)
        """At so many they open again: not for each that leaves, since opening takes 0.2 ms."""

    async def open(self, bound: socket.socket, door: Welcome) -> None:
        """Accept on the listening socket *bound*, which is the doors' from now on; returns once it does."""
        is_full = self.is_shut
        self._bound.append((bound, door))
        if not is_full:
            self.is_open = True
            await self._listen(bound, door)

    async def run(self) -> None:
        """Open again when there is room, for ever."""
        while True:
            await self._room.wait()
            self._room.clear()
            if self.is_shut:
                try:
                    await self._open()
                except OSError:  # not even a listener can be opened
                    self._close("files")

    async def _open(self) -> None:
        self.is_open = True
        for bound, door in self._bound:
            await self._listen(bound, door)
            if not self.is_open:  # full already, by what the one before let in
                self._close_servers()
                return

    async def _listen(self, bound: socket.socket, door: Welcome) -> None:
        if door.is_unix:
            server = await self._loop.create_unix_server(door.client, sock=bound.dup(), backlog=BACKLOG)
        else:
            server = await self._loop.create_server(
                door.client, sock=bound.dup(), backlog=BACKLOG, **door.options
            )
        self._servers.append(server)

    def arrived(self, connections: int, transport: asyncio.Transport) -> None:
        """One more came in; *connections* are open now."""
        if self._most and connections >= self._most:
            self._close("connections")
        elif self._last_file and transport.get_extra_info("socket").fileno() >= self._last_file:
            self._close("files")

    def left(self, connections: int) -> None:
        """One went; *connections* are open now."""
        if self.is_shut and self._most and connections == self._few:
            self._room.set()

    def check(self, connections: int, next_file: int) -> bool:
        """Open or shut by what is the case now; *next_file* is the lowest free descriptor.

        True when descriptors are short. Call it every tenth of a second.
        """
        is_short = self.is_short(next_file)
        if not is_short and self.is_shut and (not self._most or connections <= self._few):
            self._room.set()
        return is_short

    def is_short(self, next_file: int) -> bool:
        """Whether descriptors are short, the lowest free one being *next_file*; then the doors are shut."""
        if not self._last_file or next_file < self._last_file:
            return False
        self._close("files")
        return True

    def _close(self, reason: str) -> None:
        if self.is_open:
            self._shut[reason] += 1
            self.is_open = False
            self._close_servers()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def leave(self) -> None:
        """Accept no more, and leave who waits to the process that accepts on the same sockets."""
        bound, self._bound = self._bound, []
        self.is_open = False
        self._close_servers()
        for listener, _ in bound:
            listener.close()

    async def close(self) -> None:
        """Take what stands in the queues, then close them: the kernel would reset who is left there."""
        accepted: list[tuple[socket.socket, Welcome]] = []
        bound, self._bound = self._bound, []
        self.is_open = False
        for listener, door in bound:
            try:
                while True:
                    accepted.append((listener.accept()[0], door))
            except OSError:
                pass  # BlockingIOError: the queue is empty
        self._close_servers()
        for listener, _ in bound:
            listener.close()
        for connected, _ in accepted:
            connected.setblocking(False)
        taking = (
            self._loop.connect_accepted_socket(door.client, connected, **door.options)
            for connected, door in accepted
        )
        # With TLS each ends with its handshake, and one that fails is nobody else's trouble.
        await asyncio.gather(*taking, return_exceptions=True)
