"""Times in logarithmic buckets, ready to be read: quantiles, intervals that hold at any time, a picture.

Counts at the bounds of buckets are exact, so an interval is read off the bounds, outward, and holds for the
times themselves. Source of the intervals: Howard & Ramdas, *Sequential estimation of quantiles*, with the
beta-binomial mixture for one quantile.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from math import ceil, floor, log
from typing import Final

from understudy.comparators.evidence import GAMMA, MOST_BUCKETS, bound, bucket
from understudy.comparators.noise import log_beta

QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
ALPHA: Final = 0.05
MOST_BARS: Final = 64  # a bar is a few pixels wide
SMALLEST_BAR_SECONDS: Final = 0.0001
"""A picture does not tell differences apart that are nearer to zero than this: a clock reads no finer."""

LAST_INDEX: Final = 1100
"""A picture ends at an hour."""

BOUNDS: Final = tuple(bound(index) for index in range(MOST_BUCKETS))

Interval = tuple[float | None, float | None]
"""The least and the largest value; None where nothing bounds it."""

Row = tuple[float, float, int]
"""A bucket: above its first bound, up to its second, in seconds; and how many."""


class Distribution:
    """Counted times in ascending order. Seconds; differences may be negative."""

    __slots__ = ("_floor", "_rows", "_sums", "total")

    def __init__(self, rows: Sequence[Row], floor_seconds: float | None) -> None:
        self._rows = rows
        self._sums = list(accumulate(number for _, _, number in rows))
        self._floor = floor_seconds
        self.total = self._sums[-1] if rows else 0

    def quantile(self, q: float) -> float | None:
        """The time that a share *q* does not exceed, ± 1 %; None without any."""
        if not self.total:
            return None
        low, high, _ = self._rows[bisect_left(self._sums, max(1, ceil(q * self.total)))]
        # The value that is 1 % from either bound, as DDSketch (PVLDB 2019) has it.
        return 2 * (high if high > 0 else low) / (1 + GAMMA)

    def interval(self, q: float) -> Interval:
        """What the quantile *q* of all times to come lies in, 95 % certain, whenever one looks."""
        least, most = ranks(self.total, q)
        low = self._rows[bisect_left(self._sums, least)][0] if least else self._floor
        high = self._rows[bisect_left(self._sums, most + 1)][1] if most < self.total else None
        return low, high

    def bars(self) -> list[list[float]]:
        """The counts for a picture: at most `MOST_BARS` pairs of upper bound and count, ascending, no gaps.

        The first has no count: it is where the first bar begins. A bar beyond `SMALLEST_BAR_SECONDS` is as
        wide as its neighbours on a logarithmic axis; zero is a bound when it lies within.
        """
        if not self.total:
            return []
        middles = [(low + high) / 2 for low, high, _ in self._rows]
        step = 1
        while len(edges := _edges(middles[0], middles[-1], step)) > MOST_BARS:
            step *= 2
        counts = [0] * len(edges)
        for middle, (_, _, number) in zip(middles, self._rows, strict=True):
            counts[bisect_left(edges, middle)] += number
        return [[round(edge, 9), number] for edge, number in zip(edges, counts, strict=True)]


def of_times(buckets: Mapping[int, int]) -> Distribution:
    """The distribution of times that were counted by `bucket`."""
    return Distribution(_rows(buckets), 0.0)


def of_differences(slower: Mapping[int, int], faster: Mapping[int, int]) -> Distribution:
    """The distribution of shadow minus primary, whose sizes were counted by `bucket`, by their sign."""
    falling = [(-high, -low, number) for low, high, number in reversed(_rows(faster))]
    return Distribution(falling + _rows(slower), None)


@lru_cache(maxsize=16)
def _above(step: int) -> tuple[float, ...]:
    """Zero, and bounds *step* buckets apart."""
    return 0.0, *(bound(index) for index in range(bucket(SMALLEST_BAR_SECONDS), LAST_INDEX + step, step))


def _edges(least: float, most: float, step: int) -> list[float]:
    """Bounds, *step* buckets apart on either side of zero, that hold what lies from *least* to *most*."""
    above = _above(step)
    first = bisect_left(above, least) - 1 if least > 0 else -bisect_left(above, -least)
    last = bisect_left(above, most) if most > 0 else 1 - bisect_right(above, -most)
    return [above[at] if at >= 0 else -above[-at] for at in range(first, last + 1)]


def _rows(buckets: Mapping[int, int]) -> list[Row]:
    return [
        (BOUNDS[index - 1] if index > 0 else 0.0, BOUNDS[index], buckets[index])
        for index in sorted(buckets)
        if buckets[index] > 0
    ]


@lru_cache(maxsize=4096)
def ranks(total: int, q: float, alpha: float = ALPHA) -> tuple[int, int]:
    """The least and the most of *total* times that may lie at or below the quantile *q*.

    The number at or below it is a sum of Bernoulli(q); these are the numbers that the mixture of
    likelihood ratios over Beta(½, ½) does not refute, so all of them hold at once with 1 - *alpha*.
    """
    if total <= 0:
        return 0, 0
    level, least = -log(alpha), log_beta(0.5, 0.5)

    def refutes(count: int) -> float:
        return (
            log_beta(0.5 + count, 0.5 + total - count) - least - count * log(q) - (total - count) * log(1 - q)
        )

    middle = min((floor(q * total), ceil(q * total)), key=refutes)
    return middle - _reach(refutes, middle, middle, -1, level), middle + _reach(
        refutes, middle, total - middle, 1, level
    )


def _reach(refutes: Callable[[int], float], middle: int, most: int, side: int, level: float) -> int:
    """How far from *middle*, at most *most*, a count stays below *level*; beyond, it only grows."""
    low, high = 0, most
    while low < high:
        step = (low + high + 1) // 2
        if refutes(middle + side * step) < level:
            low = step
        else:
            high = step - 1
    return low
