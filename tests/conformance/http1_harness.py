"""A stage for scripted dialogues: a raw client, the real proxy, a raw upstream, all on loopback sockets.

Both ends are scripted byte by byte; the proxy runs in the test's own uvloop, with time in the test's
hands. Whatever is left over at the end (connections, exchanges, exceptions) fails the test.
"""

import asyncio
import functools
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, ParamSpec, Self, cast

import orjson
import uvloop
from store_servers import free_port

from understudy.config import parse_settings
from understudy.engine import Engine
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.proxy import Clock, Proxy
from understudy.shadow import Limits, Mirror
from understudy.upstream import Outgoing, Pool, UpstreamMaker

DEADLINE_SECONDS: Final = 60.0
"""Nothing takes that long: what is late by so much never comes."""
VIA: Final = b"understudy-test"
END: Final = b"\r\n\r\n"
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset."""


P = ParamSpec("P")


def scripted(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test that is a coroutine on a uvloop of its own, as a worker runs."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        uvloop.run(test(*arguments, **named))

    return run


async def settle(turns: int = 12) -> None:
    """Let everything that is under way on loopback arrive."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Peer(asyncio.Protocol):
    """One scripted end of a connection: keeps every byte and how it ended (``eof``, ``reset`` or ``""``)."""

    def __init__(self, greeting: bytes = b"", *, drops: bool = False) -> None:
        self._greeting = greeting
        self._drops = drops
        self.received = bytearray()
        self.ending = ""
        self.is_lost = False
        self._changed = asyncio.Event()
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._greeting:
            self.send(self._greeting)
        if self._drops:
            self.reset()

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def eof_received(self) -> bool:
        self.ending = "eof"
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if exc is not None:
            self.ending = "reset"
        self._changed.set()

    def send(self, data: bytes) -> None:
        """Send *data* in one piece; a connection that is over swallows it."""
        if not self.is_lost:
            self.transport.write(data)

    async def dribble(self, data: bytes) -> None:
        """Send *data* one byte at a time, each read by itself at the other end."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            await settle(3)

    async def send_split(self, data: bytes, at: int) -> None:
        """Send *data* in two pieces, the second after the first was read."""
        self.send(data[:at])
        await settle(3)
        self.send(data[at:])

    def finish(self) -> None:
        """Half-close: nothing more will be sent."""
        self.transport.write_eof()

    def reset(self) -> None:
        """Vanish, leaving nothing to guess."""
        if not self.is_lost:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()

    def close(self) -> None:
        """Close in order."""
        self.transport.close()

    async def until(self, is_there: Callable[[], object], what: str) -> None:
        """Wait until *is_there*; fails after the deadline, saying *what* did not come."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not is_there():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            tail = bytes(self.received[-300:])
            raise AssertionError(f"never came: {what}; ending={self.ending!r} received={tail!r}") from None

    async def take(self, size: int) -> bytes:
        """Exactly *size* bytes, removed from what was received."""
        await self.until(lambda: len(self.received) >= size, f"{size} bytes")
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def take_until(self, mark: bytes) -> bytes:
        """Everything up to and with *mark*."""
        await self.until(lambda: mark in self.received, repr(mark))
        return await self.take(self.received.index(mark) + len(mark))

    async def head(self) -> "Message":
        """The next message's head; its body stays to be taken."""
        start, _, fields = (await self.take_until(END))[: -len(END)].partition(b"\r\n")
        return Message(start, [split_field(line) for line in fields.split(b"\r\n") if line])

    async def message(self, *, bodyless: bool = False) -> "Message":
        """The next whole message, framed as a strict reader frames it."""
        message = await self.head()
        if bodyless or message.is_bodyless:
            return message
        if message.field(b"transfer-encoding") == b"chunked":
            while size := int(await self.take_until(b"\r\n"), 16):
                message.chunks.append(await self.take(size))
                assert await self.take(2) == b"\r\n"
            assert await self.take(2) == b"\r\n", "trailers"
            message.body = b"".join(message.chunks)
        elif length := message.field(b"content-length"):
            message.body = await self.take(int(length))
        elif message.start.startswith(b"HTTP/"):
            assert await self.rest() == "eof"
            message.body = bytes(self.received)
            self.received.clear()
        return message

    async def rest(self) -> str:
        """How the connection ended; what came before the end is in ``received``."""
        await self.until(lambda: self.ending, "the end of the connection")
        return self.ending

    async def ended(self) -> None:
        """The connection is over in any way."""
        await self.until(lambda: self.ending or self.is_lost, "the end of the connection")


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """A field line as (name as spelled, value as sent)."""
    name, colon, value = line.partition(b": ")
    assert colon, line
    return name, value


