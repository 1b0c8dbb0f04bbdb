"""`understudy.demo.faults`: does a report name what was planted, and nothing else?"""

from typing import Any

import pytest

from understudy.demo.faults import LATENCY, PLANTED, WOBBLES, Planted, Wobble, judge

PRICE = Planted(what="price", endpoint="GET /p", path="/body/price", kind="value")
BROKEN = Planted(
    what="500",
    endpoint="GET /s",
    path="/status",
    kind="status",
    explains=(("/body", "*"), ("/headers", "missing")),
)
SLOW = Planted(what="slow", endpoint="GET /slow", path="", kind=LATENCY)
CLOCK = Wobble(what="clock", endpoint="GET /p", path="/body/at")
ANY_CLOCK = Wobble(what="clock", endpoint="*", path="/body/at")


def finding(path: str, kind: str, verdict: str = "regression") -> dict[str, Any]:
    return {"path": path, "kind": kind, "verdict": verdict}


def report(endpoint: str, *findings: dict[str, Any], latency: str = "clean") -> dict[str, Any]:
    return {
        "endpoints": [{"endpoint": endpoint, "latency": {"verdict": latency}, "findings": list(findings)}]
    }


@pytest.mark.parametrize(
    ("given", "verdict", "ok"),
    [
        (report("GET /p", finding("/body/price", "value")), "regression", True),
        (report("GET /p", finding("/body/price", "value", "undecided")), "undecided", False),
        (report("GET /p", finding("/body/price", "value", "noise")), "noise", False),
        (report("GET /p", finding("/body/price", "type", "noise")), "not found", False),
        (report("GET /p", finding("/body/prices", "value", "noise")), "not found", False),
        (report("GET /p"), "not found", False),
        (report("GET /q"), "endpoint not seen", False),
    ],
)
def test_a_fault_counts_as_found_only_as_a_regression_of_its_own_path_and_kind(
    given: dict[str, Any], verdict: str, ok: bool
) -> None:
    """Being near, being undecided or being called noise is not being found."""
    (check,) = judge(given, [PRICE], [])
    assert (check.verdict, check.ok) == (verdict, ok)


@pytest.mark.parametrize(("verdict", "ok"), [("regression", True), ("clean", False), ("undecided", False)])
def test_a_slower_endpoint_is_judged_by_its_latency(verdict: str, ok: bool) -> None:
    """A latency fault is read from the endpoint, not from its findings."""
    (check,) = judge(report("GET /slow", latency=verdict), [SLOW], [])
    assert (check.verdict, check.ok) == (verdict, ok)


@pytest.mark.parametrize("wobble", [CLOCK, ANY_CLOCK])
@pytest.mark.parametrize(
    ("verdict", "ok"), [("noise", True), ("undecided", True), ("ignored", True), ("regression", False)]
)
def test_noise_must_not_be_called_a_regression(wobble: Wobble, verdict: str, ok: bool) -> None:
    """Noise may be called anything but a regression, at one endpoint or at all."""
    (check,) = judge(report("GET /p", finding("/body/at", "value", verdict)), [], [wobble])
    assert (check.verdict, check.ok) == (verdict, ok)


def test_noise_that_the_rules_forgive_is_equal() -> None:
    """A forgiven difference need not stand in the report at all."""
    (check,) = judge(report("GET /p"), [], [CLOCK])
    assert (check.verdict, check.ok) == ("equal", True)


@pytest.mark.parametrize(
    ("path", "kind", "is_surprise"),
    [
        ("/body", "body", False),
        ("/body/results", "missing", False),
        ("/headers/x-request-id", "missing", False),
        ("/headers/x-request-id", "extra", True),
        ("/bodywork", "value", True),
    ],
)
def test_a_fault_accounts_for_what_it_drags_along(path: str, kind: str, is_surprise: bool) -> None:
    """A 500 has another body too; anything beyond is a surprise and fails the demo."""
    checks = judge(report("GET /s", finding("/status", "status"), finding(path, kind)), [BROKEN], [])
    assert [check.ok for check in checks] == ([True, False] if is_surprise else [True])


def test_an_unplanted_regression_fails() -> None:
    """A regression at an endpoint where nothing was planted is reported, latency included."""
    checks = judge(report("GET /x", finding("/body/a", "value"), latency="regression"), [], [])
    assert [(check.what, check.ok) for check in checks] == [
        ("not planted: value", False),
        ("not planted: latency", False),
    ]


def test_every_planted_thing_has_its_own_place() -> None:
    """No two faults share endpoint, path and kind; no fault stands where noise is expected."""
    faults = [(fault.endpoint, fault.path, fault.kind) for fault in PLANTED]
    assert len(faults) == len(set(faults))
    assert not {(fault.endpoint, fault.path) for fault in PLANTED} & {
        (wobble.endpoint, wobble.path) for wobble in WOBBLES
    }
