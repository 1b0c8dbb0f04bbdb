"""A tunnel is the same wherever its ends are: in the clear, through TLS and through Unix sockets."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from certificates import Authority
from http1_harness import Peer, Stage, scripted, stage
from origins_harness import until
from test_http1_tunnels import ASK, switched

from understudy.config import server_context
from understudy.upstream.connection import BUFFER_BYTES

PLACES: Final = ("clear", "tls", "unix")
LARGE: Final = bytes(range(256)) * 4096 * 16
"""16 MiB: more than all buffers of loopback."""


class Secured(Peer):
    """A peer that may be behind TLS: its socket is the event loop's, and it cannot half-close."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def eof_received(self) -> bool:
        super().eof_received()
        return False


class Place:
    """The ends of one tunnel in the files of a folder; *front* and *back* are of `PLACES`."""

    def __init__(self, folder: Path, front: str, back: str) -> None:
        self.folder = folder
        self.front = front
        self.back = back
        self.authority = Authority(folder)
        self.services: list[Secured] = []
        self.server: asyncio.Server | None = None

    def _service(self) -> Secured:
        self.services.append(Secured())
        return self.services[-1]

    async def listen(self) -> dict[str, Any]:
        """Open the service; how it is configured."""
        loop = asyncio.get_running_loop()
        if self.back == "unix":
            path = self.folder / "service"
            self.server = await loop.create_unix_server(self._service, path)
            return {"url": f"unix:{path}"}
        tls = self.authority.server("127.0.0.1") if self.back == "tls" else None
        self.server = await loop.create_server(self._service, "127.0.0.1", 0, ssl=tls)
        port = self.server.sockets[0].getsockname()[1]
        if tls is None:
            return {"url": f"http://127.0.0.1:{port}"}
        return {"url": f"https://127.0.0.1:{port}", "tls": {"ca": str(self.authority.file)}}

    async def client(self, s: Stage) -> Secured:
        """Open the proxy's listener; who has connected to it."""
        loop = asyncio.get_running_loop()
        address: Any = str(self.folder / "proxy") if self.front == "unix" else ("127.0.0.1", 0)
        bound = socket.socket(socket.AF_UNIX if self.front == "unix" else socket.AF_INET)
        bound.bind(address)
        bound.listen()
        bound.setblocking(False)
        name = bound.getsockname()
        if self.front != "tls":
            await s.proxy.serve([bound])
            raw = socket.socket(bound.family)
            raw.setblocking(False)
            await loop.sock_connect(raw, name)
            return (await loop.create_connection(Secured, sock=raw))[1]
        cert, key = self.authority.client(self.folder, "localhost")
        await s.proxy.serve([bound], tls=server_context(cert, key))
        context = ssl.create_default_context(cafile=self.authority.file)
        return (await loop.create_connection(Secured, *name, ssl=context, server_hostname="localhost"))[1]


@asynccontextmanager
async def tunnelled(place: Place) -> AsyncIterator[tuple[Stage, Secured, Secured]]:
    """The proxy, a client and a service that have switched; nothing may be left of them at the end."""
    service = await place.listen()
    assert place.server is not None
    try:
        async with stage(services={"a": service}) as s:
            client = await place.client(s)
            client.send(ASK)
            await until(lambda: place.services)
            far = place.services[0]
            await far.head()
            far.send(switched())
            assert (await client.head()).status == 101
            yield s, client, far
            await until(lambda: not s.proxy.tunnels)
            await until(lambda: client.is_lost and far.is_lost)
    finally:
        place.server.close()


def kept_bytes(s: Stage) -> int:
    """What the proxy keeps for both ends of its only tunnel."""
    (connection,) = s.proxy.connections
    tunnel = connection._tunnel
    assert tunnel is not None
    ends = (tunnel._near.transport, tunnel._far.transport)
    return sum(0 if end is None else end.get_write_buffer_size() for end in ends)


@pytest.mark.parametrize("back", PLACES)
@pytest.mark.parametrize("front", PLACES)
def test_bytes_go_both_ways_within_bounds(front: str, back: str, tmp_path: Path) -> None:
    """A reader that stops holds the writer: the proxy keeps less than a MiB for either."""

    @scripted
    async def play() -> None:
        async with tunnelled(Place(tmp_path, front, back)) as (s, client, service):
            for writer, reader in ((client, service), (service, client)):
                reader.transport.pause_reading()
                writer.send(LARGE)
                await until(lambda: kept_bytes(s) > BUFFER_BYTES)
                assert kept_bytes(s) < 1 << 20
                reader.transport.resume_reading()
                assert await reader.take(len(LARGE)) == LARGE
            client.close()

    play()


@pytest.mark.parametrize("who", ["client", "service"])
@pytest.mark.parametrize("back", PLACES)
@pytest.mark.parametrize("front", PLACES)
def test_last_words_arrive(front: str, back: str, who: str, tmp_path: Path) -> None:
    """What was said before a close reaches the other side, which is closed then."""

    @scripted
    async def play() -> None:
        async with tunnelled(Place(tmp_path, front, back)) as (_, client, service):
            leaving, staying = (client, service) if who == "client" else (service, client)
            leaving.send(LARGE)
            leaving.close()
            assert await staying.take(len(LARGE)) == LARGE
            await staying.ended()
            staying.close()

    play()
