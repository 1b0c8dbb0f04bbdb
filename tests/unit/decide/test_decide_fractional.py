"""`fractional`: flagd's arithmetic in its three generations.

The tables are the vectors of flagd's own conformance suite (flagd-testbed, fractional.feature).
"""

# ruff: noqa: E501  # a table reads best with one case a line

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.decide.definition import Document
from understudy.decide.fields import DataResolver
from understudy.decide.fractional import drawer
from understudy.decide.hashing import bucket, legacy_bucket, murmur
from understudy.decide.logic import Compiler, arguments_of
from understudy.decide.operators import OPERATORS

CARDS = [["clubs", 25], ["diamonds", 25], ["hearts", 25], ["spades", 25]]
BUCKETS = [[f"bucket{number}", 1] for number in range(1, 26)]
FLAG_KEY, NAME, UNIT = {"var": "$flagd.flagKey"}, {"var": "user.name"}, {"var": "targetingKey"}


def evaluate(rule: Any, data: dict[str, Any], *, key: str = "flag", generation: int = 2) -> Any:
    made = Compiler(
        operators=OPERATORS, document=Document(), resolver=DataResolver(key), generation=generation
    )
    return made.compile(rule, "rule").run(data)


@pytest.mark.parametrize(
    ("key", "digest"),
    [("ejOoVL", 0), ("bY9fO-", 1), ("SI7p-", 0x7FFFFFFF), ("6LvT0", 0x80000000), ("ceQdGm", 0xFFFFFFFF)],
)
def test_murmur_is_unsigned_x86_32_with_seed_0(key: str, digest: int) -> None:
    """Keys at the edges of the hash have the digests that flagd lists."""
    assert murmur(key.encode()) == digest


@pytest.mark.parametrize(("key", "expected"), [("jon@company.com", 36), ("user1", 76)])
def test_bucket_of_a_hundred(key: str, expected: int) -> None:
    """flagd's two reference buckets."""
    assert bucket(murmur(key.encode()), 100) == expected


@given(digest=st.integers(0, 2**32 - 1), total=st.integers(1, 2**31 - 1))
def test_bucket_stays_in_range(digest: int, total: int) -> None:
    """Every digest has a bucket, none is outside."""
    assert 0 <= bucket(digest, total) < total
    assert 0 <= legacy_bucket(digest) <= 100.00000005


@pytest.mark.parametrize(
    ("generation", "rows"),
    [
        (1, {"jack": "spades", "queen": "clubs", "ten": "diamonds", "nine": "hearts", "3": "diamonds"}),
        (2, {"jack": "hearts", "queen": "spades", "ten": "clubs", "nine": "diamonds", "3": "clubs"}),
        (3, {"jack": "diamonds", "queen": "diamonds", "ten": "clubs", "nine": "clubs", "3": "spades"}),
    ],
)
def test_key_of_salt_and_name(generation: int, rows: dict[str, str]) -> None:
    """`fractional-flag`: cat of flag key and user name over four cards."""
    rule = {"fractional": [{"cat": [FLAG_KEY, NAME]}, *CARDS]}
    found = {
        name: evaluate(rule, {"user": {"name": name}}, key="fractional-flag", generation=generation)
        for name in rows
    }
    assert found == rows


@pytest.mark.parametrize(
    ("generation", "rows"),
    [
        (1, {"jack": "hearts", "queen": "spades", "ten": "hearts", "nine": "diamonds"}),
        (2, {"seven": "hearts", "eight": "diamonds", "nine": "clubs", "two": "spades"}),
        (3, {"seven": "hearts", "eight": "hearts", "nine": "diamonds", "two": "diamonds"}),
    ],
)
def test_key_of_shared_seed_and_name(generation: int, rows: dict[str, str]) -> None:
    """`fractional-flag-A-shared-seed`: a constant salt before the name."""
    rule = {"fractional": [{"cat": ["shared-seed", NAME]}, *CARDS]}
    found = {name: evaluate(rule, {"user": {"name": name}}, generation=generation) for name in rows}
    assert found == rows


