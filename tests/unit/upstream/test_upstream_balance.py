"""Whom a balancer asks, step by step, with connections that open when the test says so."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest
from test_upstream_pool import FakeTransport, Waiter, lose

from understudy.config import Ejection
from understudy.upstream import Balancer, Health, Origin, Pool, Refusal, UpstreamConnection
from understudy.upstream.balance import BalancedRoom


class Loop:
    """Opens connections, by host, when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, asyncio.Future[None]]] = []

    async def create_connection(self, make: Any, host: str, _port: int) -> tuple[None, UpstreamConnection]:
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((host, outcome))
        await outcome
        connection: UpstreamConnection = make()
        connection.connection_made(cast(asyncio.Transport, FakeTransport()))
        return None, connection


class Scene:
    """A balancer over the origins a, b and c."""

    def __init__(
        self, hosts: str = "abc", *, limit: int = 1024, queue: int = 1024, by_connections: bool = False
    ) -> None:
        self.loop = Loop()
        self.tasks: list[asyncio.Task[None]] = []
        self.room = BalancedRoom(limit=limit, queue=queue, by_connections=by_connections)
        self.pools = {host: self._pool(host) for host in hosts}
        self.balancer = Balancer(self.room)

    def _pool(self, host: str) -> Pool:
        return Pool(
            Origin(f"http://{host}:80"),
            room=self.room,
            health=Health(host, eject=Ejection(), clock=lambda: 0.0, on_change=lambda _: self.room.refresh()),
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            spawn=self._spawn,
            clock=lambda: 0.0,
            write=lambda _connection, _data: None,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def turn(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    async def opening(self) -> str:
        """The hosts that connections are being opened to, in order."""
        await self.turn()
        return "".join(host for host, _ in self.loop.asked)

    async def end(self, error: Exception | None = None) -> None:
        """The oldest attempt to connect ends."""
        await self.turn()
        _, outcome = self.loop.asked.pop(0)
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)
        await self.turn()

    async def lent(self) -> UpstreamConnection:
        """A connection opened where it is the turn."""
        waiter = Waiter()
        assert self.balancer.acquire(waiter) is None
        await self.end()
        assert waiter.connection is not None
        return waiter.connection

    def host_of(self, connection: UpstreamConnection | None) -> str:
        (host,) = [name for name, pool in self.pools.items() if connection in pool._open]
        return host

    def eject(self, host: str) -> None:
        for _ in range(5):
            self.pools[host].health.failed("planted")


async def test_each_in_turn_and_the_kept_connection_of_whose_turn_it_is() -> None:
    """No connection is opened where one is kept."""
    s = Scene()
    lent = [await s.lent() for _ in range(3)]
    assert [s.host_of(connection) for connection in lent] == ["a", "b", "c"]
    for connection in lent:
        s.pools[s.host_of(connection)].release(connection)
    again = [s.balancer.acquire(Waiter()) for _ in range(3)]
    assert again == lent
    assert (
        repr(s.balancer) == "<Balancer http://a:80 http://b:80 http://c:80 open=3 idle=0 opening=0 waiting=0>"
    )


async def test_the_fewest_requests_win_and_equals_take_turns() -> None:
    """Connections being opened count, kept ones do not."""
    s = Scene(by_connections=True)
    for _ in range(3):
        s.balancer.acquire(Waiter())
    assert sorted(await s.opening()) == ["a", "b", "c"]
    for _ in range(3):
        await s.end()
    (of_b,) = s.pools["b"]._open
    s.pools["b"].release(of_b)
    assert s.balancer.acquire(Waiter()) is of_b
    s.pools["b"].release(of_b)
    assert s.balancer.acquire(Waiter()) is of_b
    for _ in range(3):
        s.balancer.acquire(Waiter())
    assert sorted(await s.opening()) == ["a", "b", "c"]


async def test_who_is_out_is_passed_over_until_all_are() -> None:
    """Then everybody is asked again: panic."""
    s = Scene()
    s.eject("b")
    for _ in range(4):
        s.balancer.acquire(Waiter())
    assert sorted(await s.opening()) == ["a", "a", "c", "c"]
    outages = [s.balancer.is_out]
    s.eject("a")
    s.eject("c")
    assert [*outages, s.balancer.is_out] == [False, True]
    s.loop.asked.clear()
    for _ in range(3):
        s.balancer.acquire(Waiter())
    assert sorted(await s.opening()) == ["a", "b", "c"]


async def test_a_refused_attempt_is_made_elsewhere_each_origin_once() -> None:
    """The waiter is told only when all have refused; the last reason is what it hears."""
    s = Scene()
    waiter = Waiter()
    s.balancer.acquire(waiter)
    tried = ""
    for _ in range(2):
        tried += await s.opening()
        await s.end(ConnectionRefusedError())
        assert waiter.reason == ""
    tried += await s.opening()
    await s.end(TimeoutError())
    assert sorted(tried) == ["a", "b", "c"]
    assert waiter.reason == "connect_timeout"
    assert repr(s.balancer).endswith("open=0 idle=0 opening=0 waiting=0>")
    assert [pool.health.failures for pool in s.pools.values()] == [1, 1, 1]


async def test_who_is_out_is_tried_last() -> None:
    """When all that are up have refused, an ejected one may be back already."""
    s = Scene()
    s.eject("a")
    waiter = Waiter()
    s.balancer.acquire(waiter)
    for _ in range(2):
        await s.end(ConnectionRefusedError())
    assert await s.opening() == "a"
    await s.end()
    assert s.host_of(waiter.connection) == "a"


async def test_a_retry_goes_to_who_has_not_just_failed() -> None:
    """Even when it is the turn of the one that did."""
    s = Scene("ab")
    s.pools["a"].health.failed("closed")
    for _ in range(3):
        s.balancer.acquire(Waiter(), fresh=True)
    assert await s.opening() == "bbb"


async def test_a_withdrawn_waiter_leaves_its_attempt_to_the_next() -> None:
    """As with one origin."""
    s = Scene("ab")
    gone, waiter = Waiter(), Waiter()
    s.balancer.acquire(gone)
    s.balancer.withdraw(gone)
    s.balancer.acquire(waiter)
    assert await s.opening() == "a"
    await s.end()
    assert (gone.connection, s.host_of(waiter.connection)) == (None, "a")


async def test_who_waits_has_no_attempt_made_for_who_left() -> None:
    """A refusal that nobody waits for is followed by nothing."""
    s = Scene("ab")
    waiter = Waiter()
    s.balancer.acquire(waiter)
    await s.turn()
    s.balancer.withdraw(waiter)
    await s.end(ConnectionRefusedError())
    assert await s.opening() == ""
    assert waiter.reason == ""


async def test_limit_and_queue_are_those_of_the_service() -> None:
    """Whichever connection is free first serves who waits; over the queue there is a refusal."""
    s = Scene("ab", limit=2, queue=1)
    one, two = await s.lent(), await s.lent()
    waiter = Waiter()
    assert s.balancer.acquire(waiter) is None
    with pytest.raises(Refusal, match="pool_full"):
        s.balancer.acquire(Waiter())
    s.pools[s.host_of(two)].release(two)
    assert waiter.connection is two
    s.pools[s.host_of(one)].release(one)
    assert s.balancer.acquire(Waiter()) is one


async def test_at_the_limit_a_fresh_connection_displaces_a_kept_one_of_any_origin() -> None:
    """The room it leaves is used where the retry goes."""
    s = Scene("ab", limit=1)
    kept = await s.lent()
    kept.served = 1
    s.pools["a"].release(kept)
    s.pools["a"].health.failed("closed")
    waiter = Waiter()
    assert s.balancer.acquire(waiter, fresh=True) is None
    assert cast(FakeTransport, kept.transport).is_aborted
    lose(kept)
    assert len(await s.opening()) == 1
    await s.end()
    assert waiter.connection not in (None, kept)


async def test_it_retires_and_closes_as_one() -> None:
    """Kept connections of every origin close; who waits is refused once."""
    s = Scene("ab", limit=2)
    one, two = await s.lent(), await s.lent()
    s.pools["a"].release(one)
    s.balancer.retire()
    assert cast(FakeTransport, one.transport).is_aborted
    lose(one)
    assert not s.balancer.is_empty
    waiters = [Waiter(), Waiter()]
    for waiter in waiters:
        s.balancer.acquire(waiter)
    s.balancer.close()
    assert [waiter.reason for waiter in waiters] == ["pool_closed", "pool_closed"]
    with pytest.raises(Refusal, match="pool_closed"):
        s.balancer.acquire(Waiter())
    lose(two)
    await s.end()
    assert not s.loop.asked
