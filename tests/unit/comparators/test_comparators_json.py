"""`understudy.comparators.json_tree`, through `Comparison`: where two JSON bodies differ."""

import json
from decimal import Decimal
from typing import Any

import pytest
from comparators_examples import answer, compare, compare_json, named
from hypothesis import given
from hypothesis import strategies as st

from understudy.comparators.json_tree import ABSENT, freeze, is_same, load

UUID = "0d3f6f5e-0f57-4b5b-a6f6-0e1c9f3f2a11"

numbers = st.floats(allow_nan=False, allow_infinity=False)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
trees = st.recursive(
    leaves, lambda t: st.lists(t, max_size=4) | st.dictionaries(st.text(max_size=4), t, max_size=4)
)


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("/body/a", "value")]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": -0.0}, {"a": 0}, []),
        ({"a": 1}, {"a": True}, [("/body/a", "type")]),
        ({"a": 0}, {"a": False}, [("/body/a", "type")]),
        ({"a": [1, {"b": True}]}, {"a": [1, {"b": 1}]}, [("/body/a/*/b", "type")]),
        ({"a": 1}, {"a": "1"}, [("/body/a", "type")]),
        ({"a": None}, {"a": "x"}, [("/body/a", "type")]),
        ({"a": None}, {}, [("/body/a", "missing")]),
        ({}, {"a": None}, [("/body/a", "extra")]),
        ({"a": {"b": {"c": 1}}}, {}, [("/body/a", "missing")]),
        ({}, {"a": {"b": {"c": 1}}}, [("/body/a", "extra")]),
        ({"a": {}}, {"a": []}, [("/body/a", "type")]),
        ([1, 2, 3], [3, 1, 2], [("/body", "order")]),
        ({"a": [{"x": 1}, {"x": 2}]}, {"a": [{"x": 2}, {"x": 1.0}]}, [("/body/a", "order")]),
        ([1, 2, 3], [1, 2], [("/body", "length")]),
        ([1, 2], [2, 1, 3], [("/body", "length"), ("/body/*", "value")]),
        ([{"p": 1}, {"p": 2}], [{"p": 5}, {"p": 6}], [("/body/*/p", "value")]),
        ([1, True], [True, 1], [("/body", "order")]),
        ({"a": "x"}, ["x"], [("/body", "type")]),
        ("x", "y", [("/body", "value")]),
        (9007199254740993, 9007199254740992, [("/body", "value")]),
        (2**64, 2**64 + 1, [("/body", "value")]),
        (-(2**63) - 1, -(2**63) - 2, [("/body", "value")]),
        (10**40, 1e40, [("/body", "value")]),
        ({"a/b": 1, "c~d": 1}, {"a/b": 2, "c~d": 2}, [("/body/a~1b", "value"), ("/body/c~0d", "value")]),
        ({"": 1}, {"": 2}, [("/body/", "value")]),
        ({"17": 1}, {"17": 2}, [("/body/{key}", "value")]),
        ({UUID: {"n": 1}}, {UUID: {"n": 2}}, [("/body/{key}/n", "value")]),
        ({"2026-01-31": 1}, {}, [("/body/{key}", "missing")]),
        ({"line_2": 1}, {"line_2": 2}, [("/body/line_2", "value")]),
        ({"a": '{"b": [1]}'}, {"a": '{"b":[1.0]}'}, []),
        ({"a": '{"b": [1]}'}, {"a": '{"b": [2]}'}, [("/body/a/b/*", "value")]),
        ({"a": '{"b": true}'}, {"a": '{"b": 1}'}, [("/body/a/b", "type")]),
        ({"a": '{"b": 1}'}, {"a": "[1]"}, [("/body/a", "type")]),
        ({"a": '{"b": 1}'}, {"a": "{oops"}, [("/body/a", "value")]),
        (
            {"a": json.dumps({"b": json.dumps([1])})},
            {"a": json.dumps({"b": "[2]"})},
            [("/body/a/b/*", "value")],
        ),
        ("", "{", [("/body", "value")]),
    ],
)
def test_kinds_and_paths(primary: Any, shadow: Any, expected: list[tuple[str, str]]) -> None:
    """Every kind stands at its path, once."""
    assert named(compare_json(primary, shadow)) == sorted(expected)


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        ('{"a": 1e2}', '{"a": 100}', []),
        ('{"a": -0}', '{"a": 0}', []),
        ('{"a": -0.0}', '{"a": 0}', []),
        ('{"a": 9007199254740993}', '{"a": 9007199254740992.0}', [("/body/a", "value")]),
        ('{"a": 9007199254740992}', '{"a": 9007199254740992.0}', []),
        ('{"a": 1e400}', '{"a": 1e401}', [("/body/a", "value")]),
        ('{"a": 1e400}', '{"a": 10e399}', []),
        ('{"a": 1, "a": 2}', '{"a": 2}', []),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}', [("/body/a", "value")]),
        ('{"a": 1, "a": 2}', '{"a": 1}', [("/body/a", "value")]),
        ('["\\ud800"]', '["\\ud801"]', [("/body/*", "value")]),
        ('{"\\ud800": 1}', '{"\\ud800": 2}', [("/body/?", "value")]),
        ('{"a": NaN}', '{"a": 1}', [("/body", "body")]),
        (
            '{"": {".": {"a/b": {"~": {"\\"": 1}}}}}',
            '{"": {".": {"a/b": {"~": {"\\"": 2}}}}}',
            [('/body//./a~1b/~0/"', "value")],
        ),
        ("\ufeff[1]", "[1]", []),
        ("[1, [2]]", "[1, [3]]", [("/body/*/*", "value")]),
    ],
)
def test_what_json_texts_mean(primary: str, shadow: str, expected: list[tuple[str, str]]) -> None:
    """Numbers by their value; of a key that stands twice the last value, as nearly every reader takes it."""
    kind = "application/json"
    assert named(compare(answer(primary, kind=kind), answer(shadow, kind=kind))) == expected


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_json_in_another_charset(charset: str) -> None:
    """By the charset that is stated, or by the byte order mark alone."""
    a = answer('{"a": "é"}'.encode(charset), kind=f"application/json; charset={charset}")
    b = answer('{"a": "è"}', kind="application/json")
    assert ("/body/a", "value") in named(compare(a, b))
    marked = answer('\ufeff{"a": "é"}'.encode("utf-16"), kind="application/json")
    assert named(compare(marked, b)) == [("/body/a", "value")]


