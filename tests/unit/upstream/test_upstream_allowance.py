"""The time that reading from shadows may take: who is held, who goes on, and how much is read in the end."""

import asyncio
from collections.abc import Callable
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.upstream.allowance import BURST_SECONDS, PAUSE_SECONDS, READING_SHARE, Allowance


class Clock:
    """An event loop of which only time is left."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, work: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, work))

    def turn(self) -> None:
        """What is due next is done."""
        self.now, work = self.due.pop(0)
        work()


class Reader:
    """A connection with an answer under way, unless it is over."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_held = False

    def hold(self) -> bool:
        self.is_held = not (self.is_over or self.is_held)
        return self.is_held

    def go_on(self) -> None:
        self.is_held = False


class Reading(Reader):
    """A connection that reads what it was left as soon as it goes on, in so many *turns*."""

    def __init__(self, allowance: Allowance, turns: int) -> None:
        super().__init__()
        self._allowance = allowance
        self.turns = turns

    def go_on(self) -> None:
        self.is_held = False
        self.turns -= 1
        self._allowance.charge(self, BURST_SECONDS / 100, has_more=self.turns > 0)


def begun() -> tuple[Allowance, Clock]:
    """An allowance of which nothing is used."""
    clock = Clock()
    return Allowance(cast(asyncio.AbstractEventLoop, clock)), clock


def test_nobody_is_held_within_the_burst() -> None:
    """What a request would not notice is read at once."""
    allowance, clock = begun()
    reader = Reader()
    for _ in range(3):
        allowance.charge(reader, BURST_SECONDS / 4)
    assert not reader.is_held
    assert clock.due == []


def test_the_longest_held_goes_on_first_and_one_at_a_time() -> None:
    """A slow reader waits for no quick one, and turns of the loop are between them."""
    allowance, clock = begun()
    readers = [Reader() for _ in range(3)]
    for reader in readers:
        allowance.charge(reader, BURST_SECONDS)
    assert [reader.is_held for reader in readers] == [True, True, True]
    went_at = []
    for at in range(3):
        while readers[at].is_held:
            clock.turn()
        went_at.append(clock.now)
        assert [reader.is_held for reader in readers[at + 1 :]] == [True] * (2 - at)
    assert went_at[0] >= 2 * BURST_SECONDS / READING_SHARE
    assert went_at[1] - went_at[0] >= PAUSE_SECONDS * 0.99
    assert clock.due == []


def test_who_goes_on_may_be_held_again_at_once() -> None:
    """What waits of its last read is charged then; there is one turn to wait for, not one more each time."""
    allowance, clock = begun()

    class Again(Reader):
        left = 20

        def go_on(self) -> None:
            super().go_on()
            self.left -= 1
            if self.left:
                allowance.charge(self, 0.0, has_more=True)

    reader = Again()
    allowance.charge(reader, 0.0, has_more=True)
    while reader.is_held:
        assert len(clock.due) == 1
        clock.turn()
    assert (reader.left, clock.due) == (0, [])


def test_an_answer_that_is_over_is_charged_and_not_held() -> None:
    """Its connection serves the next copy; the next that reads pays."""
    allowance, _ = begun()
    last, next_one = Reader(), Reader()
    last.is_over = True
    allowance.charge(last, BURST_SECONDS)
    allowance.charge(next_one, 0.0)
    assert (last.is_held, next_one.is_held) == (False, True)
    assert "held=1" in repr(allowance)


def test_who_is_held_again_as_it_goes_on_waits_once() -> None:
    """However often: the loop has one timer for all who are held, and none when nobody is."""
    allowance, clock = begun()
    readers = [Reading(allowance, 12), Reading(allowance, 5)]
    for reader in readers:
        allowance.charge(reader, BURST_SECONDS / 100, has_more=True)
    while any(reader.turns for reader in readers):
        assert len(clock.due) == 1
        clock.turn()
    assert clock.due == []


@settings(max_examples=50)
@given(
    costs=st.lists(st.floats(0.00001, 0.003), min_size=1, max_size=60),
    count=st.integers(1, 8),
)
def test_no_more_is_read_than_allowed(costs: list[float], count: int) -> None:
    """However long the reads and many the readers: a burst, a share of the time, and each one's last read."""
    allowance, clock = begun()
    readers = [Reader() for _ in range(count)]
    used = 0.0
    for cost in costs:
        while all(reader.is_held for reader in readers):
            clock.turn()
        reader = next(reader for reader in readers if not reader.is_held)
        used += cost
        allowance.charge(reader, cost)
        assert used <= BURST_SECONDS + clock.now * READING_SHARE + count * max(costs) + 1e-9
    while any(reader.is_held for reader in readers):
        clock.turn()
    assert clock.due == []
