"""Mistakes in one flag definition."""

# ruff: noqa: E501  # a table reads best with one case a line

from typing import Any

import pytest

from understudy.decide import Document, check_evaluators, check_flag, check_routing_flag

VARIANTS = {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}}
GOOD = {"state": "ENABLED", "variants": VARIANTS, "defaultVariant": "stable"}


def found(flag: Any, evaluators: dict[str, Any] | None = None) -> list[str]:
    return [str(problem) for problem in check_flag("shop", flag, Document(evaluators=evaluators))]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": "ON"}, "state: 'ON' is not a state (ENABLED or DISABLED)"),
        ({"defaultVarient": "x"}, "defaultVarient: unknown key (did you mean defaultVariant?)"),
        ({"defaultVariant": "stabel"}, "defaultVariant: there is no variant 'stabel' (did you mean stable?)"),
        ({"defaultVariant": 1}, "defaultVariant: there is no variant 1"),
        ({"variants": {}, "defaultVariant": None}, "variants: a flag has at least one variant"),
        ({"variants": {"stable": 1, "b": "x"}}, "variants: values of one type, not number and text"),
        ({"targeting": "canary"}, "targeting: a rule is an object (like {if: […]})"),
        ({"targeting": {"iff": []}}, "targeting.iff: unknown operator 'iff' (did you mean if?)"),
        ({"targeting": {"if": [{"var": "x"}, "canry"]}}, "targeting.if[1]: there is no variant 'canry' (did you mean canary?)"),
        ({"targeting": {"fractional": [{"var": "targetingKey"}, ["canry", 5], ["stable", 5]]}},
         "targeting.fractional[1][0]: there is no variant 'canry' (did you mean canary?)"),
        ({"targeting": {"if": [True, {"fractional": [{"var": "u"}, ["canary", "5"], ["stable", 5]]}]}},
         "targeting.if[1].fractional[1][1]: a weight is a whole number from 0, not '5'"),
        ({"targeting": {"fractional": ["canary", ["canary", 5], ["stable", 5]]}},
         "targeting.fractional[0]: this key is the same for everybody (name the unit: {cat: [{var: $flagd.flagKey}, {var: targetingKey}]})"),
        ({"targeting": {"fractional": [{"var": "u"}]}}, 'targeting.fractional: nothing to choose from (like ["canary", 5])'),
        ({"targeting": {"if": [{"$ref": "x"}, "canary"]}}, "targeting.if[0].$ref: there is no evaluator 'x'"),
        ({"metadata": {"safeVariant": "safe"}}, "metadata.safeVariant: there is no variant 'safe'"),
        ({"metadata": {"hashVersion": 4}}, "metadata.hashVersion: 4 is not 1, 2 or 3 (2 is what the flagd daemon computes)"),
        ({"metadata": {"team": ["a"]}}, "metadata.team: metadata is text, a number or a boolean"),
        ({"metadata": []}, "metadata: metadata is an object"),
    ],
    ids=str,
)  # fmt: skip
def test_each_mistake_is_named(change: dict[str, Any], expected: str) -> None:
    """One mistake gives one problem: where, what, and what was probably meant."""
    assert found({**GOOD, **change}) == [expected]


def test_all_mistakes_are_named_at_once() -> None:
    """Nothing hides behind the first mistake."""
    flag = {
        "state": "OFF",
        "variants": {True: {"serve": "v1"}},
        "defaultVariant": "off",
        "targeting": {"if": [{"nope": 1}, {"==": []}]},
        "extra": 1,
    }
    assert [problem.path for problem in check_flag("f", flag, Document())] == [
        "extra",
        "state",
        "variants.True",
        "defaultVariant",
        "targeting.if[0].nope",
        "targeting.if[1].==",
    ]


@pytest.mark.parametrize("flag", [None, 1, "x", [], True])
def test_anything_but_an_object_is_one_mistake(flag: Any) -> None:
    """Junk in place of a flag is a problem, never an exception."""
    assert len(found(flag)) == 1