class Message:
    """A start line, fields in order, a body without transfer coding."""

    def __init__(self, start: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.start = start
        self.fields = fields
        self.body = b""
        self.chunks: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Message {self.start!r} {self.fields!r} {self.body[:100]!r}>"

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def is_bodyless(self) -> bool:
        return self.start.startswith(b"HTTP/") and (self.status < 200 or self.status in (204, 304))

    def fields_named(self, name: bytes) -> list[bytes]:
        """All values of lower-case *name*, in order."""
        return [value for known, value in self.fields if known.lower() == name]

    def field(self, name: bytes) -> bytes:
        """The only value of lower-case *name*; empty when there is none."""
        values = self.fields_named(name)
        assert len(values) < 2, (name, values)
        return values[0] if values else b""

    @property
    def reason(self) -> str:
        """The counted reason of a problem that the proxy answered by itself."""
        assert self.field(b"content-type") == b"application/problem+json", self
        problem = orjson.loads(self.body)
        assert problem["status"] == self.status
        return str(problem["reason"])


class Upstream:
    """A scripted service: every accepted connection stands in ``connections``, in order."""

    def __init__(self) -> None:
        self.connections: list[Peer] = []
        self.drops = False
        """Accepted connections are reset at once."""
        self.greeting = b""
        """What every accepted connection sends before it is asked anything."""
        self.port = 0
        self._taken = 0
        self._accepted = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int = 0) -> None:
        """At a port that refuses, once this is closed: no other test is given it."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", port or free_port())
        self.port = self._server.sockets[0].getsockname()[1]

    def _accept(self) -> Peer:
        peer = Peer(self.greeting, drops=self.drops)
        self.connections.append(peer)
        self._accepted.set()
        return peer

    async def accepted(self) -> Peer:
        """The next connection that was not given out yet."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(self.connections) <= self._taken:
                    self._accepted.clear()
                    await self._accepted.wait()
        except TimeoutError:
            raise AssertionError("nobody connected to the upstream") from None
        self._taken += 1
        peer = self.connections[self._taken - 1]
        await settle(2)
        return peer

    def close(self) -> None:
        """Refuse new connections, drop the present ones."""
        if self._server is not None:
            self._server.close()
        for peer in self.connections:
            if peer._transport is not None and not peer.is_lost:
                peer.transport.abort()