@pytest.mark.parametrize(
    ("generation", "rows"),
    [
        (1, {"jon@company.com": "heads", "jane@company.com": "tails"}),
        (2, {"jon@company.com": "heads", "jane@company.com": "tails"}),
        (3, {"jon@company.com": "tails", "user-1": "heads", "user-2": "tails", "user-3": "heads"}),
    ],
)
def test_implicit_key(generation: int, rows: dict[str, str]) -> None:
    """`fractional-flag-shorthand`: flag key and targeting key when no key is given."""
    rule = {"fractional": [["heads"], ["tails", 1]]}
    found = {
        unit: evaluate(rule, {"targetingKey": unit}, key="fractional-flag-shorthand", generation=generation)
        for unit in rows
    }
    assert found == rows


@pytest.mark.parametrize(
    ("key", "expected"),
    [("ejOoVL", "lower"), ("bY9fO-", "lower"), ("SI7p-", "lower"), ("6LvT0", "upper"), ("ceQdGm", "upper")],
)
def test_hash_edges(key: str, expected: str) -> None:
    """`fractional-hash-edge-flag`: the extreme digests fall on the first and the last entry."""
    assert evaluate({"fractional": [UNIT, ["lower", 50], ["upper", 50]]}, {"targetingKey": key}) == expected


V3 = """
true bucket5 | false bucket1 | "user1" bucket22 | "user2" bucket16 | 123 bucket20 | 456 bucket12 | 1.23 bucket14
4.56 bucket18 | "123" bucket22 | "true" bucket24 | "false" bucket1 | "null" bucket8 | "1.23" bucket4 | 0 bucket8
1.0 bucket23 | 1 bucket23 | -2.0 bucket12 | -2 bucket12 | 9007199254740992.0 bucket10 | 9007199254740992 bucket10
0.0 bucket8 | -0.0 bucket8 | 2147483647 bucket10 | 2147483648 bucket25 | -2147483648 bucket8 | -2147483649 bucket18
9007199254740991 bucket2 | 23 bucket21 | 24 bucket11 | 255 bucket13 | 256 bucket13 | 65535 bucket4 | 65536 bucket11
4294967295 bucket14 | 4294967296 bucket19 | -24 bucket4 | -25 bucket16 | 1e20 bucket19 | -1e20 bucket25
65504.0 bucket16 | -65504.0 bucket9 | 0.00006103515625 bucket22 | 0.000000059604644775390625 bucket23
65505.0 bucket17 | -65505.0 bucket17 | 3.4028234663852886e+38 bucket10 | -3.4028234663852886e+38 bucket3
1.1754943508222875e-38 bucket24 | 3.5e+38 bucket1 | -3.5e+38 bucket6 | 1.7976931348623157e+308 bucket17
-1.7976931348623157e+308 bucket9 | 2.2250738585072014e-308 bucket11 | 4.9406564584124654e-324 bucket2
{"b": 2, "a": 1} bucket23 | {"c": 3, "a": 1, "b": 2} bucket18 | {"z": 1, "aa": 2} bucket21 | {"key": -0.0} bucket10
{"b": 2, "a": {"b": 1}} bucket9 | {"c": "text", "bbb": 1, "a": true, "dddd": 2.5} bucket25 | {"aaa": 1, "ÿ": 2} bucket12
{"café": "façade", "b": {"résumé": {"ÿ": true}}} bucket22 | {} bucket3 | {"a": {}, "b": []} bucket7
{"a": [1, [], 3], "b": null} bucket3 | {"a": [1, "two", true, [], null]} bucket23 | {"x": [{"a": {"b": {}}}]} bucket2
{"a": [[[[[]]]]]} bucket15 | {"a": {"b": {"c": {"d": null}}}} bucket19 | "" bucket4 | "a" bucket6
"12345678901234567890123" bucket4 | "123456789012345678901234" bucket14 | "あいうえおかき" bucket17
"ééééééééééé" bucket16 | "café façade résumé café" bucket9
"""
ROWS = [row.strip().rpartition(" ") for line in V3.strip().splitlines() for row in line.split(" | ")]