@pytest.mark.parametrize(
    "flag",
    [
        GOOD,
        {**GOOD, "defaultVariant": None},
        {"variants": {"on": True, "off": False}, "targeting": {}},
        {"variants": {"1": 1, "2": 2.5}, "targeting": {"if": [{"var": "x"}, 1, 2]}, "defaultVariant": "1"},
        {**GOOD, "targeting": {"if": [{"in": ["a", {"var": "x"}]}, "canary", None]}},
        {**GOOD, "metadata": {"safeVariant": "canary", "hashVersion": 3, "owner": "us"}},
    ],
)
def test_good_flags_have_no_problem(flag: Any) -> None:
    """What flagd accepts is accepted."""
    assert found(flag) == []


def test_a_broken_evaluator_is_named_where_it_is_used() -> None:
    """A flag says which shared rule it cannot use, and why."""
    flag = {**GOOD, "targeting": {"if": [{"$ref": "staff"}, "canary"]}}
    expected = "targeting.if[0].$ref: evaluator 'staff': $evaluators.staff.nope: unknown operator 'nope' (did you mean none?)"
    assert found(flag, {"staff": {"nope": 1}}) == [expected]


def test_evaluators_are_checked_on_their_own() -> None:
    """Shared rules that no flag uses are read too."""
    shared = {"good": {"!": {"var": "x"}}, "bad": {"==": [1]}, "text": "x", "self": {"!": {"$ref": "self"}}}
    paths = [problem.path for problem in check_evaluators(Document(evaluators=shared))]
    assert paths == ["$evaluators.bad.==", "$evaluators.text", "$evaluators.self.!.$ref"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"defaultVariant": None}, "defaultVariant"),
        ({"variants": {"stable": True}}, "variants.stable"),
        ({"variants": {"stable": {}}}, "variants.stable.serve"),
        ({"variants": {"stable": {"serve": "a", "miror": ["b"]}}}, "variants.stable.miror"),
        ({"variants": {"stable": {"serve": "a", "mirror": "b"}}}, "variants.stable.mirror"),
        ({"variants": {"stable": {"serve": "a", "mirror": ["b", "b"]}}}, "variants.stable.mirror"),
        ({"variants": {"stable": {"serve": "a", "control": 1}}}, "variants.stable.control"),
    ],
)
def test_a_flag_that_routes_says_where_to(change: dict[str, Any], path: str) -> None:
    """Variants that serve nothing, and no default variant, keep a flag from routing."""
    assert [problem.path for problem in check_routing_flag({**GOOD, **change})] == [path]
    assert check_routing_flag(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metadata": {"owner": "shop team", "description": "new page", "tags": "checkout, q3"}}, ""),
        ({"metadata": {"archived": True}, "state": "DISABLED"}, ""),
        ({"metadata": {"archived": False, "safety": 1, "hashes": 3}}, ""),
        ({"metadata": {"owner": 5}}, "metadata.owner: owner is a text (quote it)"),
        (
            {"metadata": {"tags": ["a", "b"]}},
            "metadata.tags: tags is a text (one text, with commas: flagd's metadata is flat)",
        ),
        ({"metadata": {"archived": "yes"}}, "metadata.archived: 'yes' is not true or false"),
        (
            {"metadata": {"archived": True}},
            "state: an archived flag is disabled (state: DISABLED, so that providers that evaluate by themselves leave it off too)",
        ),
        (
            {"metadata": {"safevariant": "on"}},
            "metadata.safevariant: would have no effect (did you mean safeVariant?)",
        ),
        ({"metadata": {"hash_version": 3}}, "metadata.hash_version: would have no effect (did you mean hashVersion?)"),
    ],
)  # fmt: skip
def test_what_is_said_about_a_flag_is_checked(changes: dict[str, Any], problem: str) -> None:
    """Owner, description and tags are text, what is archived is off, and slips do not pass unnoticed."""
    flag = {"variants": {"on": True}, "defaultVariant": "on", **changes}
    assert found(flag) == ([problem] if problem else [])


def test_an_archived_flag_neither_routes_nor_is_asked() -> None:
    """It is kept for the record alone."""
    old = {"variants": {"on": {"serve": "v1"}}, "defaultVariant": "on", "state": "DISABLED", "metadata": {"archived": True}}  # fmt: skip
    (problem,) = check_routing_flag(old)
    assert str(problem).startswith("metadata.archived: an archived flag routes nothing")
    asking = {"variants": {"on": True}, "defaultVariant": "on", "targeting": {"flag": "old"}}
    (problem,) = check_flag("new", asking, Document(flags={"old": old, "new": asking}))
    assert str(problem) == "targeting.flag: flag 'old' is archived (write its variant here)"
