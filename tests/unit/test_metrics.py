"""Counts of workers, their sum, and the text that Prometheus reads."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from understudy.histogram import DELTAS, SECONDS, Histogram
from understudy.metrics import (
    FAMILIES,
    WorkerMetrics,
    WorkersCollector,
    cumulative,
    fold,
)


@given(st.lists(st.floats(-1.0, 100.0), max_size=50))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    """In the first bucket whose bound is not below it, as Prometheus has it."""
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    assert sum(histogram.counts) == len(values)
    for (bound, count), upper in zip(cumulative(histogram), [*SECONDS, float("inf")], strict=True):
        assert count == sum(value <= upper for value in values), bound
    assert histogram.total == pytest.approx(sum(values))


def worker(*, requests: int = 0, name: str = "0", **process: float) -> dict[str, Any]:
    """A snapshot as it arrives in the control process."""
    metrics = WorkerMetrics()
    stats = metrics.request_stats(("/", "shop", "dark", "v1"))
    stats.codes[2] += requests
    stats.codes[0] += 1
    for _ in range(requests):
        stats.duration.observe(0.003)
        metrics.histogram(metrics.upstream, "v1").observe(0.002)
        metrics.histogram(metrics.delta, "v2", DELTAS).observe(-0.001)
    metrics.mirror["v2", "sent"] += requests
    metrics.control["v1", "sent"] += 1
    metrics.comparisons["shop", "v2", "match"] += requests
    stood_in = metrics.fallback_stats(("/", "shop", "canary", "dark", "v1"))
    stood_in.codes[2] += requests
    for _ in range(requests):
        stood_in.duration.observe(0.003)
    metrics.ejections["v2"] += 1
    metrics.origins["v2"] = requests
    metrics.errors["no_route"] += 1
    metrics.decide_errors["shop"] += 2
    metrics.mirror_errors = 1
    metrics.connections = 5
    metrics.accept_pauses["files"] += 2
    metrics.access_log = {"written": 10}
    metrics.is_accepting = name == "0"
    metrics.overload_stage = int(name)
    metrics.rules_version = 7
    metrics.process = {"cpu_seconds": 1.5, "resident_bytes": 1e6, "open_fds": 9.0, **process}
    return {**metrics.snapshot(), "worker": name}


def scraped(snapshots: dict[str, dict[str, Any]], **named: Any) -> dict[str, float]:
    """Every sample of a scrape by name and labels; a sample that stands there twice fails."""
    registry = CollectorRegistry()
    registry.register(WorkersCollector(snapshots, **named))
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            key = sample.name + "".join(f",{name}={value}" for name, value in sorted(sample.labels.items()))
            assert key not in values
            values[key] = sample.value
    return values


def test_workers_are_added_and_their_gauges_stand_apart() -> None:
    """Counters and histograms are summed; what a worker is stands under its name."""
    values = scraped({"0-1-a": worker(requests=3), "1-2-b": worker(requests=4, name="1")})
    labels = ",flag=shop,route=/,service=v1,variant=dark"
    assert values["understudy_requests_total,code=2xx" + labels] == 7
    assert values["understudy_requests_total,code=none" + labels] == 2
    assert values["understudy_exposures_total,flag=shop,variant=dark"] == 9 + 7
    assert values["understudy_ejections_total,service=v2"] == 2
    assert values["understudy_request_duration_seconds_count,flag=shop,service=v1,variant=dark"] == 7
    assert values["understudy_upstream_duration_seconds_bucket,le=0.0025,service=v1"] == 7
    assert values["understudy_latency_delta_seconds_bucket,le=0.0,service=v2"] == 7
    assert values["understudy_mirror_total,outcome=sent,service=v2"] == 7
    assert values["understudy_control_total,outcome=sent,service=v1"] == 2
    assert values["understudy_errors_total,reason=no_route"] == 2
    assert values["understudy_decide_errors_total,flag=shop"] == 4
    assert values["understudy_mirror_errors_total"] == 2
    assert values["understudy_client_connections"] == 10
    assert values["understudy_rules_version,worker=1"] == 7
    assert values["understudy_accept_pauses_total,reason=files"] == 4
    assert values["understudy_access_log_total,outcome=written"] == 20
    assert [values[f"understudy_accepting,worker={name}"] for name in "01"] == [1, 0]
    assert [values[f"understudy_overload_stage,worker={name}"] for name in "01"] == [0, 1]


def test_who_was_stood_in_for_is_counted_where_it_was_assigned() -> None:
    """Its rows have its own variant and the service that answered; only the exposure is the other's."""
    values = scraped({"0-1-a": worker(requests=3)})
    assert values["understudy_fallbacks_total,flag=shop,variant=canary"] == 3
    labels = ",flag=shop,route=/,service=v1,variant=canary"
    assert values["understudy_requests_total,code=2xx" + labels] == 3
    assert values["understudy_request_duration_seconds_count,flag=shop,service=v1,variant=canary"] == 3
    assert "understudy_exposures_total,flag=shop,variant=canary" not in values


