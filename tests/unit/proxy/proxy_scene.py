"""One client connection and one upstream connection in process, on transports that record."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from understudy.config import Ejection, parse_settings
from understudy.engine import Engine
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.proxy import Clock, Proxy
from understudy.proxy.connection import ClientConnection
from understudy.shadow import Limits, Mirror
from understudy.upstream import Health, Origin, Outgoing, Pool, Room, UpstreamConnection

SETTINGS = parse_settings(
    {
        "store": "memory://",
        "services": {"a": {"url": "http://127.0.0.1:1"}},
        "flags": {},
        "routes": [{"path": "/", "serve": "a"}],
        "limits": {"target_bytes": 300, "header_bytes": 1024, "header_fields": 20},
    },
    base=Path(),
    environ={},
)


@dataclass
class Transport:
    """Records what is written and whether it was closed or aborted."""

    written: bytearray = field(default_factory=bytearray)
    ending: str = ""
    is_reading: bool = True

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is buffered here."""

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 1) if name == "peername" else self

    def setsockopt(self, *_: object) -> None:
        """The reset is told by ``ending``."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        assert self.ending != "eof", "written after the end"
        if not self.ending:
            self.written += data

    def write_eof(self) -> None:
        self.ending = self.ending or "eof"

    def close(self) -> None:
        self.ending = self.ending or "eof"

    def abort(self) -> None:
        self.ending = self.ending or "abort"

    def is_closing(self) -> bool:
        return bool(self.ending)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Loop:
    """Runs what was called soon when the test says so."""

    def __init__(self) -> None:
        self.soon: list[object] = []

    def call_soon(self, call: object) -> None:
        self.soon.append(call)

    def run(self) -> None:
        while self.soon:
            call = self.soon.pop(0)
            assert callable(call)
            call()


class Recorder:
    """Takes no pairs: nothing is mirrored here."""

    def offer(self, pair: Pair) -> bool:
        raise AssertionError(pair)


class Scene:
    """One client connection and one upstream connection that is always free."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.loop = Loop()
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        outgoing = Outgoing(loop)
        metrics = WorkerMetrics()
        mirror = Mirror(
            recorder=Recorder(),
            metrics=metrics,
            now=lambda: 0.0,
            wall=lambda: 0.0,
            chance=lambda: 0.0,
            limits=Limits(),
        )
        self.service = Transport()
        self.pool = Pool(
            Origin("http://127.0.0.1:1"),
            room=Room(limit=1024, queue=1024),
            health=Health("a", eject=Ejection(), clock=lambda: 0.0, on_change=lambda event: None),
            loop=loop,
            spawn=lambda work: work.close(),
            clock=lambda: 0.0,
            write=outgoing.add,
        )
        engine = Engine(SETTINGS, mirror=mirror, metrics=metrics, make_pool=lambda *_: self.pool)
        engine.swap(SETTINGS.rules, 1)
        proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=mirror,
            metrics=metrics,
            limits=SETTINGS.limits,
            clock=Clock(0.0),
            outgoing=outgoing,
            via_id=b"v",
        )
        self.upstream = UpstreamConnection(self.pool, outgoing.add)
        self.upstream.connection_made(cast(asyncio.Transport, self.service))
        self.pool._open.add(self.upstream)
        self.pool._idle.append(self.upstream)
        self.transport = Transport()
        self.client = ClientConnection(proxy)
        self.client.connection_made(cast(asyncio.Transport, self.transport))

    def turn(self) -> None:
        """One turn of the loop; every request that is whole at the service is answered."""
        self.loop.run()
        while self.answers and self.upstream.caller is not None and self.is_asked_whole():
            self.upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.loop.run()

    def is_asked_whole(self) -> bool:
        exchange = self.client._current
        return exchange is not None and exchange.is_complete

    def feed(self, data: bytes) -> None:
        """One read; what comes while reading is held waits in the kernel."""
        waiting = [data]
        for _ in range(300):
            if self.transport.ending == "abort" or not waiting:
                break
            if self.transport.is_reading:
                self.client.data_received(waiting.pop())
            self.turn()
        assert not waiting or self.transport.ending

    @property
    def outcome(self) -> tuple[bytes, str, bytes, str]:
        """All that both sides saw."""
        return (
            bytes(self.transport.written),
            self.transport.ending,
            bytes(self.service.written),
            self.service.ending,
        )
