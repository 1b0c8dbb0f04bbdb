"""Requests that come through TLS and through Unix sockets: the same proxy, another way in and out."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from http1_harness import DEADLINE_SECONDS, Peer, Stage, get, ok, post, scripted, settle, stage

from understudy.config import server_context
from understudy.proxy import SWEEP_SECONDS
from understudy.proxy.line import ENDING

CA = trustme.CA()
LARGE = bytes(range(256)) * 4096 * 32  # 32 MiB: more than all buffers of loopback


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a worker's TLS listener is opened with."""
    folder = tmp_path_factory.mktemp("certificate")
    issued = CA.issue_cert("a.example")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return server_context(folder / "cert.pem", folder / "key.pem")


def trusting(*protocols: str) -> ssl.SSLContext:
    """A client's context."""
    client = ssl.create_default_context()
    CA.configure_trust(client)
    client.set_alpn_protocols(list(protocols) or ["http/1.1"])
    return client


@asynccontextmanager
async def secured(
    context: ssl.SSLContext, *, small: bool = False, **document: Any
) -> AsyncIterator[tuple[Stage, int]]:
    """A stage whose proxy listens with TLS too, on the port given; with *small* buffers in the kernel."""
    async with stage(**document) as s:
        bound = socket.create_server(("127.0.0.1", 0))
        bound.setblocking(False)
        if small:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # accepted sockets inherit it
        await s.proxy.serve([bound], tls=context)
        yield s, bound.getsockname()[1]


async def connected(s: Stage, port: int, client: ssl.SSLContext | None = None) -> Peer:
    """A client that has shaken hands."""
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_connection(
        Peer, "127.0.0.1", port, ssl=client or trusting(), server_hostname="a.example"
    )
    s.clients.append(peer)
    await until(lambda: s.proxy.connections, "the proxy's end of the handshake")
    return peer


async def until(is_so: Any, what: str) -> None:
    """Turn the loop until *is_so*."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so():
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"never came: {what}") from None


class Memory:
    """A TLS client whose bytes the test moves: it can stop in the middle of a handshake, or never read."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trusting().wrap_bio(self._incoming, self._outgoing, server_hostname="a.example")

    @classmethod
    async def connect(cls, s: Stage, port: int, *, small: bool = False) -> "Memory":
        """Connected, and nothing said; a *small* one has hardly any buffer in the kernel."""
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        if small:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(raw, ("127.0.0.1", port))
        _, peer = await loop.create_connection(Peer, sock=raw)
        s.clients.append(peer)
        await until(lambda: s.proxy.handshakes, "an accepted connection")
        return cls(peer)

    def flush(self) -> None:
        self.peer.send(self._outgoing.read())

    async def shake_hands(self) -> None:
        """To the end."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                await self.peer.until(lambda: self.peer.received, "the server's part")
                self._incoming.write(await self.peer.take(len(self.peer.received)))
            else:
                self.flush()
                return

    async def read(self) -> bytes:
        """The next data; empty at the end (close_notify)."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self.peer.until(lambda: self.peer.received, "data")
                self._incoming.write(await self.peer.take(len(self.peer.received)))


@scripted
async def test_the_service_is_told_that_the_client_came_by_tls(context: ssl.SSLContext) -> None:
    """On each request of a connection; a plain listener of the same proxy still says http."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        for target in (b"/1", b"/2"):
            client.send(get(target))
            upstream = s.upstream.connections[0] if s.upstream.connections else await s.upstream.accepted()
            asked = await upstream.message()
            assert asked.start == b"GET %b HTTP/1.1" % target
            assert asked.field(b"x-forwarded-proto") == b"https"
            assert asked.field(b"x-forwarded-for") == b"127.0.0.1"
            upstream.send(ok(b"secret"))
            assert (await client.message()).body == b"secret"
        plain = await s.client()
        plain.send(get())
        asked = await upstream.message()
        assert asked.field(b"x-forwarded-proto") == b"http"
        upstream.send(ok())
        await plain.message()


@pytest.mark.parametrize(("offered", "chosen"), [(("h2", "http/1.1"), "http/1.1"), (("h2",), None)])
def test_only_http_1_1_is_negotiated(
    offered: tuple[str, ...], chosen: str | None, context: ssl.SSLContext
) -> None:
    """Also beside others (RFC 7301); TLS 1.3 where the client can."""

    @scripted
    async def run() -> None:
        async with secured(context) as (s, port):
            client = await connected(s, port, trusting(*offered))
            tls = client.transport.get_extra_info("ssl_object")
            assert (tls.selected_alpn_protocol(), tls.version()) == (chosen, "TLSv1.3")

    run()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@scripted
async def test_a_handshake_that_fails_is_counted(context: ssl.SSLContext) -> None:
    """A plain request and a client that knows no TLS 1.2 get nothing, and leave nothing."""
    async with secured(context) as (s, port):
        _, plain = await asyncio.get_running_loop().create_connection(Peer, "127.0.0.1", port)
        s.clients.append(plain)
        plain.send(get())
        await plain.ended()
        old = trusting()
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connected(s, port, old)
        await until(lambda: s.errors == {"tls_handshake": 2}, "two failures")
        assert not s.proxy.handshakes
        assert not s.proxy.connections


@scripted
async def test_a_peer_that_never_says_anything_is_dropped(context: ssl.SSLContext) -> None:
    """After the time for a request head."""
    async with secured(context, limits={"head_timeout": "200ms"}) as (s, port):
        client = await Memory.connect(s, port)
        await client.peer.ended()
        await until(lambda: s.errors == {"tls_handshake": 1}, "the failure")


@scripted
async def test_a_slow_reader_holds_up_the_service_and_gets_all(context: ssl.SSLContext) -> None:
    """What waits in the proxy stays bounded; nothing is lost when the client reads on."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        client.transport.pause_reading()
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(ok(LARGE))
        await until(lambda: [c for c in s.proxy.connections if c.is_paused], "a client that is paused")
        await settle(200)
        waiting = max(c.transport.get_write_buffer_size() for c in s.proxy.connections if c.transport)
        assert waiting < 1024 * 1024
        assert upstream.transport.get_write_buffer_size() > 0
        client.transport.resume_reading()
        assert (await client.message()).body == LARGE


