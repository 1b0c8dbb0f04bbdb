"""`understudy.replay.pace`: when each request is due."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.replay import as_recorded, at_once, at_rate


def test_at_once_and_at_a_rate() -> None:
    """All now, or evenly."""
    assert [at_once(n) for n in range(3)] == [0.0, 0.0, 0.0]
    assert [at_rate(4.0)(n) for n in range(3)] == [0.0, 0.25, 0.5]


def test_recorded_gaps_are_kept_and_may_be_sped_up() -> None:
    """A second round begins a mean gap after the first."""
    due = as_recorded([1000.0, 1001.0, 1004.0], speed=2.0)
    assert [due(n) for n in range(5)] == [0.0, 0.5, 2.0, 3.0, 3.5]


def test_one_request_or_none_with_a_time_is_played_at_once() -> None:
    """There is no gap to keep."""
    assert [as_recorded([5.0])(n) for n in range(3)] == [0.0, 0.0, 0.0]
    assert [as_recorded([None, None])(n) for n in range(3)] == [0.0, 0.0, 0.0]


@given(
    times=st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=20),
    speed=st.sampled_from([0.5, 1.0, 3.0]),
)
@settings(max_examples=50, deadline=None)
def test_turns_ascend_whatever_was_recorded(times: list[float | None], speed: float) -> None:
    """Clocks of recorders jump; nothing is due before what was asked before it."""
    due = as_recorded(times, speed=speed)
    turns = [due(n) for n in range(3 * len(times))]
    assert turns == sorted(turns)
    assert turns[0] == pytest.approx(0.0)
