"""When a worker sheds work: by shares of its limit, with a gap against wavering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.proxy.overload import CALM, NO_COPIES, NO_REQUESTS, Overload


@pytest.mark.parametrize(
    ("held", "stages"),
    [
        ([0, 899, 900, 850, 849], [CALM, CALM, NO_COPIES, NO_COPIES, CALM]),
        ([999, 1000, 950, 949, 849], [NO_COPIES, NO_REQUESTS, NO_REQUESTS, NO_COPIES, CALM]),
        ([5000, 100], [NO_REQUESTS, CALM]),
        ([900, 1200, 900], [NO_COPIES, NO_REQUESTS, NO_COPIES]),
    ],
)
def test_stages(held: list[int], stages: list[int]) -> None:
    """Of a limit of 1,000 bytes, one figure after another."""
    overload = Overload(1000)
    assert [overload.weigh(resident) for resident in held] == stages


def test_without_a_limit_nothing_is_too_much() -> None:
    """Zero is no bound."""
    assert Overload().weigh(1 << 60) == CALM


@given(st.lists(st.integers(0, 2000), min_size=1))
def test_the_last_figure_bounds_the_stage(held: list[int]) -> None:
    """Whatever came before: refused at the limit, calm under 85 %."""
    overload = Overload(1000)
    stage = [overload.weigh(resident) for resident in held][-1]
    assert stage == overload.stage
    assert (stage == NO_REQUESTS) or held[-1] < 1000
    assert (stage == CALM) or held[-1] >= 850
