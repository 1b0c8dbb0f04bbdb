"""Reading the report's JSON."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import clean, empty, endpoint, finding, full, latency, undecided
from rich.console import Console

from understudy.report import render_html, render_junit, render_markdown, render_text
from understudy.report.summary import books, evidence, headline, notes, one_line, summary
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
    "interval",
    "units",
    "weight",
    "needed",
    "notes",
    "delta",
    "intervals",
    "buckets",
    "p50",
    "curl",
    "explanation",
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


@settings(max_examples=50, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(INNER, JSON)),
)
def test_a_report_of_any_shape_is_shown(report: dict[str, Any], inner: dict[str, Any]) -> None:
    """A report of another version, or a damaged one, loses what cannot be read and nothing else."""
    latency = inner | {"primary": inner, "shadow": inner, "delta": inner}
    found = [inner, inner | {"samples": [inner, inner | {"primary": inner}]}]
    wrapped = report | {"endpoints": [inner, inner | {"findings": found}, inner | {"latency": latency}]}

    for candidate in (report, wrapped):
        view = read_report(candidate)
        assert headline(view)
        assert summary(view)
        assert "</html>" in render_html(candidate)
        assert "Understudy" in render_markdown(candidate)
        assert "</testsuites>" in render_junit(candidate)
        render_text(candidate, Console(file=io.StringIO(), width=80))


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**5000, id="an integer that Python refuses to write"),
        pytest.param({"a": [10**5000]}, id="such an integer inside"),
        pytest.param(2**200, id="an integer over 64 bits"),
        pytest.param(float("inf"), id="infinity"),
        pytest.param("7" * 10_000_000, id="a number of ten million digits, as text"),
        pytest.param("a b\n" * 500_000, id="half a million lines"),
        pytest.param(_nested(100_000), id="nesting without end"),
    ],
)
def test_a_value_out_of_all_bounds_is_shown(value: Any) -> None:
    """In every format, within moments, and not at full length."""
    sample = {"primary": value, "shadow": [value], "request": value}
    row = finding("/body", "value", "regression", samples=[sample, sample], interval=[0, value])
    row |= {"differing": value, "rate": value, "needed": value}
    report = full() | {"endpoints": [endpoint("GET /", "regression", exchanges=value, findings=[row])]}
    page = io.StringIO()
    render_text(report, Console(file=page, width=80))

    for text in (page.getvalue(), render_markdown(report), render_junit(report), render_html(report)):
        assert 0 < len(text) < 1_000_000


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
        ({}, "shop-v2 is not ready", "4 ways of its own, at 3 of 5 endpoints, and is slower at 1 endpoint"),
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
        (
            {
                "verdict": "undecided",
                "exchanges": 0,
                "mirror": {"eligible": 5, "sent": 5, "answered": 0, "failed": {"connect_refused": 5}},
            },
            "Nothing compared yet",
            "answered so far: 5 sent = 0 answered + 5 failed (connect refused 5).",
        ),
    ],
)
def test_a_manager_understands_the_verdict(change: dict[str, Any], line: str, below: str) -> None:
    """One line for each verdict, and what it rests on."""
    view = read_report(full() | change)

    assert line in headline(view)
    assert below in summary(view)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            full(),
            (
                "Regression: shop-v2 is not ready. 1,200 mirrored requests compared; it differs from the "
                "primary in 4 ways of its own, at 3 of 5 endpoints, and is slower at 1 endpoint."
            ),
        ),
        (
            clean(),
            (
                "Clean: shop-v2 answers like the primary. 800 mirrored requests compared, without a "
                "difference of its own. 1 difference is noise: the primary differs from itself there too."
            ),
        ),
        (
            clean() | {"endpoints": [endpoint("GET /", latency=latency())]},
            (
                "Clean: shop-v2 answers like the primary. 800 mirrored requests compared, without a "
                "difference of its own. It is slower at 1 endpoint."
            ),
        ),
        (
            undecided(),
            (
                "Undecided: Too early to say whether shop-v2 is ready. 60 mirrored requests compared; 1 "
                "difference may or may not be noise. About 340 more mirrored requests will tell."
            ),
        ),
        (
            undecided() | {"endpoints": [endpoint("GET /")], "needed": None},
            (
                "Undecided: Too early to say whether shop-v2 is ready. 60 mirrored requests compared, but 2 "
                "copies got no answer: what those would have shown, nobody knows."
            ),
        ),
        (
            undecided()
            | {"endpoints": [endpoint("GET /", service=name) for name in ("v2", "v3")], "needed": 9},
            (
                "Undecided: Too early to say whether v2 and v3 are ready. 60 mirrored requests compared, too "
                "few to rule out a rare difference. About 9 more mirrored requests will tell."
            ),
        ),
        (
            full() | {"endpoints": [endpoint("GET /", "regression", service=name) for name in ("v2", "v3")]},
            (
                "Regression: v2 and v3 are not ready. 1,200 mirrored requests compared; "
                "they differ from the primary."
            ),
        ),
        (
            empty(),
            (
                "Undecided: Nothing compared yet. No mirrored request has been answered so far. Send "
                "requests through the proxy, and see that a variant names a service to mirror to."
            ),
        ),
    ],
)
def test_one_line_says_it_all(report: dict[str, Any], line: str) -> None:
    """The verdict, what it means, what it rests on and what it waits for."""
    assert one_line(read_report(report)) == line


def test_evidence_has_its_interval_and_its_units() -> None:
    """How often, within what bounds, to how many, and how often the control does."""
    row = finding("/body/x", "value", "regression", interval=[0.0721, 0.1362], units=12, with_control=40)
    view = read_report(full() | {"endpoints": [endpoint("GET /", "regression", findings=[row])]})

    assert evidence(view.findings[0]) == (
        "40 of 400 answers (10%; 95% interval 7.2% to 13.6%) to 12 units, control 0 of 40 (0%)"
    )


def test_what_weighs_most_comes_first() -> None:
    """A status that breaks clients stands before a field that was added to more answers."""
    rows = [
        finding("/body/new", "extra", "regression", 400, weight=0.5),
        finding("/status", "status", "regression", 80, weight=1.0),
    ]
    view = read_report(full() | {"endpoints": [endpoint("GET /", "regression", findings=rows)]})

    assert [item.kind for item in view.findings] == ["status", "extra"]


def test_a_sample_says_where_it_came_from() -> None:
    """Keys of the store's samples; each may be absent or of another type."""
    sample = {
        "primary": 1,
        "shadow": 2,
        "id": "00ff00ff00ff00ff",
        "at": "/body/items/3/price",
        "request": "GET /x",
        "flag": "shop",
        "seen": 1_767_000_000.5,
        "curl": "curl -sS http://127.0.0.1/x",
        "explanation": [{"path": "/body/x", "change": "values_changed", "primary": 1, "shadow": 2}, "x"],
    }
    row = finding("/body/x", "value", "regression", samples=[sample, {"primary": 3, "seen": "never"}])
    view = read_report(full() | {"endpoints": [endpoint("GET /", "regression", findings=[row])]})
    whole, bare = view.findings[0].samples

    assert (whole.id, whole.at, whole.flag) == ("00ff00ff00ff00ff", "/body/items/3/price", "shop")
    assert (whole.seen, whole.curl) == (1_767_000_000.5, "curl -sS http://127.0.0.1/x")
    assert [(one.path, one.change, one.shadow) for one in whole.explanation] == [
        ("/body/x", "values_changed", 2)
    ]
    assert (bare.id, bare.seen, bare.curl, bare.explanation) == ("", None, "", ())
