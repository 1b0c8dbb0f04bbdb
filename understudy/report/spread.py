"""Geometry of how answer times spread: curves, quantiles with their intervals, axes; in percent."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from understudy.report.chart import Scale, Tick, round_down, round_up
from understudy.report.latency import Bucket, Latency, Quantile, Quantiles
from understudy.report.numbers import signed

TALL: Final = 100
WIDE: Final = 1000
"""The box that curves are drawn in; it is stretched over the picture."""

_WIDEST: Final = 4.0  # percent: a lonely bucket is drawn no wider, lest it look like many
_THINNEST: Final = 0.2
_LEAST: Final = 1.5  # of TALL: what was seen once is seen in the picture
_LEAST_GAP: Final = 18.0
_SHORTEST: Final = 1e-6
_LONGEST: Final = 1e6
"""Seconds. What lies beyond is no answer time, and stands at the edge."""


class Axis(Protocol):
    """Where a time lies."""

    def at(self, seconds: float) -> float:
        """Place of *seconds* in percent, kept within the axis."""

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Round times, far enough apart to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedScale:
    """An axis through zero: nearly linear below ``unit`` seconds, logarithmic beyond, on both sides.

    Symmetric logarithm (Webber 2013, "A bi-symmetric log transformation for wide-range data").
    """

    low: float
    high: float
    unit: float = 0.0001

    def at(self, seconds: float) -> float:
        """Place of *seconds* in percent, kept within the axis."""
        low, high = self._bent(self.low), self._bent(self.high)
        share = (self._bent(min(max(seconds, self.low), self.high)) - low) / (high - low)
        return round(100 * share, 2)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Zero, then powers of ten from the far ends inwards, as many as can be read."""
        powers = [10.0**power for power in range(4, -5, -1)]
        marks = [0.0, *(sign * mark for mark in powers for sign in (1, -1))]
        taken: list[Tick] = []
        for mark in marks:
            at = self.at(mark)
            if self.low <= mark <= self.high and all(abs(at - tick.at) >= _LEAST_GAP for tick in taken):
                taken.append(Tick(at=at, label=signed(mark).replace(".0", "") if mark else "0"))
        return tuple(sorted(taken, key=lambda tick: tick.at))

    def _bent(self, seconds: float) -> float:
        return math.copysign(math.log1p(abs(seconds) / self.unit), seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A quantile at *at* percent, and the interval it lies in, *width* wide from *start* on."""

    name: str
    at: float
    start: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One distribution: ``path`` is an SVG path in a box of ``WIDE`` by ``TALL``, empty without buckets."""

    name: str
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Distributions over one axis; ``zero`` is where no difference lies, if that is on it."""

    ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    zero: float | None = None


def side_by_side(latency: Latency) -> Spread | None:
    """How long primary and shadow took, over a logarithmic axis; None when neither is known."""
    sides = {"primary": latency.primary, "shadow": latency.shadow}
    times = [max(time, _SHORTEST) for side in sides.values() for time in _times(side)]
    if not times:
        return None
    low, high = round_down(min(times) * 0.9), round_up(max(times))  # room for the first bucket
    scale = Scale(low=low, high=high if high > low * 1.5 else low * 10)
    return Spread(ticks=scale.ticks, series=_series(sides, scale))


def difference(latency: Latency) -> Spread | None:
    """How much longer the shadow took in the same exchange; None when that is not known."""
    times = list(_times(latency.delta))
    if not times:
        return None
    faster, slower = -min(times), max(times)
    low = -round_up(faster) if faster > _SHORTEST else 0.0
    high = round_up(slower) if slower > _SHORTEST else 0.0
    scale = SignedScale(low=low, high=high if high > low else 0.001)
    return Spread(ticks=scale.ticks, series=_series({"delta": latency.delta}, scale), zero=scale.at(0.0))


def _times(side: Quantiles) -> Iterable[float]:
    for bucket in side.buckets:
        yield min(max(bucket.upper, -_LONGEST), _LONGEST)
    for _, quantile in side.named:
        interval = quantile.interval
        ends = (interval.low, interval.high) if interval else (quantile.at_least, quantile.at_most)
        for time in (quantile.value, *ends):
            if time is not None:
                yield min(max(time, -_LONGEST), _LONGEST)


def _series(sides: dict[str, Quantiles], axis: Axis) -> tuple[Series, ...]:
    bars = {name: _bars(side.buckets, axis) for name, side in sides.items()}
    tallest = max((height for found in bars.values() for _, _, height in found), default=0.0)
    return tuple(
        Series(name=name, path=_path(bars[name], tallest), marks=_marks(side, axis))
        for name, side in sides.items()
    )


def _bars(buckets: Sequence[Bucket], axis: Axis) -> list[tuple[float, float, float]]:
    """(from, to, density) of each bucket that holds anything.

    The first has no bucket before it that would say where it begins: it is drawn as wide as the next.
    """
    total = sum(bucket.number for bucket in buckets)
    ends = [axis.at(bucket.upper) for bucket in buckets]
    first = 2 * ends[0] - ends[1] if len(ends) > 1 else ends[0] - _WIDEST if ends else 0.0
    bars = []
    for start, end, bucket in zip([first, *ends], ends, buckets, strict=False):
        start = min(max(start, end - _WIDEST, 0.0), 100 - _THINNEST)
        end = max(end, start + _THINNEST)
        if bucket.number:
            bars.append((start, end, bucket.number / total / (end - start)))
    return bars


def _path(bars: Sequence[tuple[float, float, float]], tallest: float) -> str:
    """The outline of *bars*, resting on the ground; what touches is one outline."""
    steps: list[str] = []
    last = -1.0
    for start, end, density in bars:
        height = max(TALL * density / tallest, _LEAST)
        if start - last > 0.05:
            steps.append(f"{f'V{TALL}' if steps else ''}M{_wide(start)} {TALL}")
        steps.append(f"V{TALL - height:.1f}H{_wide(end)}")
        last = end
    return "".join([*steps, f"V{TALL}"]) if steps else ""


def _wide(percent: float) -> str:
    return f"{percent * WIDE / 100:.0f}"


def _marks(side: Quantiles, axis: Axis) -> tuple[Mark, ...]:
    marks = []
    for name, quantile in side.named:
        if quantile.value is None:
            continue
        start, end = _range(quantile, axis)
        at = axis.at(quantile.value)
        marks.append(Mark(name=name, at=at, start=start, width=round(end - start, 2)))
    return tuple(marks)


def _range(quantile: Quantile, axis: Axis) -> tuple[float, float]:
    """Where the interval begins and ends; one without an end runs to the edge."""
    interval = quantile.interval
    if interval is not None:
        return axis.at(interval.low), axis.at(interval.high)
    if quantile.at_least is None and quantile.at_most is None:
        return 0.0, 0.0
    low = 0.0 if quantile.at_least is None else axis.at(quantile.at_least)
    return low, 100.0 if quantile.at_most is None else axis.at(quantile.at_most)
