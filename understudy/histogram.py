"""Where a duration falls, and how many did: lists of integers, so that counting is adding.

Apart from the metrics, so that it is compiled with the request path that counts in it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

Bounds = tuple[float, ...]

# fmt: off
SECONDS: Final[Bounds] = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0
)
# fmt: on
"""Upper bounds of duration buckets: prometheus-client's defaults, two finer and one coarser."""


def both_ways(bounds: Bounds) -> Bounds:
    """*bounds* with their negatives, and zero."""
    return tuple(sorted([-bound for bound in bounds] + [0.0, *bounds]))


DELTAS: Final[Bounds] = both_ways(SECONDS[:-2])
"""Bounds for shadow minus primary, which may be negative."""


class Histogram:
    """Counts by upper bound (the last is +Inf) and the sum, in seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Bounds = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add another worker's counts of the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.total += total


class RequestStats:
    """What one (route, flag, variant, service) did: answers by class of status, durations."""

    __slots__ = ("codes", "duration")

    def __init__(self) -> None:
        self.codes = [0] * 6
        self.duration = Histogram()
