"""Segments, layers, holdouts and ramps: written in flagd's own words, so that every provider agrees."""

# ruff: noqa: E501  # a table reads best with one case a line

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from understudy.decide import Evaluator, check_rules

UNITS = [f"user-{n}" for n in range(4000)]
UNIT = {"var": "targetingKey"}


def salted(salt: str) -> dict[str, Any]:
    return {"cat": [salt, UNIT]}


def flag(rule: Any, variants: tuple[str, ...] = ("on", "off")) -> dict[str, Any]:
    values = {name: name for name in variants}
    return {"state": "ENABLED", "variants": values, "defaultVariant": variants[-1], "targeting": rule}


def answers(flags: dict[str, Any], evaluators: Any = None, generation: int = 3) -> dict[str, list[str]]:
    """The variant of each unit, flag by flag; the document is checked first."""
    metadata = {"hashVersion": generation}
    shared = evaluators or {}
    assert check_rules(flags=flags, routes=(), evaluators=shared, metadata=metadata) == []
    evaluator = Evaluator(flags=flags, evaluators=shared, metadata=metadata)
    return {key: [evaluator.evaluate(key, {"targetingKey": u}).variant for u in UNITS] for key in flags}


LAYER = {"fractional": [salted("checkout-layer:"), ["basket", 40000], ["payment", 40000], ["", 20000]]}


def within(name: str) -> dict[str, Any]:
    half = {"fractional": [salted(f"{name}:"), ["on", 1], ["off", 1]]}
    return flag({"if": [{"==": [{"$ref": "layer"}, name]}, half]})


EXCLUSIVE = {name: within(name) for name in ("basket", "payment")}


def test_flags_of_a_layer_exclude_each_other_and_leave_the_holdout() -> None:
    """No unit is in two of them, a fifth of the units is in none."""
    entered = {
        name: flag({"if": [{"==": [{"$ref": "layer"}, name]}, "on", "off"]}) for name in ("basket", "payment")
    }
    found = answers(entered, {"layer": LAYER})
    both = Counter(zip(found["basket"], found["payment"], strict=True))
    assert both["on", "on"] == 0
    assert both["off", "off"] == pytest.approx(len(UNITS) / 5, rel=0.15)
    assert both["on", "off"] == pytest.approx(len(UNITS) * 2 / 5, rel=0.15)


def test_stock_providers_read_layers_and_segments_alike() -> None:
    """What is written in flagd's words is answered alike by openfeature-flagd-core."""
    members = {"in": [UNIT, UNITS[::2]]}
    flags = {**EXCLUSIVE, "staff": flag({"if": [{"$ref": "members"}, "on", "off"]})}
    shared = {"layer": LAYER, "members": members}
    found = answers(flags, shared)
    core = FlagdCore()
    core.set_flags({"flags": {k: dict(v) for k, v in flags.items()}, "$evaluators": shared})
    for key in flags:
        theirs = [core.resolve_string_value(key, "", EvaluationContext(unit)).variant for unit in UNITS[:300]]
        assert found[key][:300] == theirs
    assert found["staff"] == ["on", "off"] * (len(UNITS) // 2)


def ramp(share: int) -> dict[str, Any]:
    """Three variants, of which the first two are given to *share* thousandths of a percent together."""
    exposed = {"fractional": [salted("new-page:exposed:"), [True, share], [False, 100_000 - share]]}
    which = {"fractional": [salted("new-page:variant:"), ["red", 1], ["blue", 1]]}
    return flag({"if": [exposed, which, "off"]}, ("red", "blue", "off"))


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_ramp_with_two_hashes_moves_nobody_who_is_in(generation: int) -> None:
    """From 20 % to 40 % and to 80 %: units come in, none changes sides or leaves."""
    steps = [answers({"f": ramp(share)}, generation=generation)["f"] for share in (20_000, 40_000, 80_000)]
    for before, after in pairwise(steps):
        assert all(now == was for was, now in zip(before, after, strict=True) if was != "off")
        assert after.count("off") < before.count("off")


def test_one_hash_would_move_them() -> None:
    """Why two are needed: the boundary between the variants moves through the units."""

    def plain(share: int) -> list[str]:
        entries = [["red", share], ["blue", share], ["off", 100_000 - 2 * share]]
        return answers({"f": flag({"fractional": [salted("new-page:"), *entries]}, ("red", "blue", "off"))})[
            "f"
        ]

    moved = sum(was != "off" and was != now for was, now in zip(plain(10_000), plain(20_000), strict=True))
    assert moved > len(UNITS) // 20


@pytest.mark.parametrize(("weight", "expected"), [(1, 1), (1000, 1000), (50_000, 50_000)])
def test_a_share_of_a_thousandth_of_a_percent(weight: int, expected: int) -> None:
    """Weights of 100,000 give steps of 0.001 %: of a million units about ten times the weight."""
    rule = {"fractional": [salted("s:"), ["on", weight], ["off", 100_000 - weight]]}
    evaluator = Evaluator(flags={"f": flag(rule)})
    asked = 100_000
    got = sum(evaluator.evaluate("f", {"targetingKey": f"u{n}"}).variant == "on" for n in range(asked))
    # Four standard deviations of a binomial draw; for the smallest share, a handful.
    assert abs(got - expected) <= max(5, 4 * (expected * (1 - expected / asked)) ** 0.5)


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"==": [{"$ref": "layer"}, "bsket"]}, "==[1]: evaluator 'layer' is never 'bsket' (did you mean basket?)"),
        ({"!==": ["paymint", {"$ref": "layer"}]}, "!==[0]: evaluator 'layer' is never 'paymint' (did you mean payment?)"),
        ({"===": [{"flag": "other"}, "onn"]}, "===[1]: flag 'other' is never 'onn' (did you mean on?)"),
        ({"===": [{"flag": ["other"]}, "red"]}, "===[1]: flag 'other' is never 'red'"),
        ({"===": [{"flag": "other"}, "off"]}, ""),
        ({"===": [{"flag": "other"}, None]}, ""),
        ({"==": [{"$ref": "open"}, "whatever"]}, ""),
    ],
)  # fmt: skip
def test_a_name_that_never_comes_is_refused(condition: Any, problem: str) -> None:
    """A slip in a layer's share or in another flag's variant would leave everybody out."""
    flags = {"f": flag({"if": [condition, "on", "off"]}), "other": flag({"if": ["on"]})}
    shared = {"layer": LAYER, "open": {"fractional": [UNIT, [{"var": "x"}, 1], ["a", 1]]}}
    found = [str(problem) for problem in check_rules(flags=flags, routes=(), evaluators=shared)]
    assert found == ([f"flags.f.targeting.if[0].{problem}"] if problem else [])