def test_origins_are_told_by_the_worker_that_sees_the_fewest() -> None:
    """The dead see nothing."""
    snapshots = {"0-1-a": worker(requests=3), "1-2-b": worker(requests=2), "0-0-c": worker(requests=1)}
    snapshots["0-0-c"]["gone"] = True
    assert scraped(snapshots)["understudy_origins_healthy,service=v2"] == 2


def test_what_the_control_process_counted_stands_in_the_same_family() -> None:
    """One family of comparisons, whoever compared."""
    values = scraped(
        {"0-1-a": worker(requests=3)}, compared={("shop", "v2", "mismatch"): 5, ("shop", "v2", "match"): 2}
    )
    assert values["understudy_comparisons_total,flag=shop,result=match,service=v2"] == 5
    assert values["understudy_comparisons_total,flag=shop,result=mismatch,service=v2"] == 5


def test_the_gone_stay_in_sums_and_leave_the_gauges() -> None:
    """The successor takes over the worker's name; CPU time of both adds up, memory is the living one's."""
    gone = {**worker(requests=3, cpu_seconds=2.0), "gone": True}
    values = scraped({"0-1-a": gone, "0-2-b": worker(requests=1, resident_bytes=7.0)})
    assert values["understudy_mirror_total,outcome=sent,service=v2"] == 4
    assert values["understudy_process_cpu_seconds_total,worker=0"] == 3.5
    assert values["understudy_process_resident_memory_bytes,worker=0"] == 7.0
    assert values["understudy_client_connections"] == 5


def test_two_snapshots_of_one_worker_are_one_line() -> None:
    """A successor may connect before the loss of the old link is noticed."""
    values = scraped({"0-1-a": worker(requests=1), "0-2-b": worker(requests=1, open_fds=3.0)})
    assert values["understudy_process_open_fds,worker=0"] == 3.0


counters = st.dictionaries(
    st.tuples(st.sampled_from(["v1", "v2"]), st.sampled_from("abc")), st.integers(0, 9)
)


@given(st.lists(st.tuples(counters, st.integers(0, 5)), min_size=1, max_size=6))
def test_folding_the_gone_changes_no_sum(lives: list[tuple[dict[tuple[str, str], int], int]]) -> None:
    """A scrape of many dead workers and one of their fold are the same."""
    snapshots = {}
    folded: dict[str, Any] = {}
    for number, (counts, requests) in enumerate(lives):
        snapshot = worker(requests=requests)
        snapshot["mirror"] = [[*labels, n] for labels, n in counts.items()]
        snapshots[f"0-{number}"] = {**snapshot, "gone": True}
        folded = fold(folded, snapshot)
    assert scraped({"past 0": folded}) == pytest.approx(scraped(snapshots))


def test_a_fold_does_not_grow() -> None:
    """A thousand lives leave one row for each set of labels."""
    folded: dict[str, Any] = {}
    for _ in range(1000):
        folded = fold(folded, worker(requests=1))
    assert all(len(folded[key]) <= 1 for key in FAMILIES)
    assert folded["requests"][0][4][2] == 1000


def test_an_empty_house_has_all_families() -> None:
    """Before the first request every name is announced."""
    registry = CollectorRegistry()
    registry.register(WorkersCollector({}))
    text = generate_latest(registry).decode()
    for name in (
        "requests",
        "mirror",
        "control",
        "comparisons",
        "exposures",
        "decide_errors",
        "mirror_errors",
        "fallbacks",
        "ejections",
    ):
        assert f"# TYPE understudy_{name}_total counter" in text
    for name in ("request_duration", "upstream_duration", "shadow_duration", "latency_delta"):
        assert f"# TYPE understudy_{name}_seconds histogram" in text


def test_a_snapshot_survives_its_journey() -> None:
    """JSON there and back gives the same scrape."""
    import orjson

    snapshot = worker(requests=2)
    assert scraped({"a": orjson.loads(orjson.dumps(snapshot))}) == scraped({"a": snapshot})


def test_a_sum_over_some_workers_is_not_told() -> None:
    """After a restart of the control process, until all have been heard: absent is not the same as fallen."""
    is_whole = False
    snapshots = {"0-1-a": worker(requests=1)}
    assert scraped(snapshots, is_whole=lambda: is_whole) == {}
    is_whole = True
    assert scraped(snapshots, is_whole=lambda: is_whole) != {}
