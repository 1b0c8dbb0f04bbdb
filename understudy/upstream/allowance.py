"""How much of an event loop's time reading from shadows takes, where an application's requests wait for it.

A shadow that answers without end is read up to the cap of each copy, and 64 copies of 1 MiB in a row would
hold the loop for a tenth of a second. Kept to an allowance they take longer, at most their deadline, and are
not felt.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

READING_SHARE: Final = 0.02
"""Of the loop's time: 25 answers of 1 MiB a second."""

BURST_SECONDS: Final = 0.001
"""What may be read after a quiet time without a pause: what a request may wait for (DESIGN 7)."""

PAUSE_SECONDS: Final = 0.001
"""Between two that go on: requests have turns of the loop in it."""


class Reader(Protocol):
    """A connection that answers of shadows come by."""

    def hold(self) -> bool:
        """Read nothing until `go_on`; False when there is nothing to hold."""

    def go_on(self) -> None:
        """Read again."""


class Allowance:
    """The time that all shadows' connections of *loop* may take with long answers.

    Once it is used up, whoever has read is held, and they go on one by one, the longest held first.
    """

    __slots__ = ("_at", "_held", "_is_waiting", "_left", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: deque[Reader] = deque()
        self._left = BURST_SECONDS
        self._at = loop.time()
        self._is_waiting = False

    def __repr__(self) -> str:
        return f"<Allowance left={self._left * 1e6:.0f} us held={len(self._held)}>"

    def charge(self, reader: Reader, seconds: float, *, has_more: bool = False) -> None:
        """*reader* held the loop for *seconds*, and is held itself if that was too much, or it *has_more*."""
        self._refill()
        self._left -= seconds
        if (has_more or self._left <= 0) and reader.hold():
            self._held.append(reader)
            self._wait()

    def _refill(self) -> None:
        now = self._loop.time()
        self._left = min(BURST_SECONDS, self._left + (now - self._at) * READING_SHARE)
        self._at = now

    def _wait(self) -> None:
        """Let the next of those who are held go on after a pause, unless that is planned."""
        if self._held and not self._is_waiting:
            self._is_waiting = True
            self._loop.call_later(PAUSE_SECONDS + max(0.0, -self._left / READING_SHARE), self._go_on)

    def _go_on(self) -> None:
        self._refill()
        try:
            if self._left > 0:
                self._held.popleft().go_on()  # who reads at once what it was left may be held again
        finally:
            self._is_waiting = False
            self._wait()
