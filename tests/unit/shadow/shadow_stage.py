"""A worker's data path on loopback sockets: the real proxy and mirror between scripted origins."""

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, ParamSpec, cast

import uvloop

from understudy.config import parse_settings
from understudy.engine import Engine
from understudy.link import Outbox
from understudy.metrics import WorkerMetrics
from understudy.proxy import Clock, Proxy
from understudy.shadow import Limits, Mirror, Target
from understudy.upstream import Outgoing, UpstreamMaker

DEADLINE_SECONDS: Final = 60.0
PATIENT: Final = {"connect_timeout": f"{DEADLINE_SECONDS:g}s"}
"""A machine that stands still for a while has its connections before it looks for them."""
P = ParamSpec("P")


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test that is a coroutine on a uvloop of its own, as a worker runs."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        uvloop.run(test(*arguments, **named))

    return run


def body_bytes(head: bytes) -> int:
    """The length of the body that a request's or answer's *head* declares."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def take_message(buffer: bytearray) -> bytes:
    """Remove one whole message from *buffer*; empty when it is not whole yet."""
    head, separator, rest = bytes(buffer).partition(b"\r\n\r\n")
    if not separator:
        return b""
    end = len(head) + 4 + body_bytes(head)
    if b"transfer-encoding: chunked" in head.lower():
        last = rest.find(b"0\r\n\r\n")
        if last < 0:
            return b""
        end = len(head) + 4 + last + 5
    if len(buffer) < end:
        return b""
    message = bytes(buffer[:end])
    del buffer[:end]
    return message


class Visit(asyncio.Protocol):
    """One connection to an origin."""

    def __init__(self, origin: "Origin") -> None:
        self.origin = origin
        self.buffer = bytearray()
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.origin.visits.append(self)
        self.origin.on_visit(self)

    def data_received(self, data: bytes) -> None:
        self.origin.received += data
        self.buffer += data
        while request := take_message(self.buffer):
            self.origin.requests.append(request)
            self.origin.on_request(self, request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def send(self, data: bytes) -> None:
        if not self.is_lost:
            self.transport.write(data)


def ignore(_visit: Visit) -> None:
    """Accept, and leave it at that."""


def say(answer: bytes) -> Callable[[Visit, bytes], None]:
    """Answer every request with *answer*."""
    return lambda visit, _request: visit.send(answer)


@dataclass(slots=True, kw_only=True)
class Origin:
    """A server that does as told and keeps all bytes it was sent."""

    on_request: Callable[[Visit, bytes], None]
    on_visit: Callable[[Visit], None] = ignore
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    visits: list[Visit] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Origin"]:
        """Listen on a free port of 127.0.0.1; every connection is cut at the end."""
        server = await asyncio.get_running_loop().create_server(lambda: Visit(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for visit in self.visits:
                if not visit.is_lost:
                    visit.transport.abort()
            await server.wait_closed()


@dataclass(slots=True, kw_only=True)
class Stage:
    """One worker's data path, listening on ``port``."""

    proxy: Proxy
    mirror: Mirror
    outbox: Outbox
    metrics: WorkerMetrics
    port: int

    def target(self, role: str, service: str) -> Target:
        return self.mirror.targets[role, service]

    async def quiet(self) -> None:
        """Wait until no call is under way."""
        await until(
            lambda: all(not target.in_flight for target in self.mirror.targets.values()), "a quiet stage"
        )

    def sweep_late(self, seconds: float) -> None:
        """Sweep as if *seconds* had passed."""
        self.mirror.sweep(time.perf_counter() + seconds)


