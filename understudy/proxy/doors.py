"""The listeners of one worker: open while there is room, else shut, and who comes waits in the kernel."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Final

BACKLOG: Final = 4096

LAST_FILES: Final = 8
"""One in so many file descriptors is kept back for connections to services, and at most ``MOST_KEPT``."""
MOST_KEPT: Final = 256


class Doors:
    """Accepts connections for *protocol* until the worker is full: *most_connections* are open, or a new one
    got a descriptor among the last of the *files* that the process may open (0: no such bound).

    Shut doors are closed listeners of the same sockets, whose queues stay. Accepting until it fails for want
    of descriptors will not do: libuv then takes in who waits and hangs up on them, or, where another took its
    spare descriptor, tries again at once, for ever. *shut* counts by reason: ``connections``, ``files``.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        protocol: Callable[[], asyncio.Protocol],
        shut: "Counter[str]",
        most_connections: int = 0,
        files: int = 0,
    ) -> None:
        self._loop = loop
        self._protocol = protocol
        self._shut = shut
        self._most = most_connections
        self._few = most_connections - max(1, most_connections // 32)
        """At so many they open again: not for each that leaves, since opening takes 0.2 ms."""
        self._last_file = files - min(MOST_KEPT, files // LAST_FILES)
        self._bound: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._room = asyncio.Event()
        self.is_open = False

    @property
    def is_shut(self) -> bool:
        """Whether somebody may be waiting outside."""
        return bool(self._bound) and not self.is_open

    async def open(self, sockets: list[socket.socket]) -> None:
        """Accept on bound, listening *sockets*, which are the doors' from now on; returns once it does."""
        self._bound += sockets
        await self._open()

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
        for bound in self._bound:
            server = await self._loop.create_server(self._protocol, sock=bound.dup(), backlog=BACKLOG)
            self._servers.append(server)
            if not self.is_open:  # full already, by what the one before let in
                self._close_servers()
                return

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

    async def close(self) -> None:
        """Take what stands in the queues, then close them: the kernel would reset who is left there."""
        accepted: list[socket.socket] = []
        bound, self._bound = self._bound, []
        self.is_open = False
        for listener in bound:
            try:
                while True:
                    accepted.append(listener.accept()[0])
            except OSError:
                pass  # BlockingIOError: the queue is empty
        self._close_servers()
        for listener in bound:
            listener.close()
        for connected in accepted:
            connected.setblocking(False)
            await self._loop.connect_accepted_socket(self._protocol, connected)
