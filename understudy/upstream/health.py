"""How one origin fares: its failures in a row, and whether it is left out for them.

Two judges: real requests, which eject it for a while, and active checks, which turn it off and on.
"""

import logging
from collections.abc import Callable
from typing import Final

from understudy.config import Ejection

log = logging.getLogger("understudy.upstream")

ILL: Final = (502, 503, 504)
"""Statuses by which a server says that it cannot answer now; Envoy's gateway errors."""


class Health:
    """``failures`` counts those in a row; `note` and `failed` are told of every answer and of every lack of
    one. *on_change* is told when the origin goes out or comes back: ejected, tried_again, unhealthy, healthy.

    After an ejection the next failure ejects again: one is enough to know that it is no better.
    """

    def __init__(
        self,
        name: str,
        *,
        eject: Ejection,
        clock: Callable[[], float],
        on_change: Callable[[str], None],
    ) -> None:
        self.name = name
        self.failures = 0
        self.ejected_until = 0.0
        self.is_failing = False
        self.ejections = 0
        self._eject = eject
        self._clock = clock
        self._on_change = on_change

    @property
    def is_up(self) -> bool:
        """Whether it is asked while there is a choice."""
        return not (self.is_failing or self.ejected_until)

    def note(self, status: int) -> None:
        """An answer began with *status*. Need not be told of one below 502 while ``failures`` is 0."""
        if status in ILL:
            self.failed(f"answered {status}")
        else:
            self.failures = 0

    def failed(self, reason: str) -> None:
        """No connection came, or no valid answer in time; *reason* is for the log."""
        if self.ejected_until:
            return
        self.failures += 1
        if self._eject.failures and self.failures >= self._eject.failures:
            self.ejections += 1
            self.ejected_until = self._clock() + self._eject.seconds
            log.warning(
                "%s is ejected for %g s after %d failures in a row, the last: %s",
                self.name,
                self._eject.seconds,
                self.failures,
                reason,
            )
            self._on_change("ejected")

    def checked(self, *, is_failing: bool, reason: str) -> None:
        """The active checks have turned it off, for *reason*, or on."""
        if is_failing != self.is_failing:
            self.is_failing = is_failing
            if is_failing:
                log.warning("%s is unhealthy: %s", self.name, reason)
            else:
                log.info("%s is healthy again", self.name)
            self._on_change("unhealthy" if is_failing else "healthy")

    def sweep(self, now: float) -> None:
        """End the ejection when its time is over."""
        if self.ejected_until and now >= self.ejected_until:
            self.ejected_until = 0.0
            self.failures = self._eject.failures - 1
            log.info("%s is tried again", self.name)
            self._on_change("tried_again")
