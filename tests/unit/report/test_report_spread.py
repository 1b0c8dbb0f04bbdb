"""Geometry of how answer times spread."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.latency import read_latency
from understudy.report.spread import TALL, WIDE, SignedScale, Spread, difference, side_by_side

TIMES = st.floats(min_value=1e-9, max_value=1e9)
DELTAS = st.floats(min_value=-1e9, max_value=1e9)


def side(buckets: list[list[float]], **more: object) -> dict[str, object]:
    """One side of a latency as the report has it."""
    ends = [upper for upper, _ in buckets]
    middle = ends[len(ends) // 2] if ends else None
    return {"p50": middle, "p90": middle, "p99": middle, "buckets": buckets, "intervals": {}, **more}


def counted(values: list[float]) -> list[list[float]]:
    """A bucket per value, ascending, each with another number."""
    return [[value, place + 1] for place, value in enumerate(sorted(set(values)))]


def assert_inside(spread: Spread) -> None:
    """Everything drawn lies in the picture, and labels do not touch."""
    for series in spread.series:
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", series.path)]
        assert all(0 <= number <= max(WIDE, TALL) for number in numbers)
        assert all(0 <= mark.start <= mark.start + mark.width <= 100.02 for mark in series.marks)
        assert all(0 <= mark.at <= 100 for mark in series.marks)
    places = [tick.at for tick in spread.ticks]
    assert places == sorted(places)
    assert all(after - before >= 17.9 for before, after in pairwise(places))


@settings(max_examples=50)
@given(st.lists(TIMES, max_size=20), st.lists(TIMES, max_size=20))
def test_both_sides_stay_within_the_picture(primary: list[float], shadow: list[float]) -> None:
    """Whatever was measured, nanoseconds or years."""
    latency = read_latency({"primary": side(counted(primary)), "shadow": side(counted(shadow))})

    spread = side_by_side(latency)

    assert (spread is None) == (not primary and not shadow)
    if spread is not None:
        assert_inside(spread)


@settings(max_examples=50)
@given(st.lists(DELTAS, max_size=20))
def test_the_difference_stays_within_the_picture(deltas: list[float]) -> None:
    """Faster, slower, both or neither; zero is always on the axis."""
    spread = difference(read_latency({"delta": side(counted(deltas))}))

    assert (spread is None) == (not deltas)
    if spread is not None:
        assert_inside(spread)
        assert spread.zero is not None
        assert 0 <= spread.zero <= 100
        assert any(tick.label == "0" for tick in spread.ticks)


def test_what_is_twice_as_dense_is_twice_as_high() -> None:
    """Buckets of equal width: heights go with the counts, the tallest fills the box."""
    latency = read_latency({"primary": side([[0.01, 10], [0.02, 20], [0.04, 5]])})

    spread = side_by_side(latency)

    assert spread is not None
    heights = [TALL - float(top) for top in re.findall(r"V(\d+\.\d)H", spread.series[0].path)]
    assert heights == pytest.approx([50, 100, 25], abs=1)


def test_what_does_not_touch_is_drawn_apart() -> None:
    """Between 1 ms and 1 s there was nothing, so nothing is drawn there."""
    latency = read_latency({"primary": side([[0.001, 10], [0.0011, 10], [0.9, 0], [1.0, 1], [1.1, 1]])})

    spread = side_by_side(latency)

    assert spread is not None
    assert spread.series[0].path.count("M") == 2


def test_an_interval_is_drawn_around_its_quantile() -> None:
    """From its low end to its high end, on the same axis."""
    primary = side([[0.01, 1], [0.1, 1]], p50=0.02, intervals={"p50": [0.01, 0.1]})

    spread = side_by_side(read_latency({"primary": primary}))

    assert spread is not None
    mark = spread.series[0].marks[0]
    assert mark.start < mark.at < mark.start + mark.width


def test_the_signed_axis_is_even_on_both_sides() -> None:
    """A factor of ten is as long to the left of zero as to the right."""
    scale = SignedScale(low=-1.0, high=1.0)

    assert scale.at(0) == 50
    assert scale.at(-0.01) + scale.at(0.01) == pytest.approx(100)
    assert scale.at(1) == 100