@pytest.mark.parametrize(("given_", "_", "expected"), ROWS, ids=[row[0][:40] for row in ROWS])
def test_third_generation_hashes_any_json(given_: str, _: str, expected: str) -> None:
    """`fractional-basic-flag`: numbers, booleans and objects are keys too, by their CBOR."""
    rule = {"fractional": [{"var": "hashing_input"}, *BUCKETS]}
    assert evaluate(rule, {"hashing_input": json.loads(given_)}, generation=3) == expected


@pytest.mark.parametrize(
    ("rule", "data", "expected"),
    [
        ({"fractional": [UNIT, [{"if": [{"==": [{"var": "tier"}, "premium"]}, "premium", "standard"]}, 50], ["standard", 50]]},
         {"targetingKey": "jon@company.com", "tier": "premium"}, "premium"),
        ({"fractional": [UNIT, [{"var": "color"}, 50], ["blue", 50]]}, {"targetingKey": "jon@company.com", "color": "red"}, "red"),
        ({"fractional": [UNIT, [{"var": "color"}, 50], ["blue", 50]]}, {"targetingKey": "user1", "color": "red"}, "blue"),
        ({"fractional": [UNIT, ["red", {"if": [{"var": "vip"}, 100, 0]}], ["blue", 10]]}, {"targetingKey": "user1", "vip": 1}, "red"),
        ({"fractional": [UNIT, ["red", {"if": [{"var": "vip"}, 100, 0]}], ["blue", 10]]}, {"targetingKey": "user1"}, "blue"),
        ({"if": [{"fractional": [[False, 0], [True, 100]]}, "big", "small"]}, {"targetingKey": "some-targeting-key"}, "big"),
        ({"if": [{"fractional": [[False, 100], [True, 0]]}, "big", "small"]}, {"targetingKey": "some-targeting-key"}, "small"),
        ({"fractional": [["single", 1]]}, {"targetingKey": "x"}, "single"),
        ({"fractional": [UNIT, ["one", -50], ["two", 100]]}, {"targetingKey": "any-user"}, "two"),
        ({"fractional": [UNIT, ["one", 0], ["two", 0]]}, {"targetingKey": "any-user"}, None),
        ({"fractional": [UNIT, ["one", 0.5], ["two", 1]]}, {"targetingKey": "any-user"}, None),
        ({"fractional": [UNIT, ["one", "1"], ["two", 1]]}, {"targetingKey": "any-user"}, None),
        ({"fractional": [UNIT, ["one", True], ["two", 1]]}, {"targetingKey": "any-user"}, None),
        ({"fractional": [UNIT, ["one", 2147483647], ["two", 1]]}, {"targetingKey": "any-user"}, None),
        ({"fractional": [UNIT, ["one", 50.0], ["two", 0]]}, {"targetingKey": "any-user"}, "one"),
        ({"fractional": [[{"var": "x"}], ["b", 0]]}, {"targetingKey": "u", "x": [1]}, None),
        ({"fractional": [{"var": "entry"}, ["b", 0]]}, {"targetingKey": "u", "entry": ["a", 1]}, "a"),
        ({"fractional": [{"var": "entry"}, ["b", 1]]}, {"targetingKey": "u", "entry": 5}, None),
        ({"fractional": [["a", 1]]}, {"targetingKey": 12345}, None),
        ({"fractional": [["a", 1]]}, {"targetingKey": True}, None),
    ],
    ids=str,
)  # fmt: skip
def test_entries(rule: Any, data: dict[str, Any], expected: Any) -> None:
    """Entries and weights may be rules; a malformed distribution gives null."""
    assert evaluate(rule, data) == expected


