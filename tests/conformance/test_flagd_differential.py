"""The same flags, contexts and types, asked of Understudy and of openfeature-flagd-core.

UNDERSTUDY_FLAGD_CASES=100000 asks more (docs/decisions/0020 has what came of it).
"""

# ruff: noqa: E501  # a table reads best with one case a line

import os
from typing import Any

import pytest
from flagd_harness import Case, differing, our_answer, their_answer

CASES = int(os.environ.get("UNDERSTUDY_FLAGD_CASES", "2100"))


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_generated_cases_are_answered_alike(generation: int) -> None:
    """Value with its type, variant, reason and error code agree, in every generation of `fractional`."""
    assert differing(seed=20261126, count=CASES // 3, generation=generation) == []


ON_OFF: dict[str, Any] = {"on": True, "off": False, "1": True}


def case(rule: Any, context: dict[str, Any], evaluators: dict[str, Any], kind: str = "boolean") -> Case:
    flag = {"state": "ENABLED", "variants": ON_OFF, "defaultVariant": "off", "targeting": rule}
    document = {"flags": {"f": flag}, "$evaluators": evaluators, "metadata": {"hashVersion": 3}}
    return Case(document=document, context=context, kind=kind)


def asked(condition: Any) -> dict[str, Any]:
    return {"if": [condition, "on", "off"]}


SALTED = {"fractional": [{"cat": ["salt", {"var": "targetingKey"}]}, ["on", 1]]}
# Rule, context, evaluators; then variant or error code, ours and theirs.
DELIBERATE: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str, str]] = {
    "a key around a missing unit is no key: else all of them share a bucket": (SALTED, {}, {}, "off", "on"),
    "a key around an empty unit is none either": (SALTED, {"targetingKey": ""}, {}, "off", "on"),
    "an unknown operator spoils its rule, whichever branch is taken": ({"if": [True, "on", {"unknwon": [1]}]}, {}, {}, "PARSE_ERROR", "on"),
    "a reference that leads nowhere does so too": ({"if": [True, "on", {"$ref": "gone"}]}, {}, {}, "PARSE_ERROR", "on"),
    "references in a circle do so too": ({"if": [True, "on", {"$ref": "self"}]}, {}, {"self": {"$ref": "self"}}, "PARSE_ERROR", "on"),
    "true is not 1": (asked({"===": [True, {"var": "n"}]}), {"n": 1}, {}, "off", "on"),
    "true is not in a list of numbers": (asked({"in": [True, {"var": "n"}]}), {"n": [1]}, {}, "off", "on"),
    "null equals null alone": (asked({"==": [None, {"var": "n"}]}), {"n": 0}, {}, "off", "on"),
    "an empty text is the number 0": (asked({"==": ["", {"var": "n"}]}), {"n": 0}, {}, "on", "off"),
    "an absent number makes no sum": (asked({"<": [{"+": [1, {"var": "n"}]}, 5]}), {}, {}, "off", "on"),
    "an absent text is empty in cat": (asked({"==": [{"cat": ["a", {"var": "n"}]}, "a"]}), {}, {}, "on", "off"),
    "a truth in cat is written as JavaScript does": (asked({"==": [{"cat": [True]}, "true"]}), {}, {}, "on", "off"),
    "a null that is there is not absent": (asked({"!!": [{"var": ["n", 1]}]}), {"n": None}, {}, "off", "on"),
    "a division by 0 is infinite": (asked({">": [{"/": [1, {"var": "n"}]}, 5]}), {"n": 0}, {}, "on", "CRASH"),
    "the remainder has the sign of the dividend": (asked({"==": [{"%": [-7, 3]}, -1]}), {}, {}, "on", "off"),
    "a whole number names its variant without a point": ({"var": "n"}, {"n": 1.0}, {}, "1", "GENERAL"),
    "a whole weight may be written with one": ({"fractional": [{"var": "n"}, ["on", 1.0]]}, {"n": "x"}, {}, "on", "off"),
}  # fmt: skip


@pytest.mark.parametrize("name", DELIBERATE)
def test_a_deliberate_deviation_is_still_one(name: str) -> None:
    """Each is JavaScript's reading, flagd's daemon's, or a guard; where the core catches up, it goes."""
    rule, context, evaluators, ours, theirs = DELIBERATE[name]
    made = case(rule, context, evaluators)
    assert [answer[1] or answer[3] for answer in (our_answer(made), their_answer(made, 3))] == [ours, theirs]


def test_a_boolean_is_no_float() -> None:
    """The core gives 1.0 for true; OpenFeature's own type check would refuse it."""
    made = case({}, {}, {}, "float")
    assert (our_answer(made)[3], their_answer(made, 3)[0]) == ("TYPE_MISMATCH", "0.0")
