"""Judge whether the shadow answers more slowly, from two histograms of the same exchanges.

For each of a fixed grid of thresholds, "the shadow took longer than x and the tolerance" is counted against
"the primary took longer than x", and likewise who was fast; the e-values are averaged (valid for any
dependence, however often one looks; see `noise`).
"""

from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from math import log
from typing import Final

from understudy.comparators.evidence import LOG_GAMMA, bound, bucket
from understudy.comparators.noise import log_mean_exp

TOLERANCE: Final = 0.10  # with none, any real difference of 1 % would alarm in the end
FLOOR_SECONDS: Final = 0.005
"""Forgiven on top: a copy is sent after the primary's request and shares the machine with it."""

FIRST_SECONDS: Final = 0.0005
LAST_SECONDS: Final = 10.0
STEP: Final = 0.24  # thresholds 24 % apart lose nothing against finer ones
ODDS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Histogram:
    """Counts by bucket, ready to say how many were slower than a bucket's bound."""

    __slots__ = ("_indexes", "_sums", "total")

    def __init__(self, buckets: Mapping[int, int]) -> None:
        self._indexes = sorted(index for index, number in buckets.items() if number > 0)
        self._sums = [0, *accumulate(buckets[index] for index in self._indexes)]
        self.total = self._sums[-1]

    def slower_than(self, index: int) -> int:
        """How many fell into buckets above *index*."""
        return self.total - self._sums[bisect_right(self._indexes, index)]


@lru_cache(maxsize=1)
def thresholds() -> tuple[tuple[int, int], ...]:
    """Pairs of buckets: the primary's threshold, and the shadow's with tolerance and floor, rounded up."""
    step = round(log(1 + STEP) / LOG_GAMMA)
    return tuple(
        (index, bucket(bound(index) * (1 + TOLERANCE) + FLOOR_SECONDS))
        for index in range(bucket(FIRST_SECONDS), bucket(LAST_SECONDS), step)
    )


def log_slower(primary: Mapping[int, int], shadow: Mapping[int, int]) -> float:
    """ln of the e-value against "the shadow is at most 10 % and 5 ms slower". 0 when a side is empty."""
    mine, theirs = Histogram(primary), Histogram(shadow)
    if not mine.total or not theirs.total:
        return 0.0
    share = mine.total / theirs.total
    terms: list[float] = []
    for index, shifted in thresholds():
        slow, slow_primary = theirs.slower_than(shifted), mine.slower_than(index)
        terms.append(_log_odds(slow, slow_primary, share))
        terms.append(_log_odds(mine.total - slow_primary, theirs.total - slow, 1 / share))
    return log_mean_exp(terms)


def _log_odds(more: int, fewer: int, share: float) -> float:
    if not more and not fewer:
        return 0.0
    return log_mean_exp(
        [more * log(r * (1 + share) / (r + share)) + fewer * log((1 + share) / (r + share)) for r in ODDS]
    )
