"""Which findings and endpoints a reader asked for."""

import pytest
from report_examples import full

from understudy.report.search import Search, read_search
from understudy.report.view import read_report

VIEW = read_report(full())


@pytest.mark.parametrize(
    ("text", "verdict", "paths"),
    [
        ("price", "", ["/body/items/*/price"]),
        ("ORDERS currency", "", ["/body/currency"]),
        ("search noise", "", []),
        ("", "ignored", ["/body/trace"]),
        ("orders", "undecided", ["/body/total"]),
        ("length shop-v2", "", ["/body/results"]),
        ("", "slower", []),
    ],
)
def test_findings_are_found_by_words_and_verdict(text: str, verdict: str, paths: list[str]) -> None:
    """Every word must occur in endpoint, service, path or kind, whatever its case."""
    found = Search(text=text, verdict=verdict).findings(VIEW)

    assert [finding.path for finding in found] == paths


@pytest.mark.parametrize(
    ("text", "verdict", "endpoints"),
    [
        ("price", "", {"GET /orders/{id}"}),
        ("reports", "", {"GET /reports/daily"}),
        ("", "slower", {"GET /reports/daily"}),
        ("", "noise", {"GET /orders/{id}", "GET /search"}),
        ("orders", "clean", set()),
    ],
)
def test_endpoints_are_found_by_themselves_and_their_findings(
    text: str, verdict: str, endpoints: set[str]
) -> None:
    """An endpoint stays as long as anything of it was asked for."""
    found = Search(text=text, verdict=verdict).endpoints(VIEW)

    assert {endpoint.endpoint for endpoint in found} == endpoints


def test_nothing_asked_is_everything() -> None:
    """The page without a query narrows nothing."""
    search = read_search("  ", "no such verdict")

    assert not search.is_narrowing
    assert search.findings(VIEW) == VIEW.findings
    assert search.endpoints(VIEW) == VIEW.endpoints


def test_a_query_is_bounded() -> None:
    """A megabyte in the address bar is cut."""
    assert len(read_search("x" * 10**6, "").text) == 200