def test_a_rule_for_a_text_of_json_still_names_the_text() -> None:
    """Matching and ignore at the text's own path come first; below it they name what is inside."""
    a, b = {"a": '{"b": 1, "c": 1}'}, {"a": '{"b": 2, "c": 1}'}
    assert named(compare_json(a, b, {"matching": {"/a": r"\{.*\}"}})) == []
    assert named(compare_json(a, b, {"ignore": ["/a"]})) == []
    assert named(compare_json(a, b, {"ignore": ["/a/b"]})) == []
    assert named(compare_json(a, b, {"ignore": ["/a/c"]})) == [("/body/a/b", "value")]


def test_the_sample_of_a_long_text_shows_the_place() -> None:
    """What stands around the first difference, not the first words."""
    a, b = ({"t": "words " * 500 + word + " words" * 500} for word in ("old", "new"))
    (found,) = compare_json(a, b)
    assert "old" in str(found.primary)
    assert "new" in str(found.shadow)
    assert len(str(found.shadow)) < 300


def test_the_sample_is_the_first_place_and_says_where() -> None:
    """Array positions are grouped; the exact pointer of the first one is kept."""
    (difference,) = compare_json({"items": [{"p": 1}, {"p": 2}]}, {"items": [{"p": 1}, {"p": 3}]})
    assert (difference.path, difference.at) == ("/body/items/*/p", "/body/items/1/p")
    assert (difference.primary, difference.shadow) == (2, 3)


def test_many_siblings_of_one_shape_are_a_map() -> None:
    """More than 50 keys that look alike, with values that look alike, collapse; a wide record does not."""
    letters = [a + b + c for a in "ABCD" for b in "ABCD" for c in "ABCD"]
    rates = dict.fromkeys(letters, 1.0)
    assert named(compare_json(rates, {**rates, "ABC": 2.0})) == [("/body/{key}", "value")]
    record: dict[str, Any] = {key: [key, 1, None, {}][i % 4] for i, key in enumerate(letters)}
    assert named(compare_json(record, {**record, "ABC": "new"})) != [("/body/{key}", "value")]


