"""Flags evaluated for a context: flagd's resolution order, reasons and error codes."""

# ruff: noqa: E501  # a table reads best with one case a line

import json
from typing import Any

import pytest

from understudy.decide import Evaluation, Evaluator

FLAGS: dict[str, Any] = {
    "static": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"},
    "number": {"variants": {"one": 1, "half": 0.5}, "defaultVariant": "half", "targeting": {}},
    "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on", "targeting": {"if": ["on"]}},
    "open": {"variants": {"a": 1}, "defaultVariant": None},
    "open-rule": {"variants": {"ceo": "CEO"}, "targeting": {"if": [{"==": ["jobs@x", {"var": "email"}]}, "ceo"]}},
    "null": {"variants": {"one": 1, "two": 2}, "defaultVariant": "two", "targeting": {"if": [True, None, "one"]}},
    "boolean": {"variants": {"false": 1, "true": 2}, "defaultVariant": "false", "targeting": {"if": [True, True]}},
    "stray": {"variants": {"one": 1}, "defaultVariant": "one", "targeting": {"if": [True, "three", "one"]}},
    "broken": {"variants": {"one": 1}, "defaultVariant": "one", "targeting": {"invalid": ["x"]}},
    "dangling": {"variants": {"one": 1}, "defaultVariant": "one", "targeting": {"if": [{"$ref": "gone"}, "one"]}},
    "few": {"variants": {"one": 1}, "defaultVariant": "one", "targeting": {"starts_with": ["abc"]}},
    "shared": {"variants": {"hi": "hi", "bye": "bye"}, "defaultVariant": "bye", "targeting": {"if": [{"$ref": "ballmer"}, "hi", "bye"]}},
    "lost": {"variants": {"one": 1}, "defaultVariant": "gone"},
    "junk": 5,
    "timed": {"variants": {"past": -1, "future": 1}, "defaultVariant": "past", "targeting": {"if": [{">": [{"var": "time"}, {"var": "$flagd.timestamp"}]}, "future", "past"]}},
    "deep": {"variants": {"one": 1}, "defaultVariant": "one", "targeting": {"cat": {"var": "deep"}}},
}  # fmt: skip
BALLMER = {"==": ["ballmer@macrosoft.com", {"var": ["email"]}]}


def evaluate(key: str, context: dict[str, Any] | None = None, **more: Any) -> Evaluation:
    evaluator = Evaluator(flags=FLAGS, evaluators={"ballmer": BALLMER}, clock=lambda: 1700000000.5, **more)
    return evaluator.evaluate(key, context or {})


@pytest.mark.parametrize(
    ("key", "context", "value", "variant", "reason"),
    [
        ("static", {}, True, "on", "STATIC"),
        ("number", {}, 0.5, "half", "STATIC"),
        ("off", {}, None, "", "DISABLED"),
        ("open", {}, None, "", "DEFAULT"),
        ("open-rule", {"email": "woz@x"}, None, "", "DEFAULT"),
        ("open-rule", {"email": "jobs@x"}, "CEO", "ceo", "TARGETING_MATCH"),
        ("null", {}, 2, "two", "DEFAULT"),
        ("boolean", {}, 2, "true", "TARGETING_MATCH"),
        ("few", {}, 1, "one", "DEFAULT"),
        ("shared", {"email": "ballmer@macrosoft.com"}, "hi", "hi", "TARGETING_MATCH"),
        ("shared", {"email": "x"}, "bye", "bye", "TARGETING_MATCH"),
        ("timed", {"time": 1}, -1, "past", "TARGETING_MATCH"),
        ("timed", {"time": 4133980802}, 1, "future", "TARGETING_MATCH"),
    ],
)
def test_resolution(key: str, context: dict[str, Any], value: Any, variant: str, reason: str) -> None:
    """Each case of flagd's resolution order has its value, variant and reason."""
    found = evaluate(key, context)
    assert (found.value, found.variant, found.reason, found.error_code) == (value, variant, reason, "")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("nobody", "FLAG_NOT_FOUND"),
        ("stray", "GENERAL"),
        ("broken", "PARSE_ERROR"),
        ("dangling", "PARSE_ERROR"),
        ("lost", "GENERAL"),
        ("junk", "PARSE_ERROR"),
    ],
)
def test_errors(key: str, code: str) -> None:
    """What cannot be answered has flagd's error code, some words, and no value."""
    found = evaluate(key)
    assert (found.value, found.variant, found.reason, found.error_code) == (None, "", "ERROR", code)
    assert found.error_details


