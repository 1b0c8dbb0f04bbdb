"""What JSON can say is copied, and what it cannot say is told with its place, on whichever way."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.config.place import Place
from understudy.config.plain import DEEPEST, MOST_VALUES, plain

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from(["\ud800", "Ω", 2**64, -(2**63) - 1, 2**64 - 1, math.nan, math.inf, 1.0, -0.0]),
    st.binary(max_size=1),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["a", "Ω", "\udfff", 1, None]), inner, max_size=3)
    ),
    max_leaves=8,
)


def told(value: Any) -> list[str]:
    """The problems of *value*."""
    place = Place()
    plain(value, place)
    return [str(problem) for problem in place.problems]


@settings(max_examples=50)
@given(values)
def test_what_can_be_said_is_copied_and_the_rest_is_told(value: Any) -> None:
    """A tuple asks for the way with places, so the two ways agree on all that one of them copies."""
    place = Place()
    copied = plain(value, place)
    careful = Place()
    again = plain((value,), careful)
    assert repr([copied]) == repr(again)
    assert len(place.problems) == len(careful.problems)
    assert copied is not value or not isinstance(value, dict | list)


def test_depth_and_number_are_bounded() -> None:
    """The last value that fits is taken, the next is not."""
    deep: Any = "a"
    for _ in range(DEEPEST):
        deep = [deep]
    assert told(deep) == []
    assert len(told([deep])) == 1
    assert told(["a"] * (MOST_VALUES - 1)) == []
    assert any("holds more than" in problem for problem in told(["a"] * MOST_VALUES))


@pytest.mark.parametrize(
    "value", [{"a": {"b": math.nan}}, {"a": {"b": "\ud800"}}, {"a": {"b": b""}}, {"a": {"b": 2**64}}]
)
def test_what_cannot_be_said_has_its_place(value: Any) -> None:
    """The path stands before what is wrong."""
    (problem,) = told(value)
    assert problem.startswith("a.b: ")
