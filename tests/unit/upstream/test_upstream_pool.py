"""The pool's bookkeeping, step by step; its repr is what diagnostics show, so it is asserted."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from understudy.config import Ejection
from understudy.upstream import Health, Origin, Pool, Refusal, Room, UpstreamConnection


class FakeTransport:
    """Remembers how it ended."""

    def __init__(self) -> None:
        self.is_aborted = False

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing is written here."""

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Waiter:
    """Remembers what it was told."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.connection: UpstreamConnection | None = None
        self.reason = ""

    def __repr__(self) -> str:
        return f"<Waiter {self.name}>"

    def on_connection(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_refused(self, reason: str) -> None:
        self.reason = reason


class Loop:
    """Opens connections when the test says so."""

    def __init__(self) -> None:
        self.faults: list[dict[str, Any]] = []
        self.asked: list[asyncio.Future[UpstreamConnection]] = []

    async def create_connection(self, make: Any, host: str, port: int) -> tuple[None, UpstreamConnection]:
        assert (host, port) == ("origin", 80)
        connection: UpstreamConnection = make()
        outcome: asyncio.Future[UpstreamConnection] = asyncio.get_running_loop().create_future()
        self.asked.append(outcome)
        await outcome
        connection.connection_made(cast(asyncio.Transport, FakeTransport()))
        if outcome.result() is not None:
            connection.connection_lost(None)
        return None, connection

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(context)


class Scene:
    """A pool, and the hands that open its connections."""

    def __init__(self, *, limit: int = 1024, queue: int = 1024, **settings: Any) -> None:
        self.loop = Loop()
        self.now = 100.0
        self.tasks: list[asyncio.Task[None]] = []
        self.pool = Pool(
            Origin("http://origin:80"),
            room=Room(limit=limit, queue=queue),
            health=Health("origin", eject=Ejection(), clock=lambda: self.now, on_change=lambda event: None),
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            spawn=self._spawn,
            clock=lambda: self.now,
            write=lambda _connection, _data: None,
            **settings,
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def turn(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    async def open(self, *, error: Exception | None = None, is_lost: bool = False) -> None:
        """The oldest attempt to connect ends."""
        await self.turn()
        outcome = self.loop.asked.pop(0)
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(cast(UpstreamConnection, True if is_lost else None))
        await self.turn()

    async def lent(self, name: str = "") -> tuple[Waiter, UpstreamConnection]:
        """A waiter that got a new connection."""
        waiter = Waiter(name)
        assert self.pool.acquire(waiter) is None
        await self.open()
        assert waiter.connection is not None
        return waiter, waiter.connection

    def shows(self, text: str) -> bool:
        """Whether the pool's repr says *text*."""
        assert repr(self.pool) == f"<Pool http://origin:80 {text}>"
        return True


def lose(connection: UpstreamConnection) -> None:
    """What the loop does some time after an abort."""
    connection.connection_lost(None)


async def test_a_new_pool_is_empty() -> None:
    """Nothing is opened before it is asked for."""
    assert Scene().shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_connection_is_opened_lent_and_kept() -> None:
    """The first caller waits for it, the next gets it at once."""
    s = Scene()
    waiter = Waiter()
    assert s.pool.acquire(waiter) is None
    assert s.shows("open=0 idle=0 opening=1 waiting=1")
    await s.open()
    assert s.shows("open=1 idle=0 opening=0 waiting=0")
    assert waiter.connection is not None
    s.pool.release(waiter.connection)
    assert s.shows("open=1 idle=1 opening=0 waiting=0")
    assert s.pool.acquire(Waiter()) is waiter.connection
    assert s.shows("open=1 idle=0 opening=0 waiting=0")


async def test_the_last_used_is_lent_first() -> None:
    """So that those not needed grow old and close."""
    s = Scene()
    _, one = await s.lent()
    _, two = await s.lent()
    s.pool.release(one)
    s.pool.release(two)
    assert s.pool.acquire(Waiter()) is two
    assert s.pool.acquire(Waiter()) is one


async def test_a_withdrawn_waiter_is_told_nothing() -> None:
    """Its connection serves the next; one that nobody waits for is kept."""
    s = Scene()
    gone = Waiter()
    s.pool.acquire(gone)
    s.pool.withdraw(gone)
    s.pool.withdraw(gone)
    assert s.shows("open=0 idle=0 opening=1 waiting=0")
    next_one = Waiter()
    s.pool.acquire(next_one)
    assert s.shows("open=0 idle=0 opening=1 waiting=1")
    await s.open()
    assert (gone.connection, gone.reason) == (None, "")
    assert next_one.connection is not None
    other = Waiter()
    s.pool.acquire(other)
    s.pool.withdraw(other)
    await s.open()
    assert s.shows("open=2 idle=1 opening=0 waiting=0")


