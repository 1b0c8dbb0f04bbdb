"""Who moves: what a dry run says is what then happens, to the requests themselves."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.admin.movement import moves
from understudy.config import Rules, parse_rules
from understudy.decide import Evaluator, compile_rules
from understudy.messages import RequestHead

UNITS = tuple(f"u{number}" for number in range(60))
SERVICES = ("v1", "v2")
KEYS = ("shop", "asked", "asking", "shared", "layered")


def split(*weights: int) -> dict[str, Any]:
    """A rule that draws, by weight, ``a`` and then ``b``."""
    return {"fractional": [[name, weight] for name, weight in zip("ab", weights, strict=True)]}


WEIGHTS = st.sampled_from(["5 95", "50 50", "95 5"]).map(lambda text: split(*map(int, text.split())))
RULES = st.none() | WEIGHTS | st.sampled_from(["a", "b"]).map(lambda name: {"if": [True, name]})
SEGMENTS = st.sampled_from(
    [{"ends_with": [{"var": "targetingKey"}, "1"]}, {"ends_with": [{"var": "targetingKey"}, "2"]}]
)


def flag(rule: Any, default: str, is_on: bool, safe: str) -> dict[str, Any]:
    """A flag that may route, whatever its rule asks."""
    return {
        "state": "ENABLED" if is_on else "DISABLED",
        "variants": {"a": {"serve": "v2"}, "b": {"serve": "v1"}},
        "defaultVariant": default,
        "metadata": {"safeVariant": safe},
        **({"targeting": rule} if rule else {}),
    }


@st.composite
def documents(draw: st.DrawFn) -> Rules:
    """Rules in which flags rest on each other, on a shared rule and on a layer."""
    name, is_on = st.sampled_from(["a", "b"]), st.sampled_from([True, True, True, False])
    layer = draw(st.sampled_from([[["layered", 1], ["other", 3]], [["layered", 3], ["other", 1]]]))
    rules = {
        "shop": draw(RULES),
        "asked": draw(RULES),
        "asking": {"if": [{"===": [{"flag": "asked"}, "a"]}, "a", draw(name)]},
        "shared": {"if": [{"$ref": "ones"}, "a", draw(name)]},
        "layered": {"if": [{"===": [{"$ref": "layer"}, "layered"]}, "a", "b"]},
    }
    given = {
        "flags": {key: flag(rules[key], draw(name), draw(is_on), draw(name)) for key in KEYS},
        "$evaluators": {"ones": draw(SEGMENTS), "layer": {"fractional": [{"var": "targetingKey"}, *layer]}},
        "metadata": draw(st.sampled_from([{}, {}, {"hashVersion": 1}, {"hashVersion": 3}])),
        "routes": [{"path": f"/{key}", "flag": key, "unit": "header:x-unit"} for key in ("shop", "asking")],
        "killed": sorted(draw(st.sets(st.sampled_from(KEYS), max_size=1))),
    }
    return parse_rules(given, services=SERVICES)


def asked(rules: Rules) -> Mapping[str, list[str | None]]:
    """The variant of each unit in each flag: by requests where it routes, else as an SDK asks."""
    compiled = compile_rules(
        flags=rules.flags,
        routes=rules.routes,
        evaluators=rules.evaluators,
        metadata=rules.metadata,
        killed=rules.killed,
    )
    evaluator = Evaluator(
        flags=rules.flags, evaluators=rules.evaluators, metadata=rules.metadata, killed=rules.killed
    )
    routed = {route.flag for route in rules.routes}
    found: dict[str, list[str | None]] = {key: [] for key in KEYS}
    for key in KEYS:
        for unit in UNITS:
            head = RequestHead(path=f"/{key}", headers=((b"x-unit", unit.encode()),))
            decision = compiled.decide(head) if key in routed else None
            told = evaluator.evaluate(key, {"targetingKey": unit}).variant
            found[key].append(decision.variant if decision is not None else told or None)
    return found


@given(documents(), documents())
@settings(max_examples=50, deadline=None)
def test_a_dry_run_says_what_then_happens(before: Rules, after: Rules) -> None:
    """Unit by unit: nobody moves in a flag that it does not name, and all that it names move as it says."""
    told, omitted = moves(before, after, units=UNITS, context={}, clock=lambda: 0.0)
    was, will = asked(before), asked(after)

    assert omitted == []
    said = {row["flag"]: {(way["from"], way["to"]): way["units"] for way in row["matrix"]} for row in told}
    for key in KEYS:
        pairs = list(zip(was[key], will[key], strict=True))
        if key in said:
            assert said[key] == {pair: pairs.count(pair) for pair in set(pairs)}
        else:
            assert [pair for pair in pairs if pair[0] != pair[1]] == []
