"""`understudy.comparators.suggest`: narrow rules for noise, and refusals with their reason."""
# ruff: noqa: E501 - one case, one line

from typing import Any

import pytest
from comparators_examples import compare_json, json_answer
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators import Comparison, parse_compare_rules, suggest
from understudy.comparators.found import FORGIVABLE
from understudy.comparators.pattern import covers, is_at, parse_pattern, tokens_of
from understudy.comparators.templates import is_meant

ENDPOINT = "GET /orders/{id}"
UUIDS = ("3b241101-e2bb-4255-8caf-4136c566a962", "9f8b1a2c-0d3e-4f56-8a7b-1c2d3e4f5a6b")


def finding(
    path: str, kind: str = "value", verdict: str = "noise", *pairs: tuple[Any, Any]
) -> dict[str, Any]:
    samples = [{"primary": a, "shadow": b} for a, b in pairs]
    return {"path": path, "kind": kind, "verdict": verdict, "differing": 40, "samples": samples}


def told(*findings: dict[str, Any], endpoint: str = ENDPOINT) -> dict[str, Any]:
    return {"endpoints": [{"endpoint": endpoint, "service": "v2", "findings": list(findings)}]}


@pytest.mark.parametrize(
    ("path", "kind", "pairs", "rule"),
    [
        ("/body/ref", "value", [UUIDS, UUIDS[::-1]], {"matching": "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"}),
        ("/body/ref", "value", [("req-" + UUIDS[0], "req-" + UUIDS[1])], {"matching": r"req\-[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"}),
        ("/body/at", "value", [("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.4Z")], {"tolerance": {"seconds": 1}}),
        ("/body/at", "value", [("2026-01-01T00:00:00Z", "2026-01-01T01:00:09+01:00")], {"tolerance": {"seconds": 20}}),
        ("/body/at", "value", [("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z")], {"matching": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"}),
        ("/body/day", "value", [("2026-01-01", "2026-01-02")], {"matching": r"\d{4}-\d\d-\d\d"}),
        ("/body/at", "value", [(1767000000, 1767000003)], {"tolerance": {"seconds": 10}}),
        ("/body/at", "value", [(1767000000123, 1767000000500)], {"tolerance": {"seconds": 1}}),
        ("/body/id", "value", [(1000001, 1000002)], {"matching": r"-?\d+"}),
        ("/body/order_id", "value", [(10, 10.2)], {"matching": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"}),
        ("/body/next", "value", [(1000001, 1000002)], {"matching": r"-?\d+"}),
        ("/body/load", "value", [(0.50, 0.51), (0.6, 0.6)], {"tolerance": {"relative": 0.05}}),
        ("/body/load", "value", [("9.99", "9.98")], {"tolerance": {"relative": 0.005}}),
        ("/body/views", "value", [(3, 9)], {"matching": r"-?\d+"}),
        ("/body/hash", "value", [("9fceb02d", "0ae598e9")], {"matching": "[0-9a-f]{8}"}),
        ("/body/hash", "value", [("9fceb02d", "0ae598e95d")], {"matching": "[0-9a-f]+"}),
        ("/body/word", "value", [("red", "blue\ngreen")], {"matching": "(?s).*"}),
        ("/body/word", "value", [("[redacted 0123456789ab]", "[redacted ba9876543210]")], {"matching": "(?s).*"}),
        ("/body/flag", "value", [(True, False)], {"ignore": None}),
        ("/headers/etag", "header", [('"a1"', 'W/"b2"')], {"matching": r'(?:W/)?"[^"]*"'}),
        ("/headers/x-ids", "header", [(["11", "12"], ["11", "13"])], {"matching": r"-?\d+"}),
        ("/body/items", "order", [([{"sku": "a", "n": 1}, {"sku": "b", "n": 1}], [{"sku": "b", "n": 1}, {"sku": "a", "n": 1}])], {"key": "sku"}),
        ("/body/items", "order", [([{"userId": 1}, {"userId": 2}], [{"userId": 2}, {"userId": 1}])], {"key": "userId"}),
        ("/body/items", "order", [([{"sku": "a"}, {"sku": "a"}], [{"sku": "a"}, {"sku": "a"}])], {"unordered": None}),
        ("/body/tags", "order", [(["a", "b"], ["b", "a"])], {"unordered": None}),
        ("/body/tags", "order", [], {"unordered": None}),
    ],
)  # fmt: skip
def test_the_narrowest_rule_is_suggested(
    path: str, kind: str, pairs: list[tuple[Any, Any]], rule: dict[str, Any]
) -> None:
    """By the form of what was seen; with what it would have hidden, and as a rule that can be read."""
    found = suggest(told(finding(path, kind, "noise", *pairs)))
    (suggestion,) = found["suggestions"]
    ((name, said),) = rule.items()
    expected = {"endpoint": ENDPOINT, name: [path] if said is None else {path: said}}
    assert (suggestion["rule"], suggestion["hides"]) == (expected, 40)
    assert suggestion["why"]
    assert parse_compare_rules([suggestion["rule"]])[1] == []


@pytest.mark.parametrize(
    ("findings", "reason"),
    [
        ([finding("/body/a", "value", "regression", (1, 2))], "REGRESSION"),
        ([finding("/body/a", "missing", "regression", (1, None))], "REGRESSION"),
        ([finding("/body/a", "value", "undecided", (1, 2))], "UNDECIDED"),
        ([finding("/body/a", "missing", "noise", (1, None))], "STRUCTURAL"),
        ([finding("/body/a", "extra")], "STRUCTURAL"),
        ([finding("/body/a", "type", "noise", (1, "1"))], "STRUCTURAL"),
        ([finding("/status", "status", "noise", (200, 503))], "STRUCTURAL"),
        ([finding("/headers/content-type", "content_type", "noise", ("a", "b"))], "STRUCTURAL"),
        ([finding("/body/a", "length", "noise", (1, 2))], "ARRAY_LENGTH"),
        ([finding("/body", "body", "noise", ("a", "b"))], "ROOT_VALUE"),
        ([finding("/body", "value", "noise", ("a", "b"))], "ROOT_VALUE"),
        ([finding("/body/{other}", "value", "noise", (1, 2))], "UNREPRESENTABLE"),
        ([finding("/body/aaa…", "value", "noise", (1, 2))], "UNREPRESENTABLE"),
        ([finding("/body/a")], "NO_SAMPLE"),
        ([finding("/body/a", "value", "noise", ([1], [1, 2]))], "UNRESOLVED"),
    ],
)
def test_what_no_rule_should_hide_is_refused(findings: list[dict[str, Any]], reason: str) -> None:
    """With the reason in a word and in a sentence."""
    found = suggest(told(*findings))
    if reason == "UNRESOLVED":  # lists: no pattern can be held against them, so the place would be ignored
        assert found["suggestions"][0]["rule"] == {"endpoint": ENDPOINT, "ignore": ["/body/a"]}
        return
    (refused,) = found["refused"]
    assert found["suggestions"] == []
    assert refused["reason"] == reason
    assert len(refused["why"]) > 10


def test_other_paths_are_counted_together_and_have_no_rule() -> None:
    """What is beyond the bound of endpoints cannot be named."""
    found = suggest(told(finding("/body/a", "value", "noise", (1, 2)), endpoint="GET (other)"))
    assert found["refused"][0]["reason"] == "UNREPRESENTABLE"


def test_a_rule_that_would_hide_a_regression_is_refused() -> None:
    """At a sibling that the placeholder takes in, and at an endpoint that the template takes in."""
    noise = finding("/body/m/{key}", "value", "noise", ("red", "blue"))
    fault = finding("/body/m/total", "value", "regression", (1, 2))
    found = suggest(told(noise, fault))
    assert [item["reason"] for item in found["refused"]] == ["OVER_BROAD", "REGRESSION"]
    report = told(finding("/body/a", "value", "noise", ("red", "blue")))
    report["endpoints"] += told(
        finding("/body/a", "value", "undecided", (1, 2)), endpoint="GET /orders/last"
    )["endpoints"]
    assert [item["reason"] for item in suggest(report)["refused"]] == ["OVER_BROAD", "UNDECIDED"]


def test_ignoring_is_refused_where_something_comes_and_goes() -> None:
    """A flapping switch that is sometimes missing: ignoring it would hide that."""
    found = suggest(
        told(finding("/body/on", "value", "noise", (True, False)), finding("/body/on", "missing", "noise"))
    )
    assert [item["reason"] for item in found["refused"]] == ["OVER_BROAD", "STRUCTURAL"]


def test_one_service_where_it_is_a_regression_is_enough() -> None:
    """A rule holds at the endpoint, whichever service is compared."""
    report = told(finding("/body/a", "value", "noise", (1, 2)))
    report["endpoints"] += told(finding("/body/a", "value", "regression", (1, 2)))["endpoints"]
    assert [item["reason"] for item in suggest(report)["refused"]] == ["REGRESSION"]


def test_order_and_content_that_change_together_are_ambiguous() -> None:
    """With a field that names the items they are matched first; without one nobody knows what differs."""
    lists = ([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 3}])
    keyed = ([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}])
    below = finding("/body/items/*/n", "value", "noise", (1, 2))
    found = suggest(told(finding("/body/items", "order", "noise", lists), below))
    assert [item["reason"] for item in found["refused"]] == ["ORDER_AMBIGUOUS", "ORDER_AMBIGUOUS"]
    found = suggest(told(finding("/body/items", "order", "noise", keyed), below))
    assert found["suggestions"][0]["rule"] == {"endpoint": ENDPOINT, "key": {"/body/items": "id"}}
    assert [item["reason"] for item in found["refused"]] == ["ORDER_AMBIGUOUS"]


def test_regressions_only_when_asked_for() -> None:
    """Values that are meant to differ from now on; what is structural stays refused."""
    report = told(
        finding("/body/a", "value", "regression", ("x", "y")), finding("/body/b", "missing", "regression")
    )
    found = suggest(report, include_regressions=True)
    assert [item["path"] for item in found["suggestions"]] == ["/body/a"]
    assert [item["reason"] for item in found["refused"]] == ["STRUCTURAL"]


def test_what_is_ignored_needs_no_rule() -> None:
    """Findings that rules in force cover are neither suggested nor refused."""
    assert suggest(told(finding("/body/a", "value", "ignored", (1, 2)))) == {"suggestions": [], "refused": []}


def test_a_suggested_rule_forgives_what_was_seen() -> None:
    """Put in force, the differences it was made from are ignored; one of another form still counts."""
    (difference,) = compare_json({"ref": UUIDS[0]}, {"ref": UUIDS[1]})
    found = suggest(
        told(
            finding("/body/ref", "value", "noise", (difference.primary, difference.shadow)), endpoint="GET /x"
        )
    )
    rules, _ = parse_compare_rules([item["rule"] for item in found["suggestions"]])
    compare = Comparison(rules).compare
    one, two, odd = (json_answer({"ref": value}) for value in (*UUIDS, "none"))
    assert [d.ignored for d in compare("GET /x", one, two)] == [True]
    assert [d.ignored for d in compare("GET /x", one, odd)] == [False]


PATHS = st.lists(st.sampled_from(["a", "b", "{key}", "*"]), max_size=3).map(lambda p: "/".join(["/body", *p]))
VALUES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", *UUIDS, "2026-01-01", "12"])
ITEMS = VALUES | st.lists(st.dictionaries(st.sampled_from(["id", "n"]), VALUES), max_size=3)
FINDINGS = st.builds(
    lambda path, kind, verdict, pairs: finding(path, kind, verdict, *pairs),
    PATHS | st.just("/status") | st.just("/headers/etag"),
    st.sampled_from(["value", "order", "missing", "type", "length", "header", "status", "body"]),
    st.sampled_from(["noise", "noise", "regression", "undecided", "ignored"]),
    st.lists(st.tuples(ITEMS, ITEMS), max_size=2),
)
REPORTS = st.lists(
    st.tuples(st.sampled_from(["GET /o/{id}", "GET /o/x", "POST /o"]), st.lists(FINDINGS, max_size=6)),
    max_size=4,
)


@given(REPORTS)
@settings(max_examples=50)
def test_no_suggestion_covers_a_fault(groups: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Neither a regression, nor what is undecided, nor what is structural, at any endpoint it means."""
    report = {"endpoints": [{"endpoint": name, "findings": findings} for name, findings in groups]}
    faults = [
        (name, item["path"], item["kind"])
        for name, findings in groups
        for item in findings
        if item["verdict"] in ("regression", "undecided")
        or (item["verdict"] == "noise" and item["kind"] in ("missing", "type", "length", "status"))
    ]
    for suggestion in suggest(report)["suggestions"]:
        rules, problems = parse_compare_rules([suggestion["rule"]])
        assert problems == []
        near = [fault for fault in faults if is_meant(rules[0].endpoint, fault[0])]
        for _, path, kind in near:
            tokens = tokens_of(path)
            assert not any(covers(parse_pattern(pattern), tokens) for pattern in rules[0].ignore)
            by_value = (*rules[0].matching, *rules[0].tolerance)
            assert kind not in FORGIVABLE or not any(is_at(parse_pattern(p), tokens) for p in by_value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["endpoints", "findings", "endpoint", "path", "kind", "verdict", "samples", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["endpoints", "x"]), JSON, max_size=2))
@settings(max_examples=50)
def test_no_report_throws(report: dict[str, Any]) -> None:
    """A file may say anything."""
    assert set(suggest(report)) == {"suggestions", "refused"}
