"""Exposures as a worker meets them: a count for each request, everything else between requests."""

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


class Meetings:
    """One variant of one flag, as requests meet it: ``n`` times since `Sightings.take`."""

    __slots__ = ("_among", "n")

    def __init__(self, among: "Sightings") -> None:
        self._among = among
        self.n = 0

    def see(self, decision: Decision, head: Head) -> None:
        """The request *head* met the variant, by *decision*. An addition, and an append if units are kept."""
        self.n += 1
        if self._among.share > 0.0:
            self._among.keep(decision, head)


class Sightings:
    """What requests met. ``dropped`` counts units that found no room.

    *share* is that of units that are kept; at 0 no request is asked for its unit. It may change at any time.
    """

    def __init__(self, share: float, most: int = MOST_WAITING) -> None:
        self.share = share
        self.dropped = 0
        self._most = most
        self._meetings: dict[tuple[str, str], Meetings] = {}
        self._waiting: list[tuple[Decision, str]] = []
        self._fresh: list[Met] = []
        self._known = Recent(most=MOST_KNOWN)
        self._known_since = 0.0

    def meetings(self, flag: str, variant: str) -> Meetings:
        """Where requests that meet *variant* of *flag* are told; the same object ever after."""
        return self._meetings.setdefault((flag, variant), Meetings(self))

    def keep(self, decision: Decision, head: Head) -> None:
        """The unit of *head*, if it has one, met the variant of *decision*. An append."""
        if decision.unit is None:
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
        elif unit := decision.unit(head):
            self._waiting.append((decision, unit))

    def gather(self) -> None:
        """Keep the units that are new of those that wait. Between requests, often."""
        waiting, self._waiting = self._waiting, []
        share, fresh = self.share, self._fresh
        for decision, unit in waiting:
            if len(unit) > MOST_UNIT_CHARACTERS or not is_sampled(unit, share):
                continue
            met = (decision.flag, decision.variant, unit)
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
        counts = {key: met.n for key, met in self._meetings.items() if met.n}
        if not counts:
            return None
        for met in self._meetings.values():
            met.n = 0
        told = Told(at=at, counts=counts, units=self._fresh)
        self._fresh = []
        return told
