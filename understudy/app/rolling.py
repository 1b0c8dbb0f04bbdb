"""A rolling restart: each worker gets a successor on the same sockets, and goes once that one serves."""

import logging
from typing import Final, Protocol

from understudy.app.children import Child

log = logging.getLogger("understudy")

READY_SECONDS: Final = 30.0
"""What a successor has to serve: 4 s for rules that do not come, and as much again on a busy machine."""


class Crew(Protocol):
    """What it asks of the supervisor."""

    children: list[Child]

    def start(self, child: Child) -> None:
        """Fork *child*."""

    def replaced(self, child: Child) -> None:
        """The process of *child* has a successor that serves: tell it to drain, and to leave."""

    def is_leaving(self, pid: int) -> bool:
        """Whether *pid* drains and has not ended yet."""

    def discard(self, child: Child) -> None:
        """Kill the process of *child*, which never served."""


class Rolling:
    """One worker after the other. A successor that does not come up ends it; the others stay as they are."""

    def __init__(self, crew: Crew) -> None:
        self.successor: Child | None = None
        self._crew = crew
        self._queue: list[Child] = []
        self._present: Child | None = None
        self._draining = 0
        self.is_busy = False

    def begin(self) -> None:
        """Replace every worker that runs now; a restart under way begins anew after the present worker."""
        self._queue = [child for child in self._crew.children if child.role == "worker"]
        self.is_busy = True
        log.info("rolling restart of %d workers", len(self._queue))

    def step(self, now: float) -> None:
        """Do what can be done now."""
        if not self.is_busy:
            return
        if self._draining:
            if self._crew.is_leaving(self._draining):
                return
            self._draining = 0
        if self.successor is not None:
            self._await(self.successor, now)
        while self.successor is None and not self._draining and self._queue:
            self._next(self._queue.pop(0))
        if self.successor is None and not self._draining:
            self.is_busy = False
            log.info("rolling restart: over")

    def ended(self, how: str) -> None:
        """The successor died before it served."""
        self.successor = None
        self._give_up(how)

    def lost(self, child: Child) -> bool:
        """The process of *child* died; whether its successor, which is under way, stands in for it."""
        if self.successor is None or child is not self._present:
            return False
        child.adopt(self.successor)
        self.successor = None
        return True

    def stop(self) -> None:
        """Begin nothing more."""
        self._queue = []

    def _next(self, child: Child) -> None:
        if not child.pid:  # it is about to be started anyway
            return
        self._present = child
        self.successor = Child(role=child.role, index=child.index)
        self._crew.start(self.successor)
        if not self.successor.pid:
            self.ended("it cannot be started")

    def _await(self, successor: Child, now: float) -> None:
        child = self._present
        assert child is not None
        if successor.is_ready:
            self._draining = child.pid
            self._crew.replaced(child)
            child.adopt(successor)
            self.successor = None
        elif now - successor.started_at > READY_SECONDS:
            self._crew.discard(successor)
            self.ended(f"it did not serve within {READY_SECONDS:g} s")

    def _give_up(self, why: str) -> None:
        child = self._present
        name = child.name if child is not None else "a worker"
        log.error("rolling restart given up: the successor of %s: %s; %s serves on", name, why, name)
        self._queue = []