async def test_over_the_limit_callers_wait_and_over_the_queue_they_are_refused() -> None:
    """First come, first served; the refused one is told nothing more."""
    s = Scene(limit=1, queue=2)
    _, connection = await s.lent()
    waiters = [Waiter(str(n)) for n in range(3)]
    s.pool.acquire(waiters[0])
    s.pool.acquire(waiters[1])
    with pytest.raises(Refusal, match="pool_full"):
        s.pool.acquire(waiters[2])
    assert s.shows("open=1 idle=0 opening=0 waiting=2")
    for waiter in waiters[:2]:
        s.pool.release(connection)
        assert waiter.connection is connection
    s.pool.release(connection)
    assert s.shows("open=1 idle=1 opening=0 waiting=0")
    assert (waiters[2].connection, waiters[2].reason) == (None, "")


async def test_the_queue_counts_only_those_without_a_connection_on_its_way() -> None:
    """A burst at the start fills the limit and the queue, both."""
    s = Scene(limit=2, queue=1)
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        s.pool.acquire(waiter)
    assert s.shows("open=0 idle=0 opening=2 waiting=3")
    with pytest.raises(Refusal, match="pool_full"):
        s.pool.acquire(Waiter())
    await s.open()
    await s.open()
    assert [waiter.connection is not None for waiter in waiters] == [True, True, False]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(), "connect_refused"),
        (OSError("no route to host"), "connect_refused"),
        (TimeoutError(), "connect_timeout"),
    ],
)
async def test_who_waits_is_told_why_none_comes(error: Exception, reason: str) -> None:
    """The oldest waiter of as many as attempts that failed."""
    s = Scene()
    first, second = Waiter(), Waiter()
    s.pool.acquire(first)
    s.pool.acquire(second)
    await s.open(error=error)
    assert (first.reason, second.reason) == (reason, "")
    assert s.shows("open=0 idle=0 opening=1 waiting=1")
    await s.open()
    assert second.connection is not None


async def test_a_fault_while_connecting_ends_one_attempt() -> None:
    """It is reported and refused, and no task of the worker dies of it."""
    s = Scene()
    waiter = Waiter()
    s.pool.acquire(waiter)
    await s.open(error=UnicodeError("label too long"))
    assert waiter.reason == "connect_refused"
    assert len(s.loop.faults) == 1
    assert all(task.exception() is None for task in s.tasks)


async def test_a_connection_lost_at_once_is_lent_to_nobody() -> None:
    """Neither counted as open nor given out."""
    s = Scene()
    waiter = Waiter()
    s.pool.acquire(waiter)
    await s.open(is_lost=True)
    assert (waiter.connection, waiter.reason) == (None, "closed")
    assert s.shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_waiter_that_breaks_takes_nobody_with_it() -> None:
    """Its connection is given up, the fault reported."""

    class Broken(Waiter):
        def on_connection(self, connection: UpstreamConnection) -> None:
            self.connection = connection
            raise RuntimeError("planted")

        def on_refused(self, reason: str) -> None:
            raise RuntimeError(reason)

    s = Scene()
    broken = Broken()
    s.pool.acquire(broken)
    await s.open()
    assert broken.connection is not None
    assert cast(FakeTransport, broken.connection.transport).is_aborted
    s.pool.acquire(Broken())
    await s.open(error=ConnectionRefusedError())
    assert [str(fault["exception"]) for fault in s.loop.faults] == ["planted", "connect_refused"]
    assert all(task.exception() is None for task in s.tasks)


async def test_lost_connections_are_replaced_for_those_who_wait() -> None:
    """As many as are lost, while somebody waits for one."""
    s = Scene(limit=2)
    lent = [(await s.lent())[1] for _ in range(2)]
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        s.pool.acquire(waiter)
    assert s.shows("open=2 idle=0 opening=0 waiting=3")
    lose(lent[0])
    lose(lent[1])
    assert s.shows("open=0 idle=0 opening=2 waiting=3")


async def test_nobody_is_left_waiting_when_connecting_fails() -> None:
    """A failed attempt is followed by one for the next who waits."""
    s = Scene(limit=1)
    _, connection = await s.lent()
    waiters = [Waiter() for _ in range(3)]
    for waiter in waiters:
        s.pool.acquire(waiter)
    lose(connection)
    for waiter in waiters:
        assert s.shows(f"open=0 idle=0 opening=1 waiting={3 - waiters.index(waiter)}")
        await s.open(error=ConnectionRefusedError())
        assert waiter.reason == "connect_refused"
    assert s.shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_lost_idle_connection_is_forgotten() -> None:
    """It is not lent and not counted."""
    s = Scene()
    _, connection = await s.lent()
    s.pool.release(connection)
    lose(connection)
    assert s.shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_connection_seen_closing_is_passed_over() -> None:
    """Between its end of file and its loss a kept connection is of no use."""
    s = Scene()
    _, good = await s.lent()
    _, ending = await s.lent()
    s.pool.release(good)
    s.pool.release(ending)
    ending.eof_received()
    assert s.pool.acquire(Waiter()) is good