@scripted
async def test_a_large_upload_arrives_whole(context: ssl.SSLContext) -> None:
    """In spite of a service that stops reading for a while."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        client.send(post(LARGE))
        upstream = await s.upstream.accepted()
        upstream.transport.pause_reading()
        await settle(200)
        upstream.transport.resume_reading()
        assert (await upstream.message()).body == LARGE
        upstream.send(ok())
        assert (await client.message()).body == b"ok"


@scripted
async def test_an_early_answer_reaches_a_client_that_still_sends(context: ssl.SSLContext) -> None:
    """There is no half-close with TLS: what comes is thrown away for a moment, then the end is said."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        client.send(get(b"/", b"Content-Length: 100000", b"Expect: nonsense", method=b"POST"))
        assert (await client.message()).reason == "bad_expect"
        client.send(b"x" * 50_000)
        await settle(20)
        assert not client.ending
        s.advance(1.1)
        await client.ended()
        assert s.errors == {"bad_expect": 1}


@scripted
async def test_a_broken_answer_is_cut(context: ssl.SSLContext) -> None:
    """By a reset: nobody can take a part for the whole."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        await client.take_until(b"part")
        upstream.close()
        assert await client.rest() == "reset"


@scripted
async def test_a_client_that_says_its_end_ends_the_exchange(context: ssl.SSLContext) -> None:
    """The transport closes at close_notify, so the service is not asked in vain."""
    async with secured(context) as (s, port):
        client = await connected(s, port)
        client.send(get())
        upstream = await s.upstream.accepted()
        await upstream.message()
        client.close()
        await upstream.ended()
        await s.idle()


@scripted
async def test_a_client_that_ignores_the_end_is_left(context: ssl.SSLContext) -> None:
    """It has everything, and a moment to say that it has seen the end: no connection hangs for that."""
    async with secured(context) as (s, port):
        client = await Memory.connect(s, port)
        await client.shake_hands()
        await until(lambda: s.proxy.connections, "the proxy's end of the handshake")
        s.advance(61.0)
        assert await client.read() == b""
        assert s.proxy.connections
        s.advance(1.1)
        await client.peer.ended()
        await s.idle()


@scripted
async def test_a_slow_reader_gets_the_rest_of_a_closed_connection(context: ssl.SSLContext) -> None:
    """What stands below TLS counts as not sent; one that takes nothing of it is cut in the end."""
    body = LARGE[:60_000]
    async with secured(context, small=True) as (s, port):
        reader, sleeper = clients = [await Memory.connect(s, port, small=True) for _ in range(2)]
        for client in clients:
            await client.shake_hands()
            client.tls.write(get(b"/", b"Connection: close"))
            client.peer.transport.pause_reading()
            client.flush()
            upstream = await s.upstream.accepted()
            await upstream.message()
            upstream.send(ok(body, b"Connection: close"))
        await until(lambda: [c.phase for c in s.proxy.connections] == [ENDING, ENDING], "two closed ends")
        s.advance(1.1)
        assert len(s.proxy.connections) == 2
        reader.peer.transport.resume_reading()
        read = b""
        while piece := await reader.read():
            read += piece
        assert read.endswith(body)
        reader.peer.close()
        s.advance(31.0)
        s.advance(31.0)
        await s.idle()
        sleeper.peer.transport.resume_reading()
        assert await sleeper.peer.rest() == "reset"


@scripted
async def test_a_drain_waits_for_who_shakes_hands(context: ssl.SSLContext) -> None:
    """It had connected before, so it is served; then it hears that this was the last answer."""
    async with secured(context) as (s, port):
        client = await Memory.connect(s, port)
        silent = await Memory.connect(s, port)
        waits = 0

        async def wait(seconds: float) -> None:
            nonlocal waits
            waits += 1
            s.clock.now += seconds
            await settle(4)
            if waits == 3:
                await client.shake_hands()
                client.tls.write(get())
                client.flush()
                upstream = await s.upstream.accepted()
                await upstream.message()
                upstream.send(ok(b"last"))
                assert b"Connection: close" in await client.read()
                client.peer.close()

        await s.proxy.drain(30.0, wait=wait)
        assert waits * SWEEP_SECONDS < 3.0, "nobody waits long for a peer that says nothing"
        silent.peer.close()


@scripted
async def test_who_waits_in_the_queue_of_a_tls_listener_is_served(context: ssl.SSLContext) -> None:
    """A drain accepts everybody, however many shake hands at once."""
    async with secured(context) as (s, port):
        loop = asyncio.get_running_loop()
        raw = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        answers: list[bytes] = []

        async def ask(connection: socket.socket) -> None:
            connection.setblocking(False)
            _, peer = await loop.create_connection(
                Peer, sock=connection, ssl=trusting(), server_hostname="a.example"
            )
            peer.send(get(b"/", b"Connection: close"))
            answers.append((await peer.message()).body)
            peer.close()

        async def answer() -> None:
            for _ in raw:
                upstream = await s.upstream.accepted()
                await upstream.message()
                upstream.send(ok(b"served", b"Connection: close"))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(s.proxy.drain(30.0, wait=asyncio.sleep))
            tasks.create_task(answer())
            for connection in raw:
                tasks.create_task(ask(connection))
        assert answers == [b"served"] * 5


@scripted
async def test_a_drain_with_a_successor_leaves_the_queue_to_it() -> None:
    """It stops accepting at once; the listener is somebody else's too."""
    async with stage() as s:
        ((listener, _),) = s.proxy.doors._bound
        held = listener.dup()
        s.port = held.getsockname()[1]
        await s.proxy.drain(30.0, wait=asyncio.sleep, is_succeeded=True)
        waiting = socket.create_connection(("127.0.0.1", s.port))
        accepted, _ = held.accept()
        for each in (waiting, accepted, held):
            each.close()


