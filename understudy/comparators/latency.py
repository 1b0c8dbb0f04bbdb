"""Judge whether the shadow answers more slowly, from the histograms of the same exchanges.

Two tests, averaged (valid for any dependence, however often one looks; see `noise`). Paired: were the shadow
another primary, even one that is slower by what is forgiven, it would be late in at most half of the
exchanges; so late ones are counted against the others. By thresholds: for each of a fixed grid, "the shadow
took longer than x and what is forgiven" is counted against "the primary took longer than x", and likewise
who was fast; that finds a slow tail. Times run from a request's last word sent to its answer's
last word read, so neither side's wait for a connection is in them.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from math import ceil, exp, inf, log
from typing import Any, Final

from understudy.comparators.distribution import QUANTILES, Distribution, of_differences, of_times
from understudy.comparators.evidence import FLOOR_SECONDS, LOG_GAMMA, TOLERANCE, bound, bucket, forgiven
from understudy.comparators.ledger import Ledger, Name
from understudy.comparators.noise import (
    LARGEST_LOG,
    MOST_NEEDED,
    flagged,
    log_mean_exp,
    rate_interval,
    threshold,
)
from understudy.comparators.verdict import CLEAN, REGRESSION, UNDECIDED

EXCESS: Final = 0.10
"""Clean: at no threshold is the share of the shadow's late answers more than this above the primary's.

Certain after some 400 exchanges of a shadow that is as fast, about as many as a clean verdict needs.
A lesser excess is for the e-value to find, which must lean nowhere.
"""

FIRST_SECONDS: Final = 0.0005
LAST_SECONDS: Final = 10.0
STEP: Final = 0.24  # thresholds 24 % apart lose nothing against finer ones
ODDS: Final[tuple[float, ...]] = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
ALPHA: Final = 0.05


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
    """Pairs of buckets: the primary's threshold, and what is `forgiven` the shadow, rounded up."""
    step = round(log(1 + STEP) / LOG_GAMMA)
    return tuple(
        (index, bucket(forgiven(bound(index))))
        for index in range(bucket(FIRST_SECONDS), bucket(LAST_SECONDS), step)
    )


@lru_cache(maxsize=256)
def _weights(share: float) -> tuple[tuple[float, float], ...]:
    return tuple((log(r * (1 + share) / (r + share)), log((1 + share) / (r + share))) for r in ODDS)


class Slowness:
    """The two histograms of one endpoint, at each threshold; and in how many of *paired* it was *late*."""

    def __init__(
        self, primary: Mapping[int, int], shadow: Mapping[int, int], late: int = 0, paired: int = 0
    ) -> None:
        self._late, self._paired = late, max(late, paired)
        mine, theirs = Histogram(primary), Histogram(shadow)
        self.primary, self.shadow = mine.total, theirs.total
        self._slow = [
            (theirs.slower_than(shifted), mine.slower_than(index)) for index, shifted in thresholds()
        ]

    def _events(self) -> Iterator[tuple[int, int, float]]:
        """At each threshold, who was slow and who was fast: events against the shadow, events for it, and how
        many observations of the second there are for one of the first."""
        share = self.primary / self.shadow
        for slow, slow_primary in self._slow:
            yield slow, slow_primary, share
            yield self.primary - slow_primary, self.shadow - slow, 1 / share

    def log_e(self) -> float:
        """ln of the e-value against "the shadow is at most 10 % or 5 ms slower". 0 when a side is empty."""
        if not self.primary or not self.shadow:
            return 0.0
        return log_mean_exp([log_mean_exp(self._paired_slopes()), log_mean_exp(self._slopes())])

    def _slopes(self) -> list[float]:
        return [more * x + fewer * y for more, fewer, share in self._events() for x, y in _weights(share)]

    def _paired_slopes(self) -> list[float]:
        return [self._late * x + (self._paired - self._late) * y for x, y in _weights(1.0)]

    def times_until(self, level: float) -> float:
        """How many times as much of the same certainly brings `log_e` to *level*; inf: perhaps none."""
        if not self.primary or not self.shadow:
            return inf
        found = inf
        for slopes in (self._paired_slopes(), self._slopes()):
            steepest = max(slopes)
            if steepest > 0:  # one of two tests, one of its terms: the others are at least nothing
                found = min(found, (level + log(2 * len(slopes))) / steepest)
        return found

    def times_until_calm(self) -> float:
        """How many times as much of the same it takes to be sure that no share of slow answers is `EXCESS`
        over the primary's; 1 or less: it is certain, inf: it is not so.

        A share's interval shrinks with the root of the number. Every threshold has to hold, so none of them
        has to pay for the others; the two intervals of one share the error.
        """
        if not self.primary or not self.shadow:
            return inf
        most = 0.0
        for slow, slow_primary in set(self._slow):
            rate, rate_primary = slow / self.shadow, slow_primary / self.primary
            room = EXCESS - (rate - rate_primary)
            if room <= 0:
                return inf
            if rate_primary < 1:  # else nothing can exceed it
                high = rate_interval(slow, self.shadow, ALPHA / 2)[1]
                low = rate_interval(slow_primary, self.primary, ALPHA / 2)[0]
                most = max(most, ((high - rate + rate_primary - low) / room) ** 2)
        return most