async def test_a_fresh_connection_is_never_a_used_one() -> None:
    """Neither a kept one nor one that is released while the caller waits."""
    s = Scene()
    _, kept = await s.lent()
    _, busy = await s.lent()
    kept.served = busy.served = 1
    s.pool.release(kept)
    waiter = Waiter()
    assert s.pool.acquire(waiter, fresh=True) is None
    s.pool.release(busy)
    assert waiter.connection is None
    assert s.shows("open=2 idle=2 opening=1 waiting=1")
    await s.open()
    fresh = cast(UpstreamConnection, waiter.connection)
    assert fresh not in (kept, busy)


async def test_at_the_limit_a_kept_connection_makes_room_for_a_fresh_one() -> None:
    """The oldest kept one is closed; the fresh one is opened when it is gone."""
    s = Scene(limit=2)
    _, old = await s.lent()
    _, young = await s.lent()
    old.served = young.served = 1
    s.pool.release(old)
    s.pool.release(young)
    waiter = Waiter()
    assert s.pool.acquire(waiter, fresh=True) is None
    assert cast(FakeTransport, old.transport).is_aborted
    lose(old)
    assert s.shows("open=1 idle=1 opening=1 waiting=1")
    await s.open()
    assert waiter.connection not in (None, old, young)


async def test_at_the_limit_a_released_connection_makes_room_for_a_fresh_one() -> None:
    """When all who wait insist on a new one, a used one is given up instead of kept."""
    s = Scene(limit=1)
    _, busy = await s.lent()
    busy.served = 1
    waiter = Waiter()
    s.pool.acquire(waiter, fresh=True)
    s.pool.release(busy)
    assert cast(FakeTransport, busy.transport).is_aborted
    lose(busy)
    await s.open()
    assert waiter.connection not in (None, busy)


async def test_a_used_connection_goes_past_who_insists_on_a_fresh_one() -> None:
    """To the first who does not."""
    s = Scene(limit=1)
    _, busy = await s.lent()
    busy.served = 1
    picky, plain = Waiter(), Waiter()
    s.pool.acquire(picky, fresh=True)
    s.pool.acquire(plain)
    s.pool.release(busy)
    assert (picky.connection, plain.connection) == (None, busy)


async def test_idle_connections_close_after_their_time() -> None:
    """Counted from their release, at the sweep after it."""
    s = Scene(idle_seconds=4.0)
    _, one = await s.lent()
    _, two = await s.lent()
    s.pool.release(one)
    s.now += 3.0
    s.pool.release(two)
    s.pool.sweep(s.now + 1.0)
    assert s.shows("open=2 idle=2 opening=0 waiting=0")
    s.pool.sweep(s.now + 1.1)
    assert (cast(FakeTransport, one.transport).is_aborted, cast(FakeTransport, two.transport).is_aborted) == (
        True,
        False,
    )
    assert s.shows("open=2 idle=1 opening=0 waiting=0")
    lose(one)
    assert s.shows("open=1 idle=1 opening=0 waiting=0")


async def test_a_closed_pool_closes_all_and_refuses_all() -> None:
    """Those who wait, those who ask later, and what comes back or is opened later."""
    s = Scene(limit=2)
    _, idle = await s.lent()
    _, busy = await s.lent()
    s.pool.release(idle)
    s.pool.acquire(Waiter())
    waiter = Waiter()
    s.pool.acquire(waiter)
    s.pool.close()
    assert waiter.reason == "pool_closed"
    assert cast(FakeTransport, busy.transport).is_aborted
    with pytest.raises(Refusal, match="pool_closed"):
        s.pool.acquire(Waiter())
    s.pool.release(busy)
    lose(idle)
    lose(busy)
    assert s.shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_connection_opened_after_the_end_is_closed() -> None:
    """Nobody waits for it any more."""
    s = Scene()
    waiter = Waiter()
    s.pool.acquire(waiter)
    await s.turn()
    s.pool.close()
    await s.open()
    assert waiter.reason == "pool_closed"
    (connection,) = s.pool._open
    assert cast(FakeTransport, connection.transport).is_aborted
    lose(connection)
    assert s.shows("open=0 idle=0 opening=0 waiting=0")


async def test_a_retired_pool_keeps_nothing_and_serves_who_is_there() -> None:
    """Kept connections close, lent ones close when they come back, waiters get theirs."""
    s = Scene()
    _, idle = await s.lent()
    _, busy = await s.lent()
    s.pool.release(idle)
    waiter = Waiter()
    s.pool.acquire(waiter, fresh=True)
    s.pool.retire()
    assert cast(FakeTransport, idle.transport).is_aborted
    assert not cast(FakeTransport, busy.transport).is_aborted
    await s.open()
    assert waiter.connection is not None
    assert not s.pool.is_empty
    for connection in (idle, busy, waiter.connection):
        s.pool.release(connection)
        assert cast(FakeTransport, connection.transport).is_aborted
        lose(connection)
    assert s.pool.is_empty
