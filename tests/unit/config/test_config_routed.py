"""A worker reads a part of the rules, and decides as if it had read them all."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.config import parse_rules, routed
from understudy.decide import compile_rules
from understudy.errors import ConfigError
from understudy.messages import RequestHead

KEYS = ["shop", "base", "deep", "aside", "alone"]
ROUTING = {"stable": {"serve": "v1"}, "canary": {"serve": "v2"}}


def flag(rule: Any = None) -> dict[str, Any]:
    made: dict[str, Any] = {"variants": ROUTING, "defaultVariant": "stable"}
    return made if rule is None else {**made, "targeting": rule}


def asking(key: str) -> dict[str, Any]:
    return {"if": [{"===": [{"flag": key}, "canary"]}, "canary", "stable"]}


def document(**changes: Any) -> dict[str, Any]:
    """`shop` is routed and asks `base`, which uses a shared rule that asks `deep`; two flags are nobody's."""
    by_unit = {"fractional": [{"cat": ["s", {"var": "targetingKey"}]}, ["canary", 50], ["stable", 50]]}
    return {
        "flags": {
            "shop": flag(asking("base")),
            "base": flag({"if": [{"$ref": "early"}, "canary", "stable"]}),
            "deep": flag(by_unit),
            "aside": flag(asking("shop")),
            "alone": flag(by_unit),
        },
        "$evaluators": {"early": {"===": [{"flag": "deep"}, "canary"]}},
        "routes": [{"path": "/", "flag": "shop", "unit": "header:x-unit"}],
        **changes,
    }


def test_flags_that_decide_no_request_are_left_out() -> None:
    """Those that are asked stay, through shared rules too; all else of the document stays as it is."""
    whole = document(killed=["deep", "alone"])
    part: Any = routed(whole)
    assert list(part["flags"]) == ["shop", "base", "deep"]
    assert part["killed"] == ["deep"]
    assert {**part, "flags": whole["flags"], "killed": whole["killed"]} == whole


@settings(max_examples=30)
@given(st.sets(st.sampled_from(KEYS)), st.integers(0, 1000))
def test_every_request_is_decided_as_by_the_whole(killed: set[str], unit: int) -> None:
    """Variant and reason are the same, whichever flags are killed."""
    whole = document(killed=sorted(killed))
    head = RequestHead(headers=((b"X-Unit", b"%d" % unit),), client_ip="127.0.0.1")
    decided = []
    for given_document in (whole, routed(whole)):
        rules = parse_rules(given_document, services=("v1", "v2"))
        compiled = compile_rules(
            flags=rules.flags, routes=rules.routes, evaluators=rules.evaluators, killed=rules.killed
        )
        decision = compiled.decide(head)
        assert decision is not None
        decided.append((decision.variant, decision.reason, decision.serve, decision.index))
    assert decided[0] == decided[1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"flags": []},
        {"flags": {}, "routes": {}},
        {"flags": {"a": 1}, "routes": [{"flag": "a"}]},
        {"flags": {}, "routes": [{"path": "/", "flag": "gone"}]},
        document(routes=[{"path": "/", "flag": ["shop"]}]),
        document(killed=["nobody"]),
        document(killed=[[]]),
        document(**{"$evaluators": 3}),
    ],
    ids=str,
)
def test_what_is_no_rules_document_is_refused_as_ever(value: Any) -> None:
    """Leaving flags out mends nothing."""
    for given_value in (value, routed(value)):
        with pytest.raises(ConfigError):
            parse_rules(given_value, services=("v1", "v2"))