def test_a_context_too_deep_to_read_is_an_error() -> None:
    """A hostile context fails its own evaluation and nothing else."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    found = evaluate("deep", {"deep": deep})
    assert (found.error_code, found.error_details) == ("PARSE_ERROR", "the rule failed: RecursionError")


def test_metadata_of_the_flag_overlays_that_of_the_set() -> None:
    """Both are given, the flag's own counts; a missing flag has the set's."""
    flags = {"a": {"variants": {"x": 1}, "defaultVariant": "x", "metadata": {"owner": "me", "n": 1}}}
    evaluator = Evaluator(flags=flags, metadata={"owner": "us", "flagSetId": "web"})
    assert evaluator.evaluate("a", {}).metadata == {"owner": "me", "n": 1, "flagSetId": "web"}
    assert evaluator.evaluate("b", {}).metadata == {"owner": "us", "flagSetId": "web"}
    assert evaluator.keys == ("a",)


@pytest.mark.parametrize("key", ["static", "off", "broken"])
def test_a_killed_flag_answers_its_safe_variant(key: str) -> None:
    """The kill switch comes before state and targeting."""
    found = evaluate(key, killed=[key])
    assert (found.variant, found.reason) == (FLAGS[key]["defaultVariant"], "KILLED")


@pytest.mark.parametrize(
    ("value", "kind", "answer", "code"),
    [
        (True, "boolean", "True", ""),
        (True, "integer", "None", "TYPE_MISMATCH"),
        (True, "float", "None", "TYPE_MISMATCH"),
        (1, "boolean", "None", "TYPE_MISMATCH"),
        (1, "integer", "1", ""),
        (1, "float", "1.0", ""),
        (1.0, "integer", "None", "TYPE_MISMATCH"),
        (1.0, "float", "1.0", ""),
        ("1", "string", "'1'", ""),
        ("1", "integer", "None", "TYPE_MISMATCH"),
        ({"a": 1}, "object", "{'a': 1}", ""),
        ([1], "object", "[1]", ""),
        ([1], "string", "None", "TYPE_MISMATCH"),
    ],
)
def test_a_caller_gets_the_type_it_expects_or_a_mismatch(
    value: Any, kind: str, answer: str, code: str
) -> None:
    """1 and 1.0 stay apart; only a float may be made of an integer."""
    evaluator = Evaluator(flags={"f": {"variants": {"v": value}, "defaultVariant": "v"}})
    assert repr(evaluator.evaluate("f", {}).value) == repr(value)
    found = evaluator.evaluate("f", {}).expecting(kind)
    assert (repr(found.value), found.error_code) == (answer, code)


def test_no_variant_fits_every_type() -> None:
    """Where the caller's own default counts, its type is the caller's affair."""
    assert evaluate("off").expecting("integer").reason == "DISABLED"
    assert evaluate("nobody").expecting("integer").error_code == "FLAG_NOT_FOUND"


def test_answers_are_made_once() -> None:
    """Two contexts with one outcome are given one object."""
    evaluator = Evaluator(flags=FLAGS, evaluators={"ballmer": BALLMER})
    first = evaluator.evaluate("shared", {"email": "x"})
    assert evaluator.evaluate("shared", {"email": "y"}) is first


def test_what_is_unchanged_is_taken_over() -> None:
    """Only what changed is compiled anew; 1 and 1.0, a kill switch and shared rules are changes."""
    first = {
        name: {"variants": {"x": 1}, "defaultVariant": "x", "targeting": {"if": ["x"]}} for name in "abc"
    }
    before = Evaluator(flags=first, evaluators={"s": {"var": "x"}})

    def kept(flags: dict[str, Any], evaluators: Any = None, **more: Any) -> str:
        given = {"s": {"var": "x"}} if evaluators is None else evaluators
        after = Evaluator(flags=flags, evaluators=given, before=before, **more)
        assert after.keys == tuple(flags)
        assert [after.evaluate(name, {}) for name in flags] == [
            Evaluator(flags=flags, evaluators=given, **more).evaluate(name, {}) for name in flags
        ]
        return "".join(n for n in flags if after.evaluate(n, {}) is before.evaluate(n, {}))

    copied = json.loads(json.dumps(first))
    assert kept(copied) == "abc"
    assert kept(copied | {"a": {**first["a"], "variants": {"x": 1.0}}}) == "bc"
    assert kept({"b": copied["b"], "d": copied["a"]}) == "b"
    assert kept(copied, killed=["c"]) == "ab"
    assert kept(copied, {"s": {"var": "y"}}) == ""
    assert kept(copied, metadata={"owner": "us"}) == ""
    assert kept(copied, clock=lambda: 1.0) == ""


def test_a_flag_that_asks_another_follows_its_change() -> None:
    """It is not taken over when the other changed, whether it asks itself or through a shared rule."""
    plain = {"variants": {"on": 1, "off": 2}, "defaultVariant": "off"}
    shared = {"asked": {"flag": "base"}}
    for rule in ({"flag": "base"}, {"$ref": "asked"}):
        top = {**plain, "targeting": rule}
        before = Evaluator(flags={"base": plain, "top": top}, evaluators=shared)
        after = Evaluator(
            flags={"base": {**plain, "defaultVariant": "on"}, "top": top}, evaluators=shared, before=before
        )
        assert (before.evaluate("top", {}).variant, after.evaluate("top", {}).variant) == ("off", "on")
