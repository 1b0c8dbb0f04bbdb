"""Why a flag answers a context as it does, in words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.decide import Document, Evaluator, why

FLAGS: dict[str, Any] = {
    "plain": {"variants": {"on": True, "off": False}, "defaultVariant": "on"},
    "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
    "killed": {
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [True, "on"]},
    },
    "split": {
        "variants": {"a": "A", "b": "B"},
        "defaultVariant": "b",
        "targeting": {
            "if": [{"==": [{"var": "country"}, "NL"]}, "a", {"fractional": [["a", 30], ["b", 70]]}]
        },
    },
    "lost": {"variants": {"on": True}, "defaultVariant": "on", "targeting": {"var": "variant"}},
}
KILLED = ("killed",)
DOCUMENT = Document(flags=FLAGS, killed=KILLED)


@pytest.mark.parametrize(
    ("key", "context", "rule"),
    [
        ("none", {}, "there is no such flag"),
        ("plain", {}, "no targeting: default variant"),
        ("off", {}, "state DISABLED: the caller's own default"),
        ("killed", {}, "killed: safe variant"),
        ("split", {"country": "NL"}, 'if[1] ==(country, "NL") → a'),
        ("split", {}, "if[2] otherwise → fractional a 30, b 70 → null: default variant"),
        ("lost", {"variant": "out"}, "variant → out"),
    ],
)
def test_the_deciding_rule_is_named(key: str, context: dict[str, Any], rule: str) -> None:
    """Each way to an answer has its words."""
    assert why(key, context, document=DOCUMENT).rule.replace("var(variant)", "variant") == rule


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=8), st.sampled_from(["NL", "BE"]))
def test_the_draw_agrees_with_the_evaluation(unit: str, country: str) -> None:
    """The bucket lies where the variant that was answered has its share; without a draw there is none."""
    context = {"targetingKey": unit, "country": country}
    answer = Evaluator(flags=FLAGS, killed=KILLED).evaluate("split", context)
    found = why("split", context, document=DOCUMENT)

    if country == "NL":
        assert (found.bucket, found.key, found.hash) == ("", "", None)
        return
    bucket = int(found.bucket.removesuffix(" of 100"))
    assert found.hash is not None
    assert bucket == found.hash * 100 >> 32
    assert found.key == "split" + unit
    assert answer.variant == ("a" if bucket < 30 else "b")
