"""`understudy.comparators.covered`: what rules say of findings that were counted before them."""

from typing import Any

import pytest
from comparators_examples import compare_json, rules
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Difference, covered, observe, report


@pytest.mark.parametrize(
    ("rule", "path", "kind", "expected"),
    [
        ({"ignore": ["/t"]}, "/body/t", "value", True),
        ({"ignore": ["/t"]}, "/body/t/a/*", "missing", True),
        ({"ignore": ["/t"]}, "/body/tt", "value", False),
        ({"ignore": ["/t/a"]}, "/body/t", "missing", False),
        ({"ignore": ["/a/*/t"]}, "/body/a/*/t", "value", True),
        ({"ignore": ["/a/0/t"]}, "/body/a/*/t", "value", False),
        ({"ignore": ["/m/{key}"]}, "/body/m/{key}/t", "value", True),
        ({"ignore": ["/m/17"]}, "/body/m/{key}", "value", False),
        ({"ignore": ["/a~1b"]}, "/body/a~1b", "value", True),
        ({"ignore": ["/headers/ETag"]}, "/headers/etag", "header", True),
        ({"ignore": ["/status"]}, "/status", "status", True),
        ({"ignore": [""]}, "/body/{other}", "value", True),
        ({"only": ["/a"]}, "/body/b", "value", True),
        ({"only": ["/a"]}, "/body/a/c", "value", False),
        ({"only": ["/a/b"]}, "/body/a", "missing", False),
        ({"only": ["/a/0"]}, "/body/a/*", "value", False),
        ({"only": ["/a/0"]}, "/body/a/*/c", "value", False),
        ({"only": ["/a"]}, "/headers/etag", "header", False),
        ({"only": ["/a"], "ignore": ["/a/t"]}, "/body/a/t", "value", True),
        ({"unordered": ["/a"]}, "/body/a", "order", True),
        ({"unordered": ["/a"]}, "/body/a", "length", False),
        ({"unordered": ["/a/*/b"]}, "/body/a/*/b", "order", True),
        ({"key": {"/a": "id"}}, "/body/a", "order", True),
        ({"matching": {"/a": ".*"}}, "/body/a", "value", False),
        ({"tolerance": {"/a": 9}}, "/body/a", "value", False),
    ],
)
def test_what_is_covered(rule: dict[str, Any], path: str, kind: str, expected: bool) -> None:
    """Whole branches, and order; what hangs on the values is not."""
    assert covered(rules(rule), "GET /x", path, kind) == expected


def test_rules_of_other_endpoints_cover_nothing() -> None:
    """A rule covers where it says."""
    some = rules({"endpoint": "GET /a/{id}", "ignore": ["/t"]})
    assert covered(some, "GET /a/{uuid}", "/body/t", "value")
    assert not covered(some, "GET /b/{id}", "/body/t", "value")


def test_a_finding_that_a_rule_covers_is_ignored() -> None:
    """Counted as a regression before; ignored once the rule is in force; a note names a rule that is idle."""
    flow = ("mirror", "v2")
    evidence: dict[tuple[str, ...], int] = {
        (*flow, what, ""): 500 for what in ("eligible", "sent", "answered")
    }
    difference = Difference(path="/body/t", kind="value", primary=1, shadow=2)
    for _ in range(500):
        observe(evidence, service="v2", endpoint="GET /x", differences=[difference], control_differences=[])
    assert report(evidence)["verdict"] == "regression"
    told = report(evidence, rules=rules({"ignore": ["/t"]}, {"endpoint": "GET /typo", "ignore": ["/t"]}))
    (finding,) = told["endpoints"][0]["findings"]
    assert (told["verdict"], finding["verdict"], finding["needed"]) == ("clean", "ignored", None)
    assert "compare[1] (GET /typo) means no endpoint that was seen so far." in told["notes"]


def test_rules_that_did_nothing_are_told() -> None:
    """A path with a typing error, once there was enough to forgive; not what lies in a list without order."""
    forgiven = Difference(path="/body/t", kind="value", primary=1, shadow=2, ignored=True)
    evidence: dict[tuple[str, ...], int] = {}
    some = rules(
        {
            "ignore": ["/t", "/tpyo"],
            "tolerance": {"/n": 1, "/list/*/n": 1},
            "unordered": ["/list"],
        }
    )
    for _ in range(20):
        observe(evidence, service="v2", endpoint="GET /x", differences=[forgiven], control_differences=[])
    assert report(evidence, rules=some)["notes"] == []
    for _ in range(500):
        observe(evidence, service="v2", endpoint="GET /x", differences=[forgiven], control_differences=[])
    told = report(evidence, rules=some)["notes"]
    assert "compare[0].ignore[1] (/tpyo), compare[0].tolerance[/n] have forgiven nothing so far." in told


TREES = st.recursive(
    st.integers(0, 2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=3),
    max_leaves=8,
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "*", "0"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


@given(TREES, TREES, st.lists(PATHS, max_size=2), st.lists(PATHS, max_size=2))
@settings(max_examples=50)
def test_what_is_covered_would_not_count(
    primary: object, shadow: object, ignore: list[str], only: list[str]
) -> None:
    """Every difference at a covered place is forgiven by the comparison with the same rule."""
    rule = {"ignore": ignore, **({"only": only} if only else {})}
    for difference in compare_json(primary, shadow, rule):
        if covered(rules(rule), "GET /x", difference.path, difference.kind):
            assert difference.ignored