def test_depth_is_bounded() -> None:
    """Ten thousand levels are compared, or refused, without a crash."""
    for levels in (150, 900, 10_000):
        a, b = ("[" * levels + x + "]" * levels for x in "12")
        same = answer(a, kind="application/json")
        assert named(compare(same, answer(b, kind="application/json")))
        assert named(compare(same, answer(a + " ", kind="application/json"))) in ([], [("/body", "body")])


def test_differences_are_bounded_and_say_so() -> None:
    """An exchange with hundreds of differing paths names 200 and that there are more."""
    words = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"]
    found = compare_json(dict.fromkeys(words, 1) | {"x": "s"}, dict.fromkeys(words, 2) | {"x": "t"})
    assert len(found) == 201
    assert found[-1].path == "/body/{more}"


@pytest.mark.parametrize("text", ["", "nul", "NaN", "[1,]", "{1:2}", "'a'", "\ud800"])
def test_what_is_not_json_is_absent(text: str) -> None:
    """Only RFC 8259 is JSON."""
    assert load(text) is ABSENT


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e400", "1e400"), ('"\\ud800"', "\ud800"), (b"\xef\xbb\xbf1", 1), ("18446744073709551616", 2**64)],
)
def test_what_orjson_refuses_or_rounds_is_read_exactly(text: bytes | str, value: Any) -> None:
    """Huge numbers, lone surrogates and a byte order mark are still JSON."""
    read = load(text)
    assert str(read).lower().replace("+", "") == str(value).lower() or read == value


@given(trees)
def test_a_tree_equals_itself_in_any_spelling(tree: Any) -> None:
    """Indented and with sorted keys it is the same content."""
    other = answer(json.dumps(tree, indent=1, sort_keys=True), kind="application/json")
    assert compare(answer(json.dumps(tree), kind="application/json"), other) == []


@given(trees, trees)
def test_a_difference_is_found_exactly_when_there_is_one(a: Any, b: Any) -> None:
    """The walk agrees with strict equality, in both directions, and finds no path twice."""
    found = compare_json(a, b)
    assert bool(found) == (not is_same(a, b))
    assert bool(compare_json(b, a)) == bool(found)
    keys = [(d.path, d.kind) for d in found]
    assert len(keys) == len(set(keys))


@given(trees, trees)
def test_frozen_twins_agree_with_equality(a: Any, b: Any) -> None:
    """Two trees are the same exactly when their hashable twins are."""
    assert is_same(a, b) == (freeze(a) == freeze(b))


@given(trees, trees)
def test_missing_and_extra_mirror_each_other(a: Any, b: Any) -> None:
    """Swapping the sides swaps missing and extra."""
    there = {d.path for d in compare_json(a, b) if d.kind == "missing"}
    back = {d.path for d in compare_json(b, a) if d.kind == "extra"}
    assert there == back


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (0, -0.0), (10**20, 1e20), (-(2**70), -float(2**70)), (10**400, Decimal("1e400"))],
)
def test_equal_numbers_have_equal_twins(one: Any, other: Any) -> None:
    """Whatever they were read as; and never that of their text."""
    assert freeze(one) == freeze(other)
    assert freeze(one) not in (freeze(str(one)), freeze(-one - 1))


def test_numbers_of_one_hash_take_linear_time() -> None:
    """Python's hash of an integer is its rest by 2^61 - 1, which is 0 for all of these."""
    many = [(10**20 + i) * (2**61 - 1) for i in range(20_000)]
    assert named(compare_json(many, many[::-1])) == [("/body", "order")]


@pytest.mark.parametrize("charset", ["utf-16", "utf-32", "utf-16-le"])
def test_true_is_not_one_in_any_charset(charset: str) -> None:
    """Where the bytes do not spell true, either."""
    a, b = (
        answer(text.encode(charset), kind=f"application/json; charset={charset}")
        for text in ('{"a": true}', '{"a": 1}')
    )
    assert named(compare(a, b)) == [("/body/a", "type")]


def test_a_path_has_a_bounded_length() -> None:
    """It is cut before the name that is too much; the exact place is in the sample."""

    def deep(value: int) -> Any:
        tree: Any = value
        for _ in range(60):
            tree = {"name" + "e" * 60: tree}
        return tree

    (found,) = compare_json(deep(1), deep(2))
    assert len(found.path) < 1000
    assert found.path.endswith("e/…")
    assert found.at.count("/") == 61
