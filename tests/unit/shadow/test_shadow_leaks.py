"""Ten thousand mirrored requests through the real proxy leave no object and no cycle behind."""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from shadow_examples import OK_JSON, Recorded, StagedPool, Wire, assert_conserved, wire_of
from shadow_stage import Origin, document, get, say

from understudy.config import Service, parse_settings
from understudy.engine import Engine
from understudy.metrics import WorkerMetrics
from understudy.proxy import Clock, Proxy
from understudy.proxy.connection import ClientConnection
from understudy.shadow import Limits, Mirror
from understudy.upstream import Outgoing, Pool, UpstreamConnection

POST = b"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello"
OTHER = OK_JSON.replace(b"1}", b"2}")


class TurnLoop:
    """Runs what was put off when the test says so."""

    def __init__(self) -> None:
        self.later: list[object] = []

    def call_soon(self, work: object, *_: object) -> None:
        self.later.append(work)

    def turn(self) -> None:
        later, self.later = self.later, []
        for work in later:
            assert callable(work)
            work()


class Scene:
    """One client connection, a primary, a shadow and a control, all in memory."""

    def __init__(self) -> None:
        origin = Origin(on_request=say(b""), port=9)
        settings = parse_settings(document(origin, 9), base=Path(), environ={})
        self.loop = TurnLoop()
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.pools: dict[str, StagedPool] = {}
        self.recorded = Recorded()
        self.chance = 1.0
        metrics = WorkerMetrics()
        self.mirror = Mirror(
            recorder=self.recorded,
            metrics=metrics,
            now=lambda: 0.0,
            wall=lambda: 0.0,
            chance=lambda: self.chance,
            limits=Limits(),
        )
        engine = Engine(settings, mirror=self.mirror, metrics=metrics, make_pool=self._pool)
        engine.swap(settings.rules, 1)
        self.outgoing = Outgoing(loop)
        proxy = Proxy(
            loop=loop,
            engine=engine,
            mirror=self.mirror,
            metrics=metrics,
            limits=settings.limits,
            clock=Clock(0.0),
            outgoing=self.outgoing,
            via_id=b"understudy-test",
        )
        self.client = ClientConnection(proxy)
        self.wire = Wire()
        self.client.connection_made(self.wire)

    def _pool(
        self, _name: str, _service: Service, role: str, _limit: int, _on_change: Callable[[str], None]
    ) -> Pool:
        return cast(Pool, self.pools.setdefault(role, StagedPool()))

    def borrowed(self, role: str) -> list[UpstreamConnection]:
        made = self.pools[role].made if role in self.pools else []
        return [connection for connection in made if connection.caller is not None]

    def exchange(self, request: bytes, number: int) -> None:
        """One request, answered by all who were asked, in an order and with a difference that vary."""
        self.chance = 0.0 if number % 3 == 0 else 1.0
        self.wire.written.clear()
        self.client.data_received(request)
        self.loop.turn()
        self.outgoing.flush()  # the pools here write past it
        roles = ["primary", "mirror", "control"]
        for role in roles if number % 2 else reversed(roles):
            for connection in self.borrowed(role):
                wire_of(connection).written.clear()
                if role == "mirror" and number % 11 == 0:
                    connection.connection_lost(None)
                    self.pools[role].made.remove(connection)
                else:
                    connection.data_received(OTHER if role == "mirror" and number % 5 == 0 else OK_JSON)
        self.loop.turn()
        assert self.wire.written.endswith(b'{"a":1}')
        self.recorded.pairs.clear()


@pytest.mark.parametrize("request_bytes", [get(), POST], ids=["GET", "POST"])
def test_ten_thousand_requests_leave_nothing(request_bytes: bytes) -> None:
    """Equal, unequal and broken answers, with control and without, in either order."""
    scene = Scene()
    for number in range(200):
        scene.exchange(request_bytes, number)
    scene.mirror.drain()
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for number in range(10_000):
            scene.exchange(request_bytes, number)
        scene.mirror.cancel_all()  # one is tried again, on a new connection
        scene.mirror.drain()
        assert len(gc.get_objects()) - before < 200
        assert gc.collect() < 200
    finally:
        gc.enable()
    assert scene.mirror.held == 0
    for target in scene.mirror.targets.values():
        assert_conserved(target)
