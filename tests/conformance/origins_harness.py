"""Origins that answer by themselves, in every form an origin may have, and that can die and come back."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from http1_harness import DEADLINE_SECONDS, Message, Peer, Stage, ok, settle
from store_servers import free_port

HEAD_END: Final = b"\r\n\r\n"


class Asked(asyncio.Protocol):
    """One connection of a `Server`."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self.server.is_listening:  # accepted in the turn in which it stopped
            reset(self)
        self.server.connections.add(self)
        self.server.accepted += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        while HEAD_END in self.received:
            head, _, rest = self.received.partition(HEAD_END)
            size = next((int(x[16:]) for x in head.lower().split(b"\r\n") if x[:15] == b"content-length:"), 0)
            if len(rest) < size:
                return
            self.received = rest[size:]
            self.server.take(self, head + HEAD_END + rest[:size])

    def connection_lost(self, _exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self.transport = None

    def send(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


class Server:
    """An origin called *name*, which is what it answers with; ``answer`` may say otherwise.

    ``asked`` has every request. While ``holds``, requests stay unanswered in ``held``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.asked: list[bytes] = []
        self.accepted = 0
        self.held: list[Asked] = []
        self.holds = False
        self.answer: Callable[[bytes], bytes] = lambda _: ok(name.encode())
        self.ends: Callable[[Asked], None] | None = None
        """Does something else with a connection that was asked."""
        self.connections: set[Asked] = set()
        self._server: asyncio.Server | None = None

    async def listen(
        self, *, host: str = "127.0.0.1", path: str = "", tls: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        """Accept at *host*, or at the Unix socket *path*; ``url`` is how the configuration names it."""
        loop = asyncio.get_running_loop()
        if path:
            self._server = await loop.create_unix_server(lambda: Asked(self), path)
            self.url = f"unix:{path}"
            return
        # No other test is given the port, so that it refuses when this has stopped.
        self._server = await loop.create_server(lambda: Asked(self), host, port or free_port(), ssl=tls)
        bound = self._server.sockets[0].getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{name}:{bound}"

    def take(self, connection: Asked, request: bytes) -> None:
        self.asked.append(request)
        if self.ends is not None:
            self.ends(connection)
        elif self.holds:
            self.held.append(connection)
        else:
            connection.send(self.answer(request))

    def release(self) -> None:
        """Answer what was held."""
        held, self.held = self.held, []
        for connection in held:
            connection.send(self.answer(b""))

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    def stop(self) -> None:
        """Refuse connections; those accepted stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def die(self) -> None:
        """Refuse connections and reset those accepted, as a killed process does."""
        self.stop()
        self.held.clear()
        self.stop_kept()

    def stop_kept(self) -> None:
        """Close the connections that are kept."""
        for connection in list(self.connections):
            reset(connection)

    async def revive(self) -> None:
        """Accept again where it accepted before."""
        await self.listen(port=int(self.url.rpartition(":")[2]))


def reset(connection: Asked) -> None:
    """Cut *connection* without an answer."""
    if connection.transport is not None:
        connection.transport.abort()


@asynccontextmanager
async def servers(*names: str) -> AsyncIterator[list[Server]]:
    """One listening server for each of *names*."""
    made = [Server(name) for name in names]
    try:
        for server in made:
            await server.listen()
        yield made
    finally:
        for server in made:
            server.die()
        await settle()


def spread(made: list[Server], **more: Any) -> dict[str, Any]:
    """The configuration of service a with these as its origins."""
    return {"a": {"origins": [server.url for server in made], **more}}


async def answered(client: Peer, request: bytes) -> Message:
    """What *client* gets for *request*."""
    client.send(request)
    return await client.message()


async def bodies(scene: Stage, request: bytes, times: int) -> list[bytes]:
    """The bodies of that many answers, one after another on one connection."""
    client = await scene.client()
    return [(await answered(client, request)).body for _ in range(times)]


async def until(is_there: Callable[[], object]) -> None:
    """Wait, turn by turn, for what sockets of this loop will bring about."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_there():
            await asyncio.sleep(0)
