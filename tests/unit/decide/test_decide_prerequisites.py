"""A flag that asks what another flag answers."""

from typing import Any

import pytest

from understudy.decide import Evaluator, Route, check_rules, compile_rules
from understudy.messages import RequestHead

CANARY = {"fractional": [{"cat": ["wide-", {"var": "targetingKey"}]}, ["on", 30], ["off", 70]]}
ASKING = {"if": [{"===": [{"flag": "base"}, "on"]}, "new", "old"]}


def flags(base: Any = CANARY, *, rule: Any = ASKING, **more: Any) -> dict[str, Any]:
    """`base` with a rule and changes, and `top`, which asks it."""
    lower = {"variants": {"on": True, "off": False}, "defaultVariant": "off", "targeting": base, **more}
    upper = {"variants": {"new": 2, "old": 1, "on": 3, "off": 4}, "defaultVariant": "old", "targeting": rule}
    return {"base": lower, "top": upper}


def variant(given: dict[str, Any], unit: str = "u", **more: Any) -> str:
    found = Evaluator(flags=given, **more).evaluate("top", {"targetingKey": unit})
    return found.variant or found.error_code


def problems(given: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in check_rules(flags=given, routes=())]


def test_the_other_flag_answers_for_the_same_context() -> None:
    """For each unit the one follows the other."""
    both = Evaluator(flags=flags())
    contexts = [{"targetingKey": f"user-{n}"} for n in range(200)]
    below = [both.evaluate("base", context).variant == "on" for context in contexts]
    assert [both.evaluate("top", context).variant == "new" for context in contexts] == below
    assert 30 < sum(below) < 90


def test_the_other_flag_is_hashed_as_its_own() -> None:
    """Its key and its hash generation count, not those of the flag that asks."""
    own = {"fractional": [["on", 50], ["off", 50]]}
    given = flags(own, rule={"flag": "base"}, metadata={"hashVersion": 3})
    both = Evaluator(flags=given)
    for n in range(50):
        context = {"targetingKey": f"user-{n}"}
        assert both.evaluate("top", context).variant == both.evaluate("base", context).variant


@pytest.mark.parametrize(
    ("changes", "killed", "expected"),
    [
        ({"base": None}, (), "old"),
        ({"base": None, "defaultVariant": "on"}, (), "new"),
        ({"base": None, "defaultVariant": "on", "state": "DISABLED"}, (), "old"),
        ({"base": {"if": ["on"]}}, (), "new"),
        ({"base": {"if": ["on"]}}, ("base",), "old"),
        ({"base": None, "metadata": {"safeVariant": "on"}}, ("base",), "new"),
        ({"base": {"if": ["gone"]}}, (), "PARSE_ERROR"),
        ({"base": {"if": [{"+": ["o", "n"]}]}}, (), "PARSE_ERROR"),
    ],
)
def test_state_kill_switch_and_failure_of_the_other_count(
    changes: dict[str, Any], killed: tuple[str, ...], expected: str
) -> None:
    """Killed: its safe variant; disabled: none; failed: whoever asks it fails too."""
    assert variant(flags(**changes), killed=killed) == expected


def test_a_route_follows_it_with_its_own_unit() -> None:
    """The unit of the route is the unit of every flag asked."""
    served = {"variants": {"new": {"serve": "v2"}, "old": {"serve": "v1"}}, "defaultVariant": "old"}
    given = flags() | {"shop": {**served, "targeting": ASKING}}
    rules = compile_rules(flags=given, routes=[Route(flag="shop", unit="header:x-user")])
    both = Evaluator(flags=given)
    for n in range(50):
        head = RequestHead(headers=((b"x-user", b"user-%d" % n),))
        decision = rules.decide(head)
        assert decision is not None
        assert decision.variant == both.evaluate("top", {"targetingKey": f"user-{n}"}).variant
        assert rules.explain(head).variant == decision.variant


def test_mistakes_have_their_place() -> None:
    """Unknown flags are refused with a suggestion, also in shared rules and inside of loops."""
    assert problems(flags(rule={"flag": "bse"})) == [
        "flags.top.targeting.flag: there is no flag 'bse' (did you mean base?)"
    ]
    assert problems(flags(rule={"flag": {"var": "which"}}))[0].startswith(
        "flags.top.targeting.flag: there is no"
    )
    assert problems(flags(rule={"if": [{"some": [[1], {"flag": "base"}]}, "new"]}))[0].startswith(
        "flags.top.targeting.if[0].some[1].flag: a flag needs the whole context"
    )
    assert problems(flags({"flagg": "top"}))[1].startswith(
        "flags.top.targeting.if[0].===[0].flag: flag 'base'"
    )


def test_a_circle_is_refused_with_its_path() -> None:
    """Wherever one enters it, and for a flag that asks itself."""
    found = problems(flags({"if": [{"===": [{"flag": "top"}, "new"]}, "on", "off"]}))
    assert any("flags ask each other in a circle: base → top → base" in line for line in found)
    assert any("flags ask each other in a circle: top → base → top" in line for line in found)
    assert "a circle: top → top" in problems(flags(rule={"flag": "top"}))[0]


def chain(length: int, times: int = 1) -> dict[str, Any]:
    """Flags, each asking the next so many times."""
    plain: dict[str, Any] = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}
    asking = [{"if": [{"flag": f"f{n + 1}"}] * times} for n in range(length)]
    made = {f"f{n}": {**plain, "targeting": {"or": rule["if"]}} for n, rule in enumerate(asking)}
    return {**made, f"f{length}": plain}


def test_chains_are_bounded_in_length_and_in_work() -> None:
    """Ten flags in a row, and ten thousand operations in an evaluation, are the most."""
    assert problems(chain(10)) == []
    assert "more than 10 flags ask one another: f0 → f1 →" in problems(chain(11))[0]
    assert "one evaluation may run more than 10,000 operations" in problems(chain(10, times=4))[0]


def test_a_lesser_mistake_is_named_once() -> None:
    """Where it stands: not again by every flag that asks, nor by every rule that refers to it."""
    crooked = {"fractional": [{"var": "targetingKey"}, ["on", 1], ["off", -1]]}
    asking = {"if": [{"===": [{"flag": "base"}, "on"]}, {"if": [{"$ref": "shared"}, "new"]}]}
    found = check_rules(flags=flags(crooked, rule=asking), routes=(), evaluators={"shared": crooked})
    assert [problem.path for problem in found] == [
        "$evaluators.shared.fractional[2][1]",
        "flags.base.targeting.fractional[2][1]",
    ]
    assert Evaluator(flags=flags(crooked)).evaluate("top", {"targetingKey": "u"}).variant == "new"


def test_flags_that_all_ask_one_another_are_refused_at_once() -> None:
    """There are more ways through forty of them than anybody can walk; the first circle is enough."""
    keys = [f"flag-{n}" for n in range(40)]
    given = {
        key: {"variants": {"on": 1}, "targeting": {"or": [{"flag": other} for other in keys if other != key]}}
        for key in keys
    }
    assert all("in a circle" in problem for problem in problems(given))
    assert len(problems(given)) >= len(keys)
