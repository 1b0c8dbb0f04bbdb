"""A sample explained: every place where its answers differ, in the paths that reports use."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.shadow.explanation import MOST_CHANGES, explain

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def answer(body: Any, *headers: tuple[str, str], status: int = 200) -> dict[str, Any]:
    return {"status": status, "headers": [list(field) for field in headers], "body": body}


def test_every_place_is_told() -> None:
    """Status, fields and the body: what is other, gone, new or of another type."""
    primary = answer({"a": 1, "b": [1, 2, 3], "c": "x", "t/x": 1}, ("X-A", "1"), ("X-B", "1"), status=200)
    shadow = answer(
        {"a": 2, "b": [1, 2], "c": 5, "t/x": 2, "d": None}, ("x-a", "2"), ("X-C", "1"), status=500
    )
    assert [(change["path"], change["change"]) for change in explain(primary, shadow)] == [
        ("/body/a", "value"),
        ("/body/b/2", "missing"),
        ("/body/c", "type"),
        ("/body/d", "extra"),
        ("/body/t~1x", "value"),
        ("/headers/x-a", "value"),
        ("/headers/x-b", "missing"),
        ("/headers/x-c", "extra"),
        ("/status", "value"),
    ]


def test_fields_of_one_name_are_a_list() -> None:
    """Set-Cookie comes several times."""
    primary, shadow = answer(None, ("A", "1"), ("a", "2")), answer(None, ("A", "1"), ("A", "3"))
    assert [change["path"] for change in explain(primary, shadow)] == ["/headers/a/1"]


@settings(max_examples=50, deadline=None)
@given(Json, Json)
def test_nothing_raises_and_equal_is_equal(one: Any, other: Any) -> None:
    """Whatever the bodies are."""
    assert explain(answer(one), answer(one)) == []
    explain(answer(one), answer(other))


def test_numbers_are_compared_by_value() -> None:
    """1 and 1.0 are one number; the neighbours of 2^53 are two, and so are 1 and true."""
    one = {"status": 200, "headers": [], "body": {"a": 1, "b": 9007199254740993, "c": 1, "d": 1}}
    other = {"status": 200, "headers": [], "body": {"a": 1.0, "b": 9007199254740992, "c": True, "d": 1.5}}
    told = [(change["path"], change["change"]) for change in explain(one, other)]
    assert told == [("/body/b", "value"), ("/body/c", "type"), ("/body/d", "value")]


def test_what_is_stored_wrongly_is_not_explained() -> None:
    """A store may hold any JSON."""
    assert explain({"headers": 5}, {"headers": None}) == []
    assert explain({}, {}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (list(range(1600)), list(range(1600))[::-1]),
        ([{"a": n} for n in range(800)], [{"a": n, "b": 1} for n in range(800)]),
        ({f"k{n}": n for n in range(1200)}, {f"l{n}": n for n in range(1200)}),
        ("a" * 16_000, "b" * 16_000),
    ],
    ids=["lists", "objects", "names", "texts"],
)
def test_the_largest_samples_take_a_moment(one: Any, other: Any) -> None:
    """Sixteen kilobytes of the worst, in far less than is waited for; no more changes than anybody reads."""
    started = time.process_time()
    changes = explain(answer(one), answer(other))
    assert time.process_time() - started < 10.0
    assert 0 < len(changes) <= MOST_CHANGES