def patient(services: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """*services* with time to connect on a machine that stands still for a while, unless they say how long.

    That time alone is real here, and is over before the loop looks whether a connection was made.
    """
    return {
        name: {"connect_timeout": f"{DEADLINE_SECONDS:g}s", **fields} for name, fields in services.items()
    }


class _Recorder:
    """Unequal pairs, kept."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def offer(self, pair: Pair) -> bool:
        self.pairs.append(pair)
        return True


class Stage:
    """The proxy between a scripted client and scripted services; see `stage`."""

    def __init__(self) -> None:
        self.upstream = Upstream()
        self.shadow = Upstream()
        self.metrics = WorkerMetrics()
        self.recorder = _Recorder()
        self.faults: list[Mapping[str, Any]] = []
        self.logged: list[BaseException] = []
        self.clock = Clock(1000.0)
        self.clients: list[Peer] = []
        self.port = 0
        self.options: Mapping[str, Any] = {}
        self._is_built = False
        self.outgoing: Outgoing
        self.proxy: Proxy
        self.tasks: asyncio.TaskGroup

    @property
    def pool(self) -> Pool:
        """The only pool made so far."""
        (pool,) = self.proxy.engine.pools
        assert isinstance(pool, Pool)
        return pool

    @property
    def errors(self) -> dict[str, int]:
        """What the proxy answered or cut by itself, by counted reason."""
        return dict(self.metrics.errors)

    async def turn(self) -> None:
        """Let what was sent arrive."""
        await settle(4)

    def advance(self, seconds: float) -> None:
        """Time passes, and everything late is ended."""
        self.proxy.sweep(self.clock.now + seconds)

    async def client(self, *, receive_buffer_bytes: int = 0) -> Peer:
        """A new client connection."""
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        if receive_buffer_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await loop.sock_connect(raw, ("127.0.0.1", self.port))
        _, peer = await loop.create_connection(Peer, sock=raw)
        self.clients.append(peer)
        return peer

    async def asked(self, request: bytes) -> tuple[Peer, Peer, Message]:
        """A client that sent *request*, the upstream connection that got it, and what it got."""
        client = await self.client()
        client.send(request)
        upstream = await self.upstream.accepted()
        return client, upstream, await upstream.message()

    async def refused(self, request: bytes, *, half_close: bool = False) -> Message:
        """The answer to a *request* after which the proxy must close; nothing may reach the upstream."""
        client = await self.client()
        client.send(request)
        if half_close:
            client.finish()
        answer = await client.message()
        assert await client.rest() == "eof"
        assert client.received == b"", "bytes after the answer"
        assert not self.upstream.connections, "a refused request reached the upstream"
        client.close()
        return answer

    async def idle(self) -> None:
        """No client, no exchange and no pending byte is left. Fails after the deadline."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while self.proxy.connections:
                    await asyncio.sleep(0)
        except TimeoutError:
            left = [(c.phase, c._holds, c._current) for c in self.proxy.connections]
            raise AssertionError(f"client connections are left: {left}") from None
        await settle()

    def _build(self, document: Mapping[str, Any], tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        settings = parse_settings(document, base=Path(), environ={})
        self.tasks = tasks
        self.outgoing = outgoing = Outgoing(loop)

        make_pool = UpstreamMaker(
            loop=loop,
            spawn=tasks.create_task,
            clock=lambda: self.clock.now,
            outgoing=outgoing,
            chance=random.random,
        )
        mirror = Mirror(
            recorder=self.recorder,
            metrics=self.metrics,
            now=time.perf_counter,
            wall=time.time,
            chance=random.random,
            limits=Limits(control_share=0.0),
        )
        engine = Engine(settings, mirror=mirror, metrics=self.metrics, make_pool=make_pool)
        engine.swap(settings.rules, 1)
        self.proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=mirror,
            metrics=self.metrics,
            limits=settings.limits,
            clock=self.clock,
            outgoing=outgoing,
            via_id=VIA,
            trusted_proxies=settings.trusted_proxies,
            forwarded=settings.forwarded,
            **self.options,
        )
        self._is_built = True
        setattr(self.proxy, "log_fault", self.logged.append)  # noqa: B010  mypy knows it as a method

    async def _open(self, document: Mapping[str, Any], tasks: asyncio.TaskGroup) -> Self:
        await self.upstream.listen()
        await self.shadow.listen()
        rest = dict(document)
        service = rest.pop("service", {})
        services = rest.pop("services", {})
        self._build(
            {
                "store": "memory://",
                **rest,
                "services": patient(
                    {
                        "a": {"url": f"http://127.0.0.1:{self.upstream.port}", **service},
                        "b": {"url": f"http://127.0.0.1:{self.shadow.port}"},
                        **services,
                    }
                ),
            },
            tasks,
        )
        bound = socket.create_server(("127.0.0.1", 0))
        bound.setblocking(False)
        self.port = bound.getsockname()[1]
        await self.proxy.serve([bound])
        return self

    async def _close(self) -> None:
        """Everybody leaves; nothing may be left."""
        for client in self.clients:
            client.reset()
        for connection in list(self.proxy.connections):
            if connection.transport is not None:
                connection.transport.resume_reading()  # a held connection would not notice the reset
        await self.idle()
        self.proxy.mirror.cancel_all()
        for pool in self.proxy.engine.pools:
            pool.close()
        await settle()
        for pool in self.proxy.engine.pools:
            assert repr(pool).endswith("open=0 idle=0 opening=0 waiting=0>"), pool
        assert self.proxy.mirror.held == 0

    async def _clear(self) -> None:
        """Leave no socket open, whatever happened: uvloop would wait for it for ever."""
        for client in self.clients:
            client.reset()
        if self._is_built:
            await self.proxy.doors.close()
            for connection in list(self.proxy.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            for pool in self.proxy.engine.pools:
                pool.close()
        for upstream in (self.upstream, self.shadow):
            upstream.close()
        await settle()


FLAGGED: Final[Mapping[str, Any]] = {
    "flags": {
        "shop": {
            "state": "ENABLED",
            "variants": {"stable": {"serve": "a"}, "dark": {"serve": "a", "mirror": ["b"]}},
            "defaultVariant": "stable",
            "targeting": {"if": [{"==": [{"var": "headers.x-beta"}, "yes"]}, "dark", "stable"]},
        }
    },
    "routes": [{"path": "/", "flag": "shop", "unit": "ip"}],
}
"""Everything consults flag ``shop``; ``X-Beta: yes`` is mirrored to service b."""

PLAIN: Final[Mapping[str, Any]] = {"flags": {}, "routes": [{"path": "/", "serve": "a"}]}


@asynccontextmanager
async def stage(
    document: Mapping[str, Any] = PLAIN,
    *,
    faults: bool = False,
    options: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> AsyncIterator[Stage]:
    """The proxy by *document* (a configuration without services) updated by *more*; ``service`` sets fields
    of the primary service, ``services`` replaces whole ones. With *faults*, exceptions that reached the event
    loop are the test's to judge.
    *options* go to the proxy as they are.
    """
    scene = Stage()
    scene.options = options
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: scene.faults.append(context))
    document = {**document, **more}
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            await scene._open(document, tasks)
            yield scene
            await scene._close()
        except Exception as error:  # noqa: BLE001  raised below, outside of the group that would wrap it
            failure = error
        finally:
            await scene._clear()
    if failure is not None:
        raise failure
    if not faults:
        assert scene.faults == []
        assert scene.logged == []


def ok(body: bytes = b"ok", *fields: bytes) -> bytes:
    """A sized 200 answer."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (lines, len(body), body)


def get(target: bytes = b"/", *fields: bytes, method: bytes = b"GET") -> bytes:
    """A request without a body."""
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"%b %b HTTP/1.1\r\nHost: a.example\r\n%b\r\n" % (method, target, lines)


def post(body: bytes, *fields: bytes, target: bytes = b"/") -> bytes:
    """A sized POST."""
    return get(target, b"Content-Length: %d" % len(body), *fields, method=b"POST") + body


def chunked(*chunks: bytes) -> bytes:
    """*chunks* in the chunked coding, with the last chunk."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
