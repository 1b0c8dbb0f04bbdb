"""Exposures as a worker meets them: an append for each request, everything else between requests."""

from collections import Counter
from typing import Final

from understudy.decide import Decision
from understudy.exposures.sampling import is_sampled
from understudy.exposures.told import Met, Told
from understudy.messages import Head
from understudy.recent import Recent

MOST_WAITING: Final = 20_000
"""Exposures that wait to be gathered, which is done ten times a second: 200,000 requests a second."""
MOST_FRESH: Final = 20_000
"""Units that wait to be told: what meets a control process that is away for long is dropped and counted."""
MOST_KNOWN: Final = 100_000
"""Units whose exposure was told already, for each of two generations, some 20 MiB when both are full. One
that comes again after so many others is told again, which the store knows."""
KNOWN_SECONDS: Final = 86_400.0
"""After a day a unit that comes again is told again: the store may have let go of what it met."""
MOST_UNIT_CHARACTERS: Final = 512
"""A longer unit is counted and not kept: 20,000 of them would take 640 MiB."""


class Sightings:
    """What requests met. ``dropped`` counts what found no room.

    *share* is that of units that are kept; at 0 no request is asked for its unit. It may change at any time.
    """

    def __init__(self, share: float, most: int = MOST_WAITING) -> None:
        self.share = share
        self.dropped = 0
        self._most = most
        self._waiting: list[tuple[Decision, str]] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._fresh: list[Met] = []
        self._known = Recent(most=MOST_KNOWN)
        self._known_since = 0.0

    def see(self, decision: Decision, head: Head) -> None:
        """The request *head* met the variant of *decision*. An append, and a look-up of the unit if kept."""
        waiting = self._waiting
        if len(waiting) >= self._most:
            self.dropped += 1
            return
        find = decision.unit if self.share > 0.0 else None
        waiting.append((decision, "" if find is None else find(head) or ""))

    def gather(self) -> None:
        """Count what waits, and keep the units that are new. Between requests, often."""
        waiting, self._waiting = self._waiting, []
        share, counts, fresh = self.share, self._counts, self._fresh
        for decision, unit in waiting:
            flag, variant = decision.flag, decision.variant
            counts[flag, variant] += 1
            if not unit or len(unit) > MOST_UNIT_CHARACTERS or not is_sampled(unit, share):
                continue
            met = (flag, variant, unit)
            if len(fresh) >= MOST_FRESH:
                self.dropped += 1
            elif not self._known.is_known(hash(met)):
                fresh.append(met)

    def take(self, at: float) -> Told | None:
        """What was gathered and not taken yet; None for nothing. *at* is Unix time in seconds."""
        self.gather()
        if at - self._known_since > KNOWN_SECONDS:
            self._known.forget()
            self._known_since = at
        if not self._counts:
            return None
        told = Told(at=at, counts=self._counts, units=self._fresh)
        self._counts, self._fresh = Counter(), []
        return told
