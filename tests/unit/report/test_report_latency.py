"""Latency as a report has it."""

import pytest
from report_examples import endpoint, full, latency

from understudy.report.latency import Bucket, Interval, Latency, Quantile, read_interval, read_latency
from understudy.report.summary import latency_ruling, ruling, slowness
from understudy.report.view import read_report


def test_every_key_is_read() -> None:
    """Quantiles with their intervals, and buckets in order."""
    read = read_latency(latency())

    assert read.primary.p50 == Quantile(value=0.004, interval=Interval(low=0.0038, high=0.0041))
    assert read.shadow.p99 == Quantile(value=0.31, interval=Interval(low=0.2, high=0.4))
    assert read.delta.buckets[0] == Bucket(upper=-0.001, number=1)
    assert [bucket.upper for bucket in read.delta.buckets] == [-0.001, 0.05, 0.1, 0.4]
    assert (read.slower, read.tolerance, read.verdict, read.answers, read.needed) == (
        0.98,
        0.1,
        "regression",
        50,
        None,
    )
    assert [name for name, quantile in read.delta.named if quantile.value] == ["p50", "p90", "p99"]


@pytest.mark.parametrize("item", [None, {}, [], "x", {"primary": [], "delta": {"buckets": {"a": 1}}}])
def test_what_is_absent_is_unknown(item: object) -> None:
    """A report of an older version has no intervals and no delta."""
    assert read_latency(item) == Latency()
    assert not read_latency(item).delta.is_known


@pytest.mark.parametrize(
    "item", [None, [], [1], [1, 2, 3], ["1", 2], [2, 1], [None, 1], {"low": 1}, [float("nan"), 1], [True, 2]]
)
def test_what_is_no_interval_is_none(item: object) -> None:
    """Two finite numbers, the lower first."""
    assert read_interval(item) is None


def test_buckets_that_cannot_be_drawn_are_left_out() -> None:
    """Whatever stands there; the rest is put in order."""
    buckets = [[0.2, 5], [0.1, 3], [0.3], "x", [None, 2], [0.4, 0], [0.5, -1], ["0.6", 1], [float("inf"), 1]]
    read = read_latency({"primary": {"buckets": buckets}})

    assert [(bucket.upper, bucket.number) for bucket in read.primary.buckets] == [
        (0.1, 3),
        (0.2, 5),
        (0.4, 0),
    ]


def test_slowness_in_words() -> None:
    """Signed, each with its interval; without intervals the figures alone; without figures nothing."""
    rows = [endpoint("GET /a", latency=latency("clean"))]
    bare = latency("clean")
    del bare["delta"]["intervals"], bare["delta"]["slower"]
    rows += [endpoint("GET /b", latency=bare), endpoint("GET /c")]
    ends = {item.endpoint: slowness(item) for item in read_report(full() | {"endpoints": rows}).endpoints}

    assert ends == {
        "GET /a": "p50 +48 ms (+46 to +50 ms), p90 +92 ms (+80 to +110 ms), "
        "p99 +300 ms (-10 to +390 ms); the shadow took longer in 98%",
        "GET /b": "p50 +48 ms, p90 +92 ms, p99 +300 ms",
        "GET /c": "",
    }


def test_an_end_may_be_open() -> None:
    """A hundred answers bound their p99 from below alone, and that is said."""
    few = latency("clean")
    few["delta"]["intervals"] = {"p50": [None, 0.05], "p90": [0.08, None], "p99": [None, None]}
    view = read_report(full() | {"endpoints": [endpoint("GET /", latency=few)]})

    assert slowness(view.endpoints[0]).startswith(
        "p50 +48 ms (≤ +50 ms), p90 +92 ms (≥ +80 ms), p99 +300 ms; "
    )
    assert view.endpoints[0].latency.delta.p90.interval is None


def test_undecided_says_what_it_waits_for() -> None:
    """As findings do."""
    waiting = latency("undecided") | {"needed": 340}
    view = read_report(full() | {"endpoints": [endpoint("GET /", latency=waiting)]})

    assert slowness(view.endpoints[0]).endswith("in 98%; about 340 more answers to say whether it is slower")


@pytest.mark.parametrize(
    ("verdict", "needed", "words"),
    [
        ("regression", None, "slower"),
        ("clean", None, "not slower"),
        ("undecided", None, "undecided"),
        ("undecided", 1, "about 1 more answer to decide"),
        ("", 5, ""),
    ],
)
def test_a_verdict_on_latency_in_words(verdict: str, needed: int | None, words: str) -> None:
    """Not slower is what was shown; equal is not."""
    row = endpoint("GET /", latency=latency(verdict) | {"needed": needed})

    assert latency_ruling(read_report(full() | {"endpoints": [row]}).endpoints[0]) == words


@pytest.mark.parametrize(
    ("verdict", "late", "word"),
    [
        ("clean", "clean", "clean"),
        ("clean", "undecided", "clean"),
        ("clean", "regression", "slower"),
        ("regression", "regression", "regression, slower"),
        ("undecided", "", "undecided"),
    ],
)
def test_a_slower_shadow_shows_in_the_ruling(verdict: str, late: str, word: str) -> None:
    """Equal answers that come late are not simply clean."""
    row = endpoint("GET /", verdict, latency=latency(late))

    assert ruling(read_report(full() | {"endpoints": [row]}).endpoints[0]) == word


@pytest.mark.parametrize(("given", "read"), [(1e308, None), (-1e10, None), (5e-324, 0.0), (0.0123, 0.0123)])
def test_a_time_can_be_drawn(given: float, read: float | None) -> None:
    """What no axis could hold is unknown; what no clock could measure is nothing."""
    assert read_latency({"primary": {"p50": given}}).primary.p50.value == read
