"""Geometry of the pictures: where bars begin and end, in percent of the width."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from understudy.report.numbers import duration
from understudy.report.view import Endpoint, Flow

_STEPS = (1, 2, 5)
_LEAST_GAP = 20.0  # percent of the width that one label needs on a narrow picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar from *start* on, *width* wide, both in percent; *name* says what it stands for."""

    name: str
    start: float
    width: float
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A grid line at *at* percent."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A logarithmic time axis from *low* to *high* seconds.

    Logarithmic, because endpoints lie orders of magnitude apart and a reader asks by what factor the
    shadow is slower: equal factors are equal lengths everywhere.
    """

    low: float
    high: float

    def at(self, seconds: float) -> float:
        """Place of *seconds* in percent, kept within the axis."""
        if seconds <= self.low:
            return 0.0
        share = math.log(min(seconds, self.high) / self.low) / math.log(self.high / self.low)
        return round(100 * share, 2)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        """Round times, far enough apart to be read."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps: Sequence[int] = _STEPS if self.high / self.low < 150 else (1,)
        marks = [step * 10.0**power for power in decades for step in steps]
        inside = [mark for mark in marks if self.low * 0.999 <= mark <= self.high * 1.001]
        ticks: list[Tick] = []
        for mark in inside:
            if not ticks or self.at(mark) - ticks[-1].at >= _LEAST_GAP:
                ticks.append(Tick(at=self.at(mark), label=duration(mark).replace(".0", "")))
        return tuple(ticks)


def time_scale(endpoints: Iterable[Endpoint]) -> Scale | None:
    """The axis that holds every p50 and p99 of *endpoints*; None when none is known."""
    times = [
        time
        for item in endpoints
        for time in (item.primary_p50, item.primary_p99, item.shadow_p50, item.shadow_p99)
        if time is not None and time > 0
    ]
    if not times:
        return None
    low, high = round_down(min(times)), round_up(max(times))
    return Scale(low=low, high=high if high > low * 1.5 else low * 10)


def time_bar(scale: Scale, name: str, p50: float | None, p99: float | None) -> Bar | None:
    """A bar from the median to the 99th percentile; None when both are unknown."""
    known = [time for time in (p50, p99) if time is not None]
    if not known:
        return None
    start, end = scale.at(min(known)), scale.at(max(known))
    width = max(end - start, 1.2)  # a bar of no length would not be seen
    return Bar(name=name, start=min(start, 100 - width), width=round(width, 2))


def flow_bars(flow: Flow) -> tuple[Bar, ...]:
    """What became of every eligible request, as shares of one line."""
    parts = (
        ("answered", flow.answered),
        ("in flight", flow.in_flight),
        ("failed", flow.failed_count),
        ("skipped", flow.skipped_count),
        ("dropped", flow.dropped_count),
    )
    return stacked(parts)


def stacked(parts: Iterable[tuple[str, int]]) -> tuple[Bar, ...]:
    """Bars end to end; parts of nothing are left out."""
    counted = [(name, number) for name, number in parts if number > 0]
    total = sum(number for _, number in counted)
    bars, start = [], 0.0
    for name, number in counted:
        width = 100 * number / total
        bars.append(Bar(name=name, start=round(start, 3), width=round(width, 3), number=number))
        start += width
    return tuple(bars)


def round_down(seconds: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above *seconds*."""
    power = 10.0 ** math.floor(math.log10(seconds))
    return max(step * power for step in _STEPS if step * power <= seconds * 1.0001)


def round_up(seconds: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below *seconds*."""
    power = 10.0 ** math.floor(math.log10(seconds))
    return min(step * power for step in (*_STEPS, 10) if step * power >= seconds * 0.9999)
