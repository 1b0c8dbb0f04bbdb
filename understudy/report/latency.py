"""How long answers took, as a report has it: quantiles with intervals, and counts for a picture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from understudy.report import tolerant


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From *low* to *high*, in the unit of what it is an interval of. *high* may be infinite."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A quantile in seconds and the interval it surely lies in; None when unknown."""

    value: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """*number* values up to *upper* seconds (negative: the shadow was faster), above the bucket before."""

    upper: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Where the values of one kind lie. ``buckets`` are ascending; without any there is no picture."""

    p50: Quantile = Quantile()
    p90: Quantile = Quantile()
    p99: Quantile = Quantile()
    buckets: tuple[Bucket, ...] = ()

    @property
    def named(self) -> tuple[tuple[str, Quantile], ...]:
        """The quantiles with their names, ascending."""
        return ("p50", self.p50), ("p90", self.p90), ("p99", self.p99)

    @property
    def is_known(self) -> bool:
        """Whether there is anything to show."""
        return any(quantile.value is not None for _, quantile in self.named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long primary and shadow took, and ``delta``: how much longer the shadow, exchange by exchange.

    ``slower`` is the share of exchanges in which the shadow took longer. ``verdict`` is a regression when
    the shadow is slower by more than ``tolerance`` (a share), and empty when nobody judged.
    """

    primary: Quantiles = Quantiles()
    shadow: Quantiles = Quantiles()
    delta: Quantiles = Quantiles()
    slower: float | None = None
    tolerance: float | None = None
    verdict: str = ""
    e_value: float | None = None
    answers: int = 0
    needed: int | None = None


def read_latency(item: object) -> Latency:
    """The ``latency`` of an endpoint; what is absent is unknown."""
    latency = tolerant.mapping(item)
    delta = tolerant.mapping(latency.get("delta"))
    return Latency(
        primary=_quantiles(tolerant.mapping(latency.get("primary"))),
        shadow=_quantiles(tolerant.mapping(latency.get("shadow"))),
        delta=_quantiles(delta),
        slower=tolerant.number(delta.get("slower")),
        tolerance=tolerant.number(latency.get("tolerance")),
        verdict=tolerant.verdict(latency.get("verdict"), ""),
        e_value=tolerant.number(latency.get("e_value")),
        answers=tolerant.count(latency.get("answers")),
        needed=tolerant.whole(latency.get("needed")),
    )


def read_interval(item: object) -> Interval | None:
    """``[low, high]``, or ``[low, null]`` where nothing bounds it; None when it is no such pair."""
    given = [*tolerant.items(item)]
    ends = [tolerant.number(end) for end in given]
    if len(ends) != 2 or ends[0] is None:
        return None
    high = math.inf if given[1] is None else ends[1]
    return None if high is None or ends[0] > high else Interval(low=ends[0], high=high)


def _quantiles(side: Mapping[str, Any]) -> Quantiles:
    intervals = tolerant.mapping(side.get("intervals"))
    p50, p90, p99 = (
        Quantile(value=tolerant.number(side.get(name)), interval=read_interval(intervals.get(name)))
        for name in ("p50", "p90", "p99")
    )
    return Quantiles(p50=p50, p90=p90, p99=p99, buckets=_buckets(side.get("buckets")))


def _buckets(item: object) -> tuple[Bucket, ...]:
    pairs = [tuple(tolerant.items(entry)) for entry in tolerant.items(item)]
    known = [(tolerant.number(pair[0]), tolerant.count(pair[1])) for pair in pairs if len(pair) == 2]
    buckets = [Bucket(upper=upper, number=many) for upper, many in known if upper is not None and many >= 0]
    return tuple(sorted(buckets, key=lambda bucket: bucket.upper))