async def until(is_there: Callable[[], object], what: str) -> None:
    """Wait for *is_there* within the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not is_there():
        assert time.monotonic() < end, f"never came: {what}"
        await asyncio.sleep(0.002)


def document(primary: Origin, shadow_port: int, **settings: Any) -> dict[str, Any]:
    """A configuration: everything is answered by *primary* and mirrored to the port of the shadow."""
    route = {"path": "/", "flag": "shop", "mirror_methods": ["GET", "HEAD", "OPTIONS", "POST"]}
    return {
        "listen": "127.0.0.1:0",
        "store": "memory://",
        "services": {
            "v1": {"url": f"http://127.0.0.1:{primary.port}", **PATIENT},
            "v2": {"url": f"http://127.0.0.1:{shadow_port}", **PATIENT, **settings.pop("shadow_service", {})},
        },
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"plain": {"serve": "v1"}, "dark": {"serve": "v1", "mirror": ["v2"]}},
                "defaultVariant": settings.pop("variant", "dark"),
            }
        },
        "routes": [route],
        **settings,
    }


@asynccontextmanager
async def staged(
    configuration: Mapping[str, Any], *, chance: Callable[[], float] = random.random
) -> AsyncIterator[Stage]:
    """Serve *configuration* in this loop, swept as a worker sweeps."""
    settings = parse_settings(configuration, base=Path(), environ={})
    loop = asyncio.get_running_loop()
    metrics, outbox, clock, outgoing = WorkerMetrics(), Outbox(), Clock(time.monotonic()), Outgoing(loop)
    shadow = settings.shadow
    mirror = Mirror(
        recorder=outbox,
        metrics=metrics,
        now=time.perf_counter,
        wall=time.time,
        chance=chance,
        limits=Limits(
            control_share=shadow.control,
            timeout_seconds=shadow.timeout,
            budget_bytes=shadow.budget_bytes,
            cap_bytes=shadow.body_cap_bytes,
            confirm=shadow.confirm,
        ),
    )
    outbox.drain = mirror.drain
    async with asyncio.TaskGroup() as tasks:
        make_pool = UpstreamMaker(
            loop=loop,
            spawn=tasks.create_task,
            clock=lambda: clock.now,
            outgoing=outgoing,
            chance=chance,
        )
        engine = Engine(settings, mirror=mirror, metrics=metrics, make_pool=make_pool)
        engine.swap(settings.rules, 1)
        proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=mirror,
            metrics=metrics,
            limits=settings.limits,
            clock=clock,
            outgoing=outgoing,
            via_id=b"understudy-test",
        )
        server = await loop.create_server(lambda: proxy_connection(proxy), "127.0.0.1", 0)
        sweeper = tasks.create_task(sweep(proxy, mirror))
        try:
            yield Stage(
                proxy=proxy,
                mirror=mirror,
                outbox=outbox,
                metrics=metrics,
                port=server.sockets[0].getsockname()[1],
            )
        finally:
            server.close()
            sweeper.cancel()
            for connection in list(proxy.connections):
                connection.close()
            mirror.cancel_all()
            for pool in engine.pools:
                pool.close()


def proxy_connection(proxy: Proxy) -> asyncio.Protocol:
    from understudy.proxy.connection import ClientConnection

    return ClientConnection(proxy)


async def sweep(proxy: Proxy, mirror: Mirror) -> None:
    while True:
        await asyncio.sleep(0.02)
        proxy.sweep(time.monotonic())
        mirror.sweep(time.perf_counter())


async def converse(port: int, *requests: bytes) -> list[bytes]:
    """Send *requests* one after another on one connection; the answers as they came, byte for byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for request in requests:
                writer.write(request)
                answers.append(await read_answer(reader, is_head=request.startswith(b"HEAD ")))
    finally:
        writer.close()
        await writer.wait_closed()
    return answers


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool) -> bytes:
    """One whole answer with a declared length or in chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    if is_head or head.split(b" ", 2)[1] in (b"204", b"304"):
        return head
    if b"transfer-encoding: chunked" not in head.lower():
        return head + await reader.readexactly(body_bytes(head))
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += await reader.readuntil(b"\r\n")
    return head + body


def get(path: str = "/orders/1", *fields: str) -> bytes:
    """A GET request."""
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"GET {path} HTTP/1.1\r\nHost: shop\r\n{lines}\r\n".encode()


def post(body: bytes, path: str = "/orders", *fields: str) -> bytes:
    """A POST request of declared length."""
    lines = "".join(f"{line}\r\n" for line in fields)
    head = f"POST {path} HTTP/1.1\r\nHost: shop\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
