"""Where a duration falls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.histogram import DELTAS, SECONDS, Histogram


def test_deltas_may_be_negative() -> None:
    """A shadow may be the faster one."""
    histogram = Histogram(DELTAS)
    for value in (-20.0, -0.3, 0.0, 0.3, 20.0):
        histogram.observe(value)
    assert histogram.counts[0] == histogram.counts[-1] == 1
    assert list(DELTAS) == sorted(DELTAS)
    assert [-bound for bound in reversed(DELTAS)] == list(DELTAS)


@given(st.lists(st.floats(-1.0, 100.0)), st.lists(st.floats(-1.0, 100.0)))
def test_two_are_one(mine: list[float], theirs: list[float]) -> None:
    """Added up they are what one had counted of both."""
    one, other, both = Histogram(), Histogram(), Histogram()
    for value in mine:
        one.observe(value)
    for value in theirs:
        other.observe(value)
    for value in [*mine, *theirs]:
        both.observe(value)
    one.add(other.counts, other.total)
    assert one.counts == both.counts
    assert one.total == pytest.approx(both.total)


def test_bounds_ascend() -> None:
    """As counting and Prometheus take for granted."""
    assert list(SECONDS) == sorted(set(SECONDS))
    assert len(Histogram().counts) == len(SECONDS) + 1
