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
    """One variant of one flag, as requests meet it: ``n`` times in all, ``told`` of them were taken."""

    __slots__ = ("_among", "flag", "n", "told", "variant")

    def __init__(self, among: "Sightings", flag: str, variant: str) -> None:
        self._among = among
        self.flag = flag
        self.variant = variant
        self.n = 0
        self.told = 0

    def see(self, decision: Decision | None, head: Head) -> None:
        """The request *head*, whose route was decided as *decision*, met the variant.

        An addition, and an append if units are kept. Never raises. May be called in any thread.
        """
        self.n += 1
        if self._among.share > 0.0:
            self._among.keep(self, decision, head)

    def see_unnamed(self, times: int) -> None:
        """So many requests met the variant, whose heads and so whose units are not at hand any more."""
        self.n += times


class Sightings:
    """What requests met. ``dropped`` counts units that found no room, or could not be read.

    *share* is that of units that are kept; at 0 no request is asked for its unit. It may change at any time.
    Requests may be told of in any thread: counts only grow, and what waits is taken from the list that it was
    put in, never by another list, so that nothing is lost between two threads. `take` and `gather` are for
    one thread.
    """

    def __init__(self, share: float, most: int = MOST_WAITING) -> None:
        self.share = share
        self.dropped = 0
        self._most = most
        self._meetings: dict[tuple[str, str], Meetings] = {}
        self._waiting: list[Met] = []
        self._fresh: list[Met] = []
        self._known = Recent(most=MOST_KNOWN)
        self._known_since = 0.0

    def meetings(self, flag: str, variant: str) -> Meetings:
        """Where requests that meet *variant* of *flag* are told; the same object ever after."""
        key = (flag, variant)
        known = self._meetings.get(key)
        return known if known is not None else self._meetings.setdefault(key, Meetings(self, flag, variant))

    def keep(self, met: Meetings, decision: Decision | None, head: Head) -> None:
        """The unit of *head*, if *decision* finds one there, met the variant of *met*. An append."""
        if decision is None or decision.unit is None:
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        try:
            unit = decision.unit(head)
        except Exception:  # noqa: BLE001  a head that an application was handed in a form of its own
            self.dropped += 1
            return
        if unit:
            self._waiting.append((met.flag, met.variant, unit))

    def gather(self) -> None:
        """Keep the units that are new of those that wait. Between requests, often."""
        waiting = self._waiting[:]
        del self._waiting[: len(waiting)]
        share, fresh = self.share, self._fresh
        for met in waiting:
            unit = met[2]
            if len(unit) > MOST_UNIT_CHARACTERS or not is_sampled(unit, share):
                continue
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
        counts: dict[tuple[str, str], int] = {}
        for key, met in self._meetings.copy().items():
            n = met.n - met.told
            if n:
                counts[key] = n
                met.told += n
        if not counts and not self._fresh:
            return None
        told = Told(at=at, counts=counts, units=self._fresh)
        self._fresh = []
        return told
