"""What the judgements of all places come to: how many of each verdict, what is missing, and the heaviest.

Takes them one by one, so that a hundred thousand need no more memory than those that a report lists.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import Final

from understudy.comparators.ledger import Name
from understudy.comparators.verdict import (
    CLEAN,
    IGNORED,
    NOISE,
    REGRESSION,
    TOLERANCE,
    UNDECIDED,
    Judgement,
    Place,
)

ORDER: Final = {REGRESSION: 0, UNDECIDED: 1, NOISE: 2, IGNORED: 3, CLEAN: 4}
SEVERITY: Final = {
    # After Keploy, risk.go: what is gone or of another type breaks clients; an added field seldom does.
    "status": 5.0,
    "missing": 4.0,
    "type": 4.0,
    "content_type": 3.0,
    "value": 2.0,
    "length": 2.0,
    "body": 2.0,
    "order": 1.5,
    "header": 1.0,
    "extra": 0.5,
}

Judged = tuple[Place, Judgement]
NONE: Final[Counter[str]] = Counter()


class Overview:
    """Of all places, and of each endpoint."""

    def __init__(self, judged: Iterable[Judged], most: int) -> None:
        """Keeps the *most* heaviest of *judged*."""
        self.waiting_for_units = 0
        """Undecided places most of whose differences came from units that had met them before."""
        self.is_by_tolerance = False
        """Whether some verdict rests on no control."""
        self.share_needed = 0.0
        """How many times the exchanges of its endpoint the undecided place needs that needs most."""
        self._verdicts_at: dict[Name, Counter[str]] = {}
        self._needed_at: dict[Name, int] = {}
        self._heaviest: dict[Name, list[Judged]] = {}
        for place, judgement in nsmallest(most, self._passing(judged), key=heaviness):
            self._heaviest.setdefault(place[:2], []).append((place, judgement))
        self.verdicts: Counter[str] = Counter()
        for here in self._verdicts_at.values():
            self.verdicts.update(here)

    def verdicts_at(self, name: Name) -> Counter[str]:
        """How many places of an endpoint have each verdict."""
        return self._verdicts_at.get(name, NONE)

    def needed_at(self, name: Name) -> int:
        """How many more exchanges the undecided places of an endpoint need, as far as that is known."""
        return self._needed_at.get(name, 0)

    def heaviest(self, name: Name) -> list[Judged]:
        """Those of an endpoint that a report lists, the heaviest first."""
        return self._heaviest.get(name, [])

    def _passing(self, judged: Iterable[Judged]) -> Iterator[Judged]:
        for place, judgement in judged:
            self._count(place[:2], judgement)
            yield place, judgement

    def _count(self, name: Name, judgement: Judgement) -> None:
        verdict, counts = judgement.verdict, judgement.counts
        here = self._verdicts_at.get(name)
        if here is None:
            here = self._verdicts_at[name] = Counter()
        here[verdict] += 1
        self.is_by_tolerance |= judgement.basis == TOLERANCE and verdict != IGNORED
        if verdict == UNDECIDED:
            self.waiting_for_units += 2 * counts.differing_again > counts.differing
            if judgement.needed:
                self._needed_at[name] = max(self.needed_at(name), judgement.needed)
                self.share_needed = max(self.share_needed, judgement.needed / max(1, counts.exchanges))


def heaviness(judged: Judged) -> tuple[int, float, str, str, Place]:
    """Sorts the heaviest first: by verdict, then by weight."""
    place, judgement = judged
    return ORDER[judgement.verdict], -weight(place, judgement), place[2], place[3], place


def weight(place: Place, judgement: Judgement) -> float:
    """How much a reader should care: how bad the kind is, times how much oftener than by itself."""
    counts = judgement.counts
    rate = counts.differing / counts.exchanges if counts.exchanges else 0.0
    control_rate = counts.control_differing / counts.with_control if counts.with_control else 0.0
    return round(SEVERITY.get(place[3], 1.0) * max(0.0, rate - control_rate), 6)
