"""How long answers took, as a report has it: quantiles with intervals, and counts for a picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.report import tolerant

_LONGEST_SECONDS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From *low* to *high*, in the unit of what it is an interval of."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A quantile in seconds and where it surely lies; None when unknown.

    Few answers bound a high quantile on one side alone: then there is no ``interval``, but ``at_least`` or
    ``at_most``.
    """

    value: float | None = None
    interval: Interval | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """*number* values up to *upper* seconds (negative: the shadow was faster), above the bucket before."""

    upper: float
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Where the values of one kind lie. ``buckets`` are ascending, and empty when there is no picture."""

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
    floor: float | None = None
    """Seconds that are forgiven at least."""
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
        floor=tolerant.number(latency.get("floor")),
        verdict=tolerant.verdict(latency.get("verdict"), ""),
        e_value=tolerant.number(latency.get("e_value")),
        answers=tolerant.count(latency.get("answers")),
        needed=tolerant.whole(latency.get("needed")),
    )


def _seconds(item: object) -> float | None:
    """*item* as a time: to the nanosecond, and unknown beyond thirty years, so that it can be drawn."""
    value = tolerant.number(item)
    return None if value is None or abs(value) > _LONGEST_SECONDS else round(value, 9)


def read_interval(item: object) -> Interval | None:
    """``[low, high]``; None when it is no such pair of numbers."""
    low, high = _ends(item, tolerant.number)
    return None if low is None or high is None else Interval(low=low, high=high)


def _ends(item: object, read: Callable[[object], float | None]) -> tuple[float | None, float | None]:
    """Both ends of an interval, None where it is open; both None when they are in no order."""
    ends = [read(end) for end in tolerant.items(item)]
    if len(ends) != 2:
        return None, None
    low, high = ends
    if low is not None and high is not None and low > high:
        return None, None
    return low, high


def _quantiles(side: Mapping[str, Any]) -> Quantiles:
    intervals = tolerant.mapping(side.get("intervals"))
    p50, p90, p99 = (
        _quantile(_seconds(side.get(name)), intervals.get(name)) for name in ("p50", "p90", "p99")
    )
    return Quantiles(p50=p50, p90=p90, p99=p99, buckets=_buckets(side.get("buckets")))


def _quantile(value: float | None, interval: object) -> Quantile:
    low, high = _ends(interval, _seconds)
    if low is not None and high is not None:
        return Quantile(value=value, interval=Interval(low=low, high=high))
    return Quantile(value=value, at_least=low, at_most=high)


def _buckets(item: object) -> tuple[Bucket, ...]:
    pairs = [tuple(tolerant.items(entry)) for entry in tolerant.items(item)]
    known = [(_seconds(pair[0]), tolerant.count(pair[1])) for pair in pairs if len(pair) == 2]
    buckets = [Bucket(upper=upper, number=many) for upper, many in known if upper is not None and many >= 0]
    return tuple(sorted(buckets, key=lambda bucket: bucket.upper))