def test_a_missing_explicit_key_falls_back_as_in_go() -> None:
    """Generation 2 then hashes flag key and targeting key; generation 3 gives null."""
    explicit = {"fractional": [{"var": "email"}, *CARDS]}
    implicit = {"fractional": CARDS}
    assert evaluate(explicit, {"targetingKey": "u1"}) == evaluate(implicit, {"targetingKey": "u1"})
    assert evaluate(explicit, {"targetingKey": "u1"}, generation=3) is None


@pytest.mark.parametrize("generation", [1, 2, 3])
@pytest.mark.parametrize("data", [{}, {"targetingKey": ""}, {"targetingKey": None}])
@pytest.mark.parametrize(
    "key",
    [
        UNIT,
        {"cat": [FLAG_KEY, UNIT]},
        {"cat": ["salt", ":", UNIT, "!"]},
        {"cat": [{"cat": [FLAG_KEY, UNIT]}, "x"]},
        {"cat": [UNIT, {"var": "country"}]},
        {"cat": ["salt", {"var": "user.name"}]},
        {"cat": ["salt", {"or": [UNIT, {"var": "ip"}]}]},
        None,
    ],
    ids=str,
)
def test_nobody_is_in_no_bucket(generation: int, data: dict[str, Any], key: Any) -> None:
    """A key around a unit that is not there is null: never one bucket for everybody."""
    entries = CARDS if key is None else [key, *CARDS]
    assert evaluate({"fractional": entries}, data, generation=generation) is None


def test_a_fallback_is_a_unit_too() -> None:
    """Of several fields one is enough when the rule says so, and a stated default is a value."""
    either = {"fractional": [{"cat": ["salt", {"or": [UNIT, {"var": "ip"}]}]}, *CARDS]}
    assert evaluate(either, {"ip": "10.0.0.1"}) in {"clubs", "diamonds", "hearts", "spades"}
    stated = {"fractional": [{"cat": ["salt", {"var": ["targetingKey", "anonymous"]}]}, *CARDS]}
    assert evaluate(stated, {}) in {"clubs", "diamonds", "hearts", "spades"}


def test_broken_unicode_has_a_bucket() -> None:
    """Half a surrogate pair, which JSON may hold, is hashed as U+FFFD."""
    rule = {"fractional": [{"cat": [FLAG_KEY, UNIT]}, *CARDS]}
    assert evaluate(rule, {"targetingKey": "\ud83d"}) == evaluate(rule, {"targetingKey": "\ufffd"})


units = st.text(min_size=1, max_size=12)


@given(unit=units, low=st.integers(0, 1000), grow=st.integers(0, 1000), total=st.integers(1, 1000))
def test_growing_the_treatment_ejects_nobody(unit: str, low: int, grow: int, total: int) -> None:
    """With the treatment first and a fixed total, a larger weight only adds units."""
    weights = sorted((min(low, total), min(low + grow, total)))
    before, after = (
        evaluate({"fractional": [["on", weight], ["off", total - weight]]}, {"targetingKey": unit})
        for weight in weights
    )
    assert before == "off" or after == "on"


@given(
    unit=units,
    weights=st.lists(st.integers(0, 50), min_size=1, max_size=5),
    generation=st.sampled_from([1, 2]),
    prefix=st.text(max_size=5),
    suffix=st.text(max_size=5),
)
def test_the_quick_way_agrees_with_the_full_one(
    unit: str, weights: list[int], generation: int, prefix: str, suffix: str
) -> None:
    """The short cut for common keys gives what the draw in full gives."""
    args = [{"cat": [prefix, UNIT, suffix]}, *[[f"v{place}", weight] for place, weight in enumerate(weights)]]
    made = Compiler(
        operators=OPERATORS, document=Document(), resolver=DataResolver("flag"), generation=generation
    )
    drawn = drawer(made, arguments_of("fractional", args, "", 0))({"targetingKey": unit})
    quick = evaluate({"fractional": args}, {"targetingKey": unit}, generation=generation)
    assert quick == (drawn.value if drawn else None)
