"""What threads leave to the event loop that mirrors: bounded, and never waited for."""

import os
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from understudy.middleware.native import new_lock
from understudy.middleware.stage import Stage

MOST_ITEMS: Final = 1024

GATHERED_SECONDS: Final = 0.005
"""How long an errand may wait, so that a busy application wakes the loop but 200 times a second."""

PIECE_ITEMS: Final = 16
"""Taken at once: about a millisecond's work, after which the loop looks at its connections."""


class Refused(Protocol):
    """Whose work found no room."""

    def refused(self, stage: Stage, times: int) -> None:
        """Book that. Runs in the loop."""


class Errands:
    """For the loop of a stage: at most `MOST_ITEMS` pieces of work, that hold *most_bytes*.

    What is offered before there is a stage waits for it. In a forked process nothing is taken: that loop is
    the parent's.
    """

    stage: Stage

    def __init__(self, most_bytes: int) -> None:
        self._process = os.getpid()
        self._most_bytes = most_bytes
        self._lock = new_lock()
        self._items: deque[tuple[int, Callable[[Stage], None]]] = deque()
        self._bytes = 0
        self._refused: Counter[Refused] = Counter()
        self._is_told = True
        self._is_over = False

    def attach(self, stage: Stage) -> None:
        """Let the loop of *stage* do what waits, and what comes from now on. In it or any other thread."""
        self.stage = stage
        stage.loop.call_soon_threadsafe(self._drain)

    def offer(self, size: int, work: Callable[[Stage], None], otherwise: Refused) -> bool:
        """Let the loop do *work*, which holds *size* bytes; False when there is no room: *otherwise* counts.

        May be called in any thread, and while it is called, by what interrupts it there: a signal's handler,
        an object that is collected.
        """
        if self._process != os.getpid():
            return False  # the lock may have been held when this process was forked
        with self._lock:
            if self._is_over:
                return False
            has_room = len(self._items) < MOST_ITEMS and self._bytes + size <= self._most_bytes
            if has_room:
                self._items.append((size, work))
                self._bytes += size
            else:
                self._refused[otherwise] += 1
            is_told, self._is_told = self._is_told, True
        if not is_told:
            try:
                self.stage.loop.call_soon_threadsafe(self._plan)
            except RuntimeError:  # the loop was closed by others than us
                self._is_over = True
                return False
        return has_room

    def end(self) -> None:
        """Do what waits, and take nothing more. To be called in the loop."""
        with self._lock:
            self._is_over = True
        while self._items or self._refused:
            self._do_some()

    def _plan(self) -> None:
        self.stage.loop.call_later(GATHERED_SECONDS, self._drain)

    def _drain(self) -> None:
        self._do_some()
        with self._lock:
            is_empty = not self._items and not self._refused
            self._is_told = not is_empty
        if not is_empty:
            self.stage.loop.call_soon(self._drain)

    def _do_some(self) -> None:
        with self._lock:
            some = [self._items.popleft() for _ in range(min(PIECE_ITEMS, len(self._items)))]
            self._bytes -= sum([size for size, _ in some])
            refused, self._refused = self._refused, Counter()
        for who, times in refused.items():
            self._contain(lambda stage, who=who, times=times: who.refused(stage, times))  # type: ignore[misc]
        for _, work in some:
            self._contain(work)

    def _contain(self, work: Callable[[Stage], None]) -> None:
        try:
            work(self.stage)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self.stage.mirror.broke()


def is_alive(stage: Stage) -> bool:
    """Whether the loop of *stage* takes errands."""
    return stage.is_ready and stage.loop.is_running() and not stage.loop.is_closed()
