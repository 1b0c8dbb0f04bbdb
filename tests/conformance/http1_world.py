"""The request path in memory: clients, the real proxy, mirror and pools, services; time and chance are told.

Transports only record; connecting waits until the test lets it. Faster than sockets by a hundred, so
that hundreds of thousands of dialogues can be told.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, cast

from understudy.config import parse_settings
from understudy.engine import Engine
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.proxy import Clock, Proxy
from understudy.proxy.connection import ClientConnection
from understudy.shadow import Limits, Mirror
from understudy.upstream import Outgoing, UpstreamMaker

PATIENT: Final = {"connect_timeout": "600s", "eject": {"failures": 0}}

SETTINGS: Final = parse_settings(
    {
        "store": "memory://",
        "services": {
            "a": {"url": "http://127.0.0.1:1", "connections": 4, "queue": 8, **PATIENT},
            "b": {"url": "http://127.0.0.1:2", **PATIENT},
        },
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"dark": {"serve": "a", "mirror": ["b"]}},
                "defaultVariant": "dark",
            }
        },
        "routes": [
            {"path": "/", "flag": "shop", "mirror_methods": ["GET", "HEAD", "OPTIONS", "POST", "PUT"]}
        ],
    },
    base=Path(),
    environ={},
)
PRIMARY, SHADOW = 1, 2
"""The ports of the services."""


class Wire:
    """A transport that records what is written and how it ended: ``eof``, ``abort`` or not yet."""

    def __init__(self, loop: "Loop", protocol: asyncio.Protocol, peer: tuple[str, int]) -> None:
        self.written = bytearray()
        self.ending = ""
        self.is_reading = True
        self.is_lost = False
        self.protocol = protocol
        self.peer = peer
        self._loop = loop

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is buffered here."""

    def get_extra_info(self, name: str) -> object:
        return self.peer if name == "peername" else self

    def setsockopt(self, *_: object) -> None:
        """The reset is told by ``ending``."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        if self.ending == "eof":
            raise RuntimeError("written after the end")
        if not self.ending:
            self.written += data

    def write_eof(self) -> None:
        self.ending = self.ending or "eof"

    def close(self) -> None:
        self.ending = self.ending or "eof"
        self._loop.call_soon(self.lose, None)

    def abort(self) -> None:
        self.ending = self.ending or "abort"
        self._loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        """Tell the protocol, once, that the connection is gone."""
        if not self.is_lost:
            self.is_lost = True
            self.ending = self.ending or "lost"
            self.protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return bool(self.ending)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Loop:
    """What the path asks of an event loop: calls put off, connections that come when they are let."""

    def __init__(self) -> None:
        self.soon: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self.asked: list[tuple[asyncio.Future[None], int]] = []
        self.services: list[Wire] = []
        self.faults: list[object] = []

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        self.soon.append((call, arguments))

    def call_exception_handler(self, context: object) -> None:
        self.faults.append(context)

    async def create_connection(
        self, make: Callable[[], asyncio.Protocol], _host: str, port: int
    ) -> tuple[Wire, asyncio.Protocol]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((future, port))
        await future
        protocol = make()
        wire = Wire(self, protocol, ("127.0.0.1", port))
        protocol.connection_made(cast(asyncio.BaseTransport, wire))
        self.services.append(wire)
        return wire, protocol

    def run(self) -> None:
        """One turn: what was put off before it, and what that puts off in turn."""
        while self.soon:
            soon, self.soon = self.soon, []
            for call, arguments in soon:
                call(*arguments)


class _Recorder:
    """Takes pairs and keeps none."""

    def offer(self, pair: Pair) -> bool:
        return True


class World:
    """One worker's data path; ``clients`` and ``loop.services`` are the wires of both sides."""

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], object], chance: random.Random) -> None:
        self.loop = Loop()
        self._is_connecting = False
        self.clients: list[Wire] = []
        self.logged: list[BaseException] = []
        self.metrics = WorkerMetrics()
        self._clock = Clock(1000.0)
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.outgoing = outgoing = Outgoing(loop)

        def begin(work: Coroutine[Any, Any, None]) -> object:
            self._is_connecting = True
            return spawn(work)

        make_pool = UpstreamMaker(
            loop=loop,
            spawn=begin,
            clock=lambda: self._clock.now,
            outgoing=outgoing,
            chance=chance.random,
        )
        self.mirror = Mirror(
            recorder=_Recorder(),
            metrics=self.metrics,
            now=lambda: self._clock.now,
            wall=lambda: self._clock.now,
            chance=chance.random,
            limits=Limits(control_share=0.3),
        )
        engine = Engine(SETTINGS, mirror=self.mirror, metrics=self.metrics, make_pool=make_pool)
        engine.swap(SETTINGS.rules, 1)
        self.proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=self.mirror,
            metrics=self.metrics,
            limits=SETTINGS.limits,
            clock=self._clock,
            outgoing=outgoing,
            via_id=b"understudy-test",
        )
        setattr(self.proxy, "log_fault", self.logged.append)  # noqa: B010  mypy knows it as a method

    def client(self, number: int) -> Wire:
        """A new client, with an address of its own."""
        protocol = ClientConnection(self.proxy)
        wire = Wire(self.loop, protocol, (f"10.0.0.{number + 1}", 1))
        protocol.connection_made(cast(asyncio.BaseTransport, wire))
        self.clients.append(wire)
        return wire

    async def turn(self) -> None:
        """Let everything that is under way arrive."""
        self.loop.run()
        if self._is_connecting:
            self._is_connecting = False
            await asyncio.sleep(0)
            self.loop.run()

    async def let_connect(self, *, is_refused: bool) -> None:
        """The first connection that was asked for is made, or refused."""
        future, _ = self.loop.asked.pop(0)
        if not future.done():
            if is_refused:
                future.set_exception(ConnectionRefusedError())
            else:
                future.set_result(None)
        for _ in range(3):
            self._is_connecting = True
            await self.turn()

    def advance(self, seconds: float) -> None:
        """Time passes, and everything late is ended."""
        self.proxy.sweep(self._clock.now + seconds)
        self.mirror.sweep(self._clock.now)

    def forget(self) -> None:
        """Keep no record of wires that are gone."""
        self.clients.clear()
        self.loop.services = [wire for wire in self.loop.services if not wire.ending]
