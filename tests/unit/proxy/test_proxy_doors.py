"""Doors on real sockets: who finds them shut waits, nobody is refused, nothing spins."""

import asyncio
import functools
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar, ParamSpec, cast

import uvloop
from store_servers import free_port

from understudy.proxy.doors import Doors

P = ParamSpec("P")
DEADLINE_SECONDS = 60.0


def on_uvloop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine as a worker would."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        uvloop.run(test(*arguments, **named))

    return run


class House:
    """A worker's side: keeps its guests."""

    def __init__(self, **bounds: int) -> None:
        self.guests: list[Guest] = []
        self.shut: Counter[str] = Counter()
        self.doors = Doors(loop=asyncio.get_running_loop(), shut=self.shut, **bounds)
        self.bound = socket.create_server(("127.0.0.1", free_port()))
        self.bound.setblocking(False)
        self.port = self.bound.getsockname()[1]
        self.callers: list[socket.socket] = []
        self.changed = asyncio.Event()

    is_unix = False
    options: ClassVar[dict[str, Any]] = {}

    def client(self) -> "Guest":
        """The next who comes in."""
        return Guest(self)

    async def call(self, number: int) -> None:
        """So many clients connect; the kernel takes them, whether or not the doors are open."""
        for _ in range(number):
            caller = socket.socket()
            caller.setblocking(False)
            self.callers.append(caller)
            await asyncio.get_running_loop().sock_connect(caller, ("127.0.0.1", self.port))

    async def until(self, guests: int) -> None:
        """Wait until exactly so many are in, and see that no more come."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.guests) != guests:
                self.changed.clear()
                await self.changed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(self.guests) == guests


class Guest(asyncio.Protocol):
    def __init__(self, house: House) -> None:
        self.house = house

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.house.guests.append(self)
        self.house.doors.arrived(len(self.house.guests), self.transport)
        self.house.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.house.guests.remove(self)
        self.house.doors.left(len(self.house.guests))
        self.house.changed.set()


@asynccontextmanager
async def house(**bounds: int) -> AsyncIterator[House]:
    """Open for business; everybody is thrown out at the end."""
    made = House(**bounds)
    await made.doors.open(made.bound, made)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.doors.run())
        try:
            yield made
        finally:
            running.cancel()
            for caller in made.callers:
                caller.close()
            await made.doors.close()
            for guest in list(made.guests):
                guest.transport.abort()
            for _ in range(20):
                await asyncio.sleep(0)


@on_uvloop
async def test_without_bounds_everybody_comes_in() -> None:
    """And nothing is counted."""
    async with house() as h:
        await h.call(50)
        await h.until(50)
        assert not h.doors.check(50, next_file=10**9)
        assert h.doors.is_open
        assert not h.shut


@on_uvloop
async def test_at_the_cap_who_comes_waits() -> None:
    """Not one more is let in, not one is refused; who leaves makes room for the next."""
    async with house(most_connections=10) as h:
        await h.call(15)
        await h.until(10)
        assert h.doors.is_shut
        assert h.shut == {"connections": 1}
        h.guests[0].transport.close()
        await h.until(10)
        assert h.shut == {"connections": 2}
        for guest in h.guests[:4]:
            guest.transport.close()
        await h.until(10)
        for caller in h.callers[:6]:
            caller.close()
        await h.until(9)
        assert h.doors.is_open


@on_uvloop
async def test_a_full_house_costs_no_time() -> None:
    """While others wait outside, the loop sleeps."""
    async with house(most_connections=5) as h:
        await h.call(20)
        await h.until(5)
        assert min([await used_asleep() for _ in range(5)]) < 0.03


async def used_asleep() -> float:
    """The processor time of a tenth of a second of sleep; whatever else runs here at times is in it, too."""
    before = time.process_time()
    await asyncio.sleep(0.1)
    return time.process_time() - before


@contextmanager
def every_gap_filled() -> Iterator[int]:
    """All descriptors below the highest are taken, whatever others have left: the number of the next one."""
    highest, filling = max(map(int, os.listdir("/proc/self/fd"))), [os.dup(0)]
    try:
        while filling[-1] < highest:
            filling.append(os.dup(0))
        yield filling[-1] + 1
    finally:
        for each in filling:
            os.close(each)


@on_uvloop
async def test_a_descriptor_among_the_last_shuts_the_doors() -> None:
    """By the number of the newest connection; they open again when a low one is free."""
    with every_gap_filled() as here:
        await shuts_at_the_last(here)


async def shuts_at_the_last(here: int) -> None:
    async with house(files=(here + 40) * 8 // 7) as h:
        await h.call(12)  # each takes two, since callers live here too
        await h.until(12)
        await h.call(40)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not h.doors.is_shut:
                await h.changed.wait()
                h.changed.clear()
        assert h.shut == {"files": 1}
        inside = len(h.guests)
        assert inside < 52
        assert h.doors.check(inside, next_file=10**6)
        assert h.doors.is_shut
        assert not h.doors.check(inside, next_file=3)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(h.guests) == inside:
                h.changed.clear()
                await h.changed.wait()


@on_uvloop
async def test_short_of_files_nothing_is_accepted() -> None:
    """The check shuts the doors before anybody comes, once for each time."""
    async with house(files=800) as h:
        assert h.doors.check(0, next_file=700)
        assert h.doors.check(0, next_file=790)
        assert h.shut == {"files": 1}
        await h.call(1)
        await h.until(0)
        assert not h.doors.check(0, next_file=699)
        await h.until(1)


@on_uvloop
async def test_closing_takes_in_who_waits() -> None:
    """From shut doors too: who had connected is served; then the port refuses."""
    async with house(most_connections=2) as h:
        await h.call(6)
        await h.until(2)
        await h.doors.close()
        await h.until(6)
        assert not h.doors.is_shut
        try:
            await h.call(1)
        except ConnectionRefusedError:
            return
        raise AssertionError("the port still listens")


@on_uvloop
async def test_opening_and_shutting_leaks_no_descriptor() -> None:
    """A thousand times."""
    async with house(files=800) as h:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(1000):
            h.doors.check(0, next_file=790)
            h.doors.check(0, next_file=3)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not h.doors.is_open:
                    await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) - before < 3
