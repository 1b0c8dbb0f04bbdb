"""The report as JUnit XML, read back by an XML parser."""

from typing import Any
from xml.etree import ElementTree

import pytest
from report_examples import (
    HOSTILE,
    MARKUP,
    clean,
    empty,
    endpoint,
    full,
    hostile,
    huge,
    latency,
    markup,
    undecided,
)

from understudy.report import render_junit
from understudy.report.visible import clip

REPORTS = {
    "full": full,
    "empty": empty,
    "clean": clean,
    "undecided": undecided,
    "huge": huge,
    "hostile": hostile,
    "markup": markup,
}


def parsed(report: dict[str, Any], **options: Any) -> ElementTree.Element:
    """The root of the document, as a reader of bytes gets it."""
    return ElementTree.fromstring(render_junit(report, **options).encode("utf-8"))


def case(root: ElementTree.Element, name: str) -> ElementTree.Element:
    """The one test case called *name*."""
    found = [item for item in root.iter("testcase") if item.get("name") == name]
    assert len(found) == 1
    return found[0]


def outcome(item: ElementTree.Element) -> str:
    """What a reporter would show."""
    return next((child.tag for child in item if child.tag != "system-out"), "passed")


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_well_formed(name: str) -> None:
    """And its totals are the sums of what is in it, as reporters that trust them expect."""
    root = parsed(REPORTS[name]())

    assert root.tag == "testsuites"
    assert {item.tag for item in root.iter()} <= {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "skipped",
        "system-out",
    }
    for suite in root:
        assert int(suite.get("tests", "")) == len(suite)
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
        assert float(suite.get("time", "")) >= 0
    assert int(root.get("tests", "")) == len(list(root.iter("testcase")))


@pytest.mark.parametrize("text", [*HOSTILE, *MARKUP])
def test_hostile_names_come_back_as_they_can_be_seen(text: str) -> None:
    """Whatever XML would not take is spelled out; ``]]>``, quotes and angle brackets stay what they are."""
    root = parsed(hostile((text, "shop-v2")))

    assert (clip(text, 300) or "(unnamed)") in [suite.get("name") for suite in root]
    assert clip(f"GET /{text}", 300) in [item.get("name") for item in root.iter("testcase")]


def test_a_suite_for_the_run_and_one_for_each_service() -> None:
    """The run's verdict is a test too, so that a report without endpoints is not an empty success."""
    rows = [endpoint("GET /", service="v2"), endpoint("GET /x", service="v3")]
    root = parsed(full() | {"endpoints": rows})

    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [
        ("run", "1"),
        ("v2", "1"),
        ("v3", "1"),
    ]
    assert outcome(case(root, "verdict")) == "failure"
    assert outcome(case(parsed(empty()), "verdict")) == "skipped"


def test_a_regression_is_a_failure_with_its_evidence() -> None:
    """Message for the list, text for who opens it."""
    report = full()
    report["endpoints"][0]["findings"][0]["samples"][0]["request"] = "GET /orders/7"
    found = case(parsed(report), "GET /orders/{id}").find("failure")

    assert found is not None
    assert found.get("type") == "regression"
    assert found.get("message") == (
        "regression; /body/items/*/price sends another value, /body/currency leaves this out"
    )
    assert found.text is not None
    assert found.text.startswith(
        "regression: /body/items/*/price (value)\n"
        "the shadow sends another value: 40 of 400 answers (10%), control 0 of 40 (0%)\n"
        "request: GET /orders/7\n"
        '- "9.99"\n'
        '+ "8.99"\n'
    )
    assert "undecided: /body/total (type)" in found.text
    assert "served_at" not in found.text


@pytest.mark.parametrize(
    ("failing", "verdict", "late", "shown"),
    [
        (("regression",), "regression", "clean", "failure"),
        (("regression",), "undecided", "clean", "skipped"),
        (("regression",), "undecided", "regression", "skipped"),
        (("regression",), "clean", "regression", "passed"),
        (("regression",), "clean", "undecided", "passed"),
        (("regression", "undecided"), "undecided", "clean", "failure"),
        (("regression", "latency"), "clean", "regression", "failure"),
        (("regression", "latency"), "undecided", "regression", "failure"),
        (("regression", "latency"), "clean", "undecided", "passed"),
        (("regression", "never"), "regression", "regression", "failure"),
    ],
)
def test_what_fails_the_job_is_a_failure(
    failing: tuple[str, ...], verdict: str, late: str, shown: str
) -> None:
    """Undecided is skipped: nobody can say that it passed, and it is no fault either."""
    row = endpoint("GET /", verdict, latency=latency(late))
    root = parsed(full() | {"verdict": verdict, "endpoints": [row]}, failing=failing)

    assert outcome(case(root, "GET /")) == shown
    assert outcome(case(root, "verdict")) == shown


def test_what_passed_still_tells() -> None:
    """Latency and the books stand in the output of a test that passed; time is the shadow's median."""
    root = parsed(clean() | {"endpoints": [endpoint("GET /", latency=latency("clean"))]})
    item = case(root, "GET /")

    assert (item.get("time"), item.get("classname")) == ("0.052000", "shop-v2")
    assert "p50 +48 ms (+46 to +50 ms)" in (item.findtext("system-out") or "")
    run = case(root, "verdict").findtext("system-out") or ""
    assert run.startswith("Clean: shop-v2 answers like the primary. 800 mirrored requests compared")
    assert "1,210 eligible = 1,200 sent + 6 skipped" in run
