"""Values in JSON's words: what differs in Python differs there, and what is equal is equal."""

import array
import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import uuid
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.middleware.plain import as_json


class Money(decimal.Decimal):
    """A number with attributes of its own, of which it has none."""


class Stamp(datetime.datetime):
    """As libraries for times make theirs."""


class Hidden:
    __slots__ = ("__x",)

    def __init__(self, x: int) -> None:
        self.__x = x


class One:
    __slots__ = "value"

    def __init__(self, value: int) -> None:
        self.value = value


class Both(One):
    def __init__(self, value: int, more: int) -> None:
        super().__init__(value)
        self.more = more


@dataclasses.dataclass
class Point:
    x: Any


class Pair(NamedTuple):
    x: int
    at: datetime.date


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


DAY = datetime.date(2026, 1, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (math.nan, None),
        ([math.inf], [-math.inf]),
        ({"a": [None, math.nan]}, {"a": [None, None]}),
        (Point(math.nan), Point(None)),
        ({(1, 2): "a"}, {(1, 2): "b"}),
        ({(1, 2): "a"}, {(1, 3): "a"}),
        ({b"k": 1}, {b"k": 2}),
        ({"x": b"a"}, {"x": "a"}),
        ([b"\xff"], [b"\xfe"]),
        (Money("1"), Money("2")),
        (Stamp(2026, 1, 2), Stamp(2026, 1, 3)),
        (Hidden(1), Hidden(2)),
        (One(1), One(2)),
        (Both(1, 0), Both(2, 0)),
        (fractions.Fraction(1, 3), fractions.Fraction(2, 3)),
        (datetime.timedelta(1), datetime.timedelta(2)),
        (pathlib.Path("a"), pathlib.Path("b")),
        (collections.deque([1]), collections.deque([2])),
        (array.array("d", [math.nan]), array.array("d", [0.0])),
        (range(10**15), range(3)),
        ({1: 2}.keys(), {2: 2}.keys()),
        (Colour.RED, Colour.BLUE),
        ({"a": "\ud800"}, {"a": "\ud801"}),
        ([2**70], [2**70 + 1]),
        (1j, 2j),
    ],
)
def test_what_differs_differs_in_words(one: object, other: object) -> None:
    """And the same value, made twice, has the same words."""
    assert as_json(one) != as_json(other)
    assert as_json(one) == as_json(one)


@pytest.mark.parametrize(
    "value",
    [
        Point(1),
        DAY,
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC),
        uuid.UUID(int=7),
        Colour.RED,
        {2: 2, True: 3, 1.5: 4, DAY: 5, Colour.RED: 6, uuid.UUID(int=7): 8},
        Pair(1, DAY),
        [Point({1, 2})],
        Money("1.50"),
        One(3),
    ],
)
def test_a_number_that_is_none_beside_it_changes_no_other_word(value: object) -> None:
    """Whichever way a value is read: one side may hold a huge integer where the other holds a small one."""
    small, huge = as_json([value, 5]), as_json([value, 2**70])
    assert b"".join(small.split()) == b"".join(huge.split()).replace(b"1180591620717411303424", b"5")


def test_a_path_that_was_used_is_the_same() -> None:
    """What it has learned about itself meanwhile is no attribute that counts."""
    used = pathlib.Path("a/b")
    assert hash(used) == hash(pathlib.Path("a/b"))
    assert str(used)
    assert as_json([used]) == as_json([pathlib.Path("a/b")])


@pytest.mark.parametrize("value", [object(), int, print, asyncio.Event, iter([1])])
def test_what_has_no_words_is_refused(value: object) -> None:
    """Rather than told as something that every other of its kind equals."""
    with pytest.raises((TypeError, ValueError, RecursionError)):
        as_json(value)


KEYS = st.one_of(st.text(max_size=3), st.tuples(st.integers(0, 2), st.integers(0, 2)), st.binary(max_size=2))
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=3)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(one=VALUES, other=VALUES)
def test_equal_words_are_equal_values(one: object, other: object) -> None:
    """Whatever is nested in lists and mappings, of any of these kinds."""
    if as_json([one]) == as_json([other]):
        assert repr(one) == repr(other)
