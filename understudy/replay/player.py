"""Play the requests of a recording: primary, then candidate, then control, so many at a time."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from understudy.replay.ask import Reply
from understudy.replay.entry import Recorded
from understudy.replay.ledger import Ledger, Played
from understudy.replay.pace import Due
from understudy.replay.side import Side

BEAT_SECONDS: Final = 0.25
GIVE_UP_FAILURES: Final = 10
"""A side that leaves fewer requests in a row without an answer may only be slow to come back."""

GRACE_SECONDS: Final = 2.0
"""How long what is under way may still be answered after an interruption."""


class Clock(Protocol):
    """Time as the player sees it."""

    def now(self) -> float:
        """Monotonic seconds."""

    def pause(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Let that time pass."""


class WallClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.perf_counter()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is played: all of *requests*, *repeat* times, each when *due*, at most *concurrency* at a time.

    *asks_control* says, by number, which are asked of the control. Without an answer from one side for
    *give_up_seconds* the replay ends.
    """

    requests: Sequence[Recorded]
    due: Due
    asks_control: Callable[[int], bool]
    repeat: int = 1
    concurrency: int = 8
    give_up_seconds: float = 60.0

    @property
    def total(self) -> int:
        """How many requests that makes."""
        return len(self.requests) * self.repeat


class Player:
    """``ended`` says why not all was played: interrupted or gave_up; empty otherwise.

    ``late_seconds`` is how far behind its pace the replay fell at most.
    """

    def __init__(
        self,
        order: Order,
        ledger: Ledger,
        *,
        primary: Side,
        shadow: Side,
        control: Side,
        clock: Clock,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.ended = ""
        self.silent = ""
        self.late_seconds = 0.0
        self.started = 0
        self._order = order
        self._ledger = ledger
        self._primary = primary
        self._shadow = shadow
        self._control = control
        self._clock = clock
        self._beat = beat
        self._feeding: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._began_at = 0.0

    def interrupt(self) -> None:
        """Start nothing more; the second time, end what is under way too."""
        if self.ended:
            self._cut()
        self._end("interrupted")

    def _end(self, reason: str) -> None:
        self.ended = self.ended or reason
        if self._feeding is not None:
            self._feeding.cancel()

    async def play(self) -> None:
        """Play all of it. What peers do is counted, never raised."""
        self._began_at = self._clock.now()
        async with asyncio.TaskGroup() as tasks:
            self._feeding = tasks.create_task(self._feed(tasks))
            beating = tasks.create_task(self._keep_time())
            await asyncio.wait([self._feeding])
            if self._running:
                await asyncio.wait(self._running, timeout=GRACE_SECONDS if self.ended else None)
            self._cut()
            if self._running:
                await asyncio.wait(self._running)
            beating.cancel()
        self._ledger.skip(self.ended, self._order.total - self.started)

    def close(self) -> None:
        """Close every connection; nothing is asked any more."""
        for side in (self._primary, self._shadow, self._control):
            side.pool.close()

    def _cut(self) -> None:
        for side in (self._primary, self._shadow, self._control):
            side.cut(self.ended)

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(self._order.concurrency)
        for number in range(self._order.total):
            await self._wait_until(self._began_at + self._order.due(number))
            await room.acquire()
            self.started += 1
            task = tasks.create_task(self._exchange(number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _task: room.release())

    async def _wait_until(self, due_at: float) -> None:
        ahead = due_at - self._clock.now()
        if ahead > 0:
            await self._clock.pause(ahead)
        elif due_at > self._began_at:
            self.late_seconds = max(self.late_seconds, -ahead)

    async def _exchange(self, number: int) -> None:
        request = self._order.requests[number % len(self._order.requests)]
        at = time.time()
        shadow: Reply | None = None
        control: Reply | None = None
        primary = await self._primary.ask(request)
        if not primary.failure:
            shadow = await self._shadow.ask(request)
            if self._order.asks_control(number):
                control = await self._control.ask(request)
        self._ledger.take(
            Played(
                number=number,
                request=request,
                at=at,
                primary=primary,
                shadow=shadow,
                control=control,
            )
        )

    async def _keep_time(self) -> None:
        """Close idle connections, tell of progress, and see whether there is anybody at the other end."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now = self._clock.now()
            for side in (self._primary, self._shadow, self._control):
                side.pool.sweep(now)
            for side in (self._primary, self._shadow):
                silent = side.failures >= GIVE_UP_FAILURES
                if silent and now - side.failing_since >= self._order.give_up_seconds and not self.ended:
                    self.silent = side.name
                    self._end("gave_up")
            self._beat()