def latencies(ledger: Ledger, names: list[Name], fdr: float) -> dict[Name, dict[str, Any]]:
    """What the report says of latency at each endpoint (seconds, shares).

    Regression by e-BH over the endpoints. Clean when that leans nowhere, and it is certain that at no
    threshold a tenth more of the shadow's answers are late than of the primary's. Else undecided, with about
    how many more exchanges, if more of the same can decide.
    """
    seen = {name: _slowness(ledger, name) for name in names}
    logs = {name: slowness.log_e() for name, slowness in seen.items()}
    slower = dict(zip(logs, flagged(list(logs.values()), fdr), strict=True))
    level = threshold(len(logs), fdr)
    return {
        name: _latency(ledger, name, seen[name], log_e, level, is_slower=slower[name])
        for name, log_e in logs.items()
    }


def _slowness(ledger: Ledger, name: Name) -> Slowness:
    paired = sum(sum(ledger.latency(name, side).values()) for side in ("slower", "faster"))
    late = ledger.exchange(name).get("late", 0)
    return Slowness(ledger.latency(name, "primary"), ledger.latency(name, "shadow"), late, paired)


def _latency(
    ledger: Ledger, name: Name, slowness: Slowness, log_e: float, level: float, *, is_slower: bool
) -> dict[str, Any]:
    verdict, needed = REGRESSION, None
    if not is_slower:
        calm = slowness.times_until_calm() if log_e <= 0 else inf
        verdict = CLEAN if calm <= 1 else UNDECIDED
        if verdict == UNDECIDED:
            more = (min(calm, slowness.times_until(level)) - 1) * slowness.shadow
            needed = max(1, ceil(more)) if more <= MOST_NEEDED else None
    slower, faster = ledger.latency(name, "slower"), ledger.latency(name, "faster")
    compared = sum(slower.values()) + sum(faster.values())
    return {
        "primary": _described(of_times(ledger.latency(name, "primary"))),
        "shadow": _described(of_times(ledger.latency(name, "shadow"))),
        "delta": {
            **_described(of_differences(slower, faster)),
            "slower": round(sum(slower.values()) / compared, 6) if compared else None,
        },
        "tolerance": TOLERANCE,
        "floor": FLOOR_SECONDS,
        "verdict": verdict,
        "e_value": exp(min(log_e, LARGEST_LOG)),
        "answers": slowness.shadow,
        "needed": needed,
    }


def _described(times: Distribution) -> dict[str, Any]:
    return {
        **{name: _rounded(times.quantile(q)) for name, q in QUANTILES.items()},
        "intervals": {name: [_rounded(edge) for edge in times.interval(q)] for name, q in QUANTILES.items()},
        "buckets": times.bars(),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 7)
