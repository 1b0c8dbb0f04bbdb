"""When origins are checked, with clock and chance in the test's hands, and what the verdicts are."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from understudy.config import Ejection, HealthCheck
from understudy.upstream import Health, Origin
from understudy.upstream.checks import Checks


class Answering(Origin):
    """An origin whose checks are answered with ``status``; 0 refuses."""

    def __init__(self, status: int = 200) -> None:
        super().__init__("http://x:80")
        self.status = status
        self.asked = 0

    async def connect(self, loop: asyncio.AbstractEventLoop, make: Any) -> Any:
        self.asked += 1
        if not self.status:
            raise ConnectionRefusedError("refused")
        probe = make()
        probe.data_received(b"HTTP/1.1 %d X\r\n" % self.status)
        return probe


class Ward:
    """Checks of one origin, and what was told."""

    def __init__(self, **check: Any) -> None:
        self.now = 0.0
        self.chance = 0.5
        self.tasks: list[asyncio.Task[None]] = []
        self.events: list[str] = []
        self.origin = Answering()
        self.checks = Checks(
            [self.origin],
            HealthCheck(interval=10.0, healthy=2, unhealthy=3, **check),
            loop=asyncio.get_running_loop(),
            spawn=self._spawn,
            clock=lambda: self.now,
            chance=lambda: self.chance,
        )
        self.health = self.watched()
        self.checks.watch(0, self.health)

    def watched(self) -> Health:
        return Health("x", eject=Ejection(), clock=lambda: self.now, on_change=self.events.append)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def at(self, seconds: float, status: int | None = None) -> int:
        """Sweep at that time, with that answer from now on; how often the origin was asked so far."""
        self.now = seconds
        self.origin.status = self.origin.status if status is None else status
        self.checks.sweep(seconds)
        for task in self.tasks:
            await task
        return self.origin.asked


@pytest.mark.parametrize(("chance", "due"), [(0.0, 9.0), (0.5, 10.0), (1.0, 11.0)])
async def test_the_next_check_is_due_an_interval_later_give_or_take(chance: float, due: float) -> None:
    """A tenth either way, so that workers started together ask apart."""
    ward = Ward()
    ward.chance = chance
    assert await ward.at(0.0) == 1
    assert await ward.at(due - 0.1) == 1
    assert await ward.at(due) == 2


async def test_a_check_under_way_is_not_asked_again() -> None:
    """However slow it is."""
    ward = Ward()
    ward.checks.sweep(0.0)
    ward.checks.sweep(100.0)
    assert len(ward.tasks) == 1
    await ward.at(100.0)


async def test_verdicts_turn_by_checks_in_a_row() -> None:
    """Three failures out, two passes in; anything else between begins anew."""
    ward = Ward()
    script = [200, 0, 0, 200, 0, 500, 0, 0, 200, 0, 200, 200, 200]
    seen = []
    for turn, status in enumerate(script):
        await ward.at(turn * 20.0, status)
        seen.append(ward.health.is_up)
    assert seen == [True] * 6 + [False] * 5 + [True] * 2
    assert ward.events == ["unhealthy", "healthy"]


async def test_who_comes_later_is_told_how_it_stands() -> None:
    """And who has left is told no more."""
    ward = Ward()
    for turn in range(3):
        await ward.at(turn * 20.0, 0)
    later = ward.watched()
    ward.checks.watch(0, later)
    assert not later.is_up
    ward.checks.unwatch(ward.health)
    ward.checks.unwatch(ward.health)
    for turn in (3, 4):
        await ward.at(turn * 20.0, 200)
    assert (later.is_up, ward.health.is_up) == (True, False)


async def test_after_the_end_nothing_is_asked() -> None:
    """The worker is leaving."""
    ward = Ward()
    ward.checks.stop()
    assert await ward.at(0.0) == 0
