"""Reading the report's JSON."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import endpoint, finding, full

from understudy.report import render_html
from understudy.report.summary import books, headline, notes, summary
from understudy.report.view import Flow, read_report

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KEYS = (
    "verdict",
    "exchanges",
    "with_control",
    "mirror",
    "endpoints",
    "traffic",
    "needed",
    "since",
    "notes",
    "control",
)
INNER = (
    "endpoint",
    "service",
    "exchanges",
    "matched",
    "verdict",
    "latency",
    "findings",
    "path",
    "kind",
    "samples",
)


def test_what_needs_a_reader_most_comes_first() -> None:
    """Regressions before undecided before noise; among equals, what hits more answers."""
    view = read_report(full())

    order = [(item.verdict, item.differing) for item in view.findings]
    assert order == [
        ("regression", 40),
        ("regression", 31),
        ("regression", 12),
        ("regression", 9),
        ("undecided", 3),
        ("noise", 400),
        ("noise", 380),
        ("ignored", 400),
    ]
    assert [item.endpoint for item in view.endpoints] == [
        "GET /orders/{id}",
        "GET /search",
        "GET /stock/{id}",
        "GET /reports/daily",
        "GET /",
    ]


def test_only_the_keys_of_design_are_needed() -> None:
    """Every key beside DESIGN's may be absent, and rates are worked out from counts."""
    found = finding("/status", "status", "regression", 40)
    del found["rate"], found["samples"]
    report = full() | {"endpoints": [endpoint("GET /", "regression", findings=[found])]}
    for key in ("rules_version", "since", "generated_at", "traffic"):
        del report[key]

    view = read_report(report)

    assert view.findings[0].rate == 0.1
    assert view.findings[0].control_rate is None
    assert (view.rules_version, view.since, view.traffic, view.control) == (None, None, (), None)


def test_a_missing_side_is_told_from_null() -> None:
    """``missing`` has no shadow, ``extra`` has no primary; a null of another kind is a null."""
    sample = [{"primary": None, "shadow": None}]
    kinds = ("missing", "extra", "value")
    rows = [finding(f"/body/{kind}", kind, "regression", samples=sample) for kind in kinds]

    view = read_report(full() | {"endpoints": [endpoint("GET /", "regression", findings=rows)]})

    absent = {
        item.kind: (item.samples[0].primary_absent, item.samples[0].shadow_absent) for item in view.findings
    }
    assert absent == {"missing": (False, True), "extra": (True, False), "value": (False, False)}


def test_a_sample_is_shown_once() -> None:
    """The same two answers to the same request tell nothing new; 1 and true are not the same."""
    same = {"primary": ["dark"], "shadow": 1, "request": "GET /x"}
    samples = [same, {**same, "shadow": True}, dict(same), {**same, "request": "GET /y"}]
    row = finding("/body/x", "type", "regression", samples=samples)
    view = read_report(full() | {"endpoints": [endpoint("GET /", "regression", findings=[row])]})
    assert [(one.shadow, one.request) for one in view.findings[0].samples] == [
        (1, "GET /x"),
        (True, "GET /x"),
        (1, "GET /y"),
    ]


def test_anchors_are_stable_and_distinct() -> None:
    """An open finding stays open when the page is refreshed."""
    one, other = read_report(full()), read_report(full())

    assert [item.anchor for item in one.findings] == [item.anchor for item in other.findings]
    assert len({item.anchor for item in one.findings}) == len(one.findings)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(INNER, JSON)),
)
def test_a_report_of_any_shape_is_shown(report: dict[str, Any], inner: dict[str, Any]) -> None:
    """A report of another version, or a damaged one, loses what cannot be read and nothing else."""
    wrapped = report | {"endpoints": [inner, {"findings": [inner]}, {"findings": [{"samples": [inner]}]}]}

    for candidate in (report, wrapped):
        view = read_report(candidate)
        assert headline(view)
        assert summary(view)
        assert "</html>" in render_html(candidate)


FLOW = Flow(
    eligible=1210,
    sent=1200,
    answered=1190,
    skipped=(("body_too_large", 6),),
    dropped=(("in_flight", 4),),
    failed=(("timeout", 2),),
)


def test_the_books_show_the_conservation_law() -> None:
    """Both equations, with the reasons in words and what is still under way."""
    assert books(FLOW) == (
        "1,210 eligible = 1,200 sent + 6 skipped (body too large 6) + 4 dropped (in flight 4)",
        "1,200 sent = 1,190 answered + 2 failed (timeout 2) + 8 in flight",
    )
    assert FLOW.unaccounted == 0


def test_books_that_do_not_balance_are_admitted() -> None:
    """A copy that nobody accounts for is said aloud."""
    report = full()
    report["mirror"]["eligible"] += 3

    assert "The books do not balance: 3 copies unaccounted for." in notes(read_report(report))


def test_without_control_answers_the_reader_is_warned() -> None:
    """No noise can have been learned."""
    assert "No control answers" in notes(read_report(full() | {"with_control": 0}))[0]


@pytest.mark.parametrize(
    ("change", "line", "below"),
    [
        ({}, "shop-v2 is not ready", "4 ways of its own, at 3 of 5 endpoints and is slower at 1 endpoint"),
        ({"verdict": "clean"}, "shop-v2 answers like the primary", "without a difference of its own"),
        (
            {"verdict": "undecided"},
            "Too early to say whether shop-v2 is ready",
            "About 340 more mirrored requests",
        ),
        ({"verdict": "undecided", "needed": 1}, "Too early", "About 1 more mirrored request will tell"),
        (
            {"verdict": "undecided", "exchanges": 0},
            "Nothing compared yet",
            "No mirrored request has been answered",
        ),
        (
            {"verdict": "clean", "exchanges": 0},
            "Nothing compared yet",
            "No mirrored request has been answered",
        ),
    ],
)
def test_a_manager_understands_the_verdict(change: dict[str, Any], line: str, below: str) -> None:
    """One line for each verdict, and what it rests on."""
    view = read_report(full() | change)

    assert line in headline(view)
    assert below in summary(view)