@pytest.mark.parametrize(
    ("trusted", "given", "told"),
    [
        ([], b"9.9.9.9", b"unknown"),
        (["127.0.0.0/8"], b"9.9.9.9", b"unknown"),
        (["unix"], b"9.9.9.9", b"9.9.9.9"),
        (["unix"], b"1.1.1.1, 9.9.9.9", b"1.1.1.1, 9.9.9.9"),
        (["unix"], b"", b"unknown"),
    ],
)
def test_a_peer_on_a_unix_socket_has_no_address(
    trusted: list[str], given: bytes, told: bytes, tmp_path: Path
) -> None:
    """It is believed when `unix` is trusted, and adds no hop of its own; else nobody knows the client."""

    @scripted
    async def run() -> None:
        async with stage(trusted_proxies=trusted) as s:
            bound = socket.socket(socket.AF_UNIX)
            bound.bind(str(tmp_path / "u"))
            bound.setblocking(False)
            await s.proxy.serve([bound])
            loop = asyncio.get_running_loop()
            _, client = await loop.create_unix_connection(UnixPeer, str(tmp_path / "u"))
            s.clients.append(client)
            client.send(get(b"/", b"X-Forwarded-For: %b" % given, b"X-Forwarded-Proto: https"))
            upstream = await s.upstream.accepted()
            asked = await upstream.message()
            assert asked.field(b"x-forwarded-for") == told
            assert asked.field(b"x-forwarded-proto") == (b"https" if trusted == ["unix"] else b"http")
            upstream.send(ok())
            await client.message()

    run()


class UnixPeer(Peer):
    """A scripted client on a Unix socket, which knows no TCP options."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]


@scripted
async def test_trust_in_unix_sockets_is_no_trust_in_addresses() -> None:
    """Nor in a TCP peer whose address cannot be told any more."""
    async with stage(trusted_proxies=["unix"]) as s:
        client, upstream, asked = await s.asked(get(b"/", b"X-Forwarded-For: 9.9.9.9"))
        assert asked.field(b"x-forwarded-for") == b"127.0.0.1"
        upstream.send(ok())
        await client.message()
        assert not s.proxy.forwarder.trusts("")


@scripted
async def test_trust_changes_on_open_connections() -> None:
    """A reload reaches a client that keeps its connection, also for a request like the one before."""
    async with stage() as s:
        client, upstream, asked = await s.asked(get(b"/", b"X-Forwarded-For: 9.9.9.9"))
        for networks, told in (
            ((), b"127.0.0.1"),
            (("127.0.0.0/8",), b"9.9.9.9, 127.0.0.1"),
            ((), b"127.0.0.1"),
        ):
            upstream.send(ok())
            await client.message()
            s.proxy.reload(s.proxy.limits, networks)
            client.send(get(b"/", b"X-Forwarded-For: 9.9.9.9"))
            asked = await upstream.message()
            assert asked.field(b"x-forwarded-for") == told
        upstream.send(ok())
        await client.message()
