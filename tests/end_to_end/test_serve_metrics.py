"""`/metrics`: all workers summed, valid, bounded, and never falling while workers come and go."""

from collections.abc import Iterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from serve_world import (
    Load,
    always,
    ask,
    config_text,
    end_by_force,
    says_json,
    wait_until,
    workers_of,
)
from servers import Serving, UnderstudyServe

NAMES = {
    "understudy_requests",
    "understudy_request_duration_seconds",
    "understudy_upstream_duration_seconds",
    "understudy_mirror",
    "understudy_control",
    "understudy_confirm",
    "understudy_shadow_duration_seconds",
    "understudy_comparisons",
    "understudy_differences",
    "understudy_latency_delta_seconds",
    "understudy_rules_version",
    "understudy_rules_age_seconds",
    "understudy_decide_errors",
    "understudy_exposures",
    "understudy_fallbacks",
    "understudy_ejections",
    "understudy_origins_healthy",
    "understudy_mirror_errors",
    "understudy_errors",
    "understudy_process_cpu_seconds",
    "understudy_process_resident_memory_bytes",
    "understudy_process_open_fds",
    "understudy_client_connections",
    "understudy_tunnels",
    "understudy_accept_pauses",
    "understudy_accepting",
    "understudy_overload_stage",
    "understudy_access_log",
    "understudy_workers_connected",
    "understudy_store_alarm",
    "understudy_store_healed",
    "understudy_store_trouble",
    "understudy_killed",
    "understudy_kill_file_trouble",
    "understudy_kill_file_troubles",
    "understudy_restarts",
    "understudy_settings_reloads",
    "understudy_certificate_reloads",
    "understudy_bulk_evaluations",
    "understudy_evaluation_duration_seconds",
    "understudy_evaluations",
    "understudy_exposures_dropped",
    "understudy_exposures_lost",
    "understudy_streams",
    "understudy_streams_dropped",
}

COUNTED_LAST: list[tuple[str, dict[str, str]]] = [
    ("understudy_requests_total", {"code": "2xx"}),
    ("understudy_mirror_total", {"outcome": "answered"}),
    ("understudy_control_total", {"outcome": "answered"}),
    ("understudy_comparisons_total", {}),
]
"""What is counted of a request at its very end, in whichever process."""

Sample = tuple[str, tuple[tuple[str, str], ...]]


def families(serving: Serving) -> dict[str, Metric]:
    """What a scrape says, by family; each family stands there once."""
    found = list(text_string_to_metric_families(serving.admin("/metrics").body.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def samples(serving: Serving, *, kinds: tuple[str, ...] = ("counter", "histogram")) -> dict[Sample, float]:
    """Every sample of these kinds; each stands there once."""
    values: dict[Sample, float] = {}
    for family in families(serving).values():
        for sample in family.samples if family.type in kinds else ():
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in values, key
            values[key] = sample.value
    return values


def total(values: dict[Sample, float], name: str, **labels: str) -> float:
    """The sum of the samples called *name* that carry *labels*."""
    wanted = set(labels.items())
    return sum(n for (known, pairs), n in values.items() if known == name and wanted <= set(pairs))


@pytest.fixture(scope="module")
def watched(understudy_serve: UnderstudyServe) -> Iterator[Serving]:
    """Two workers after forty requests: half equal, half not, every one with a control answer."""
    turn = iter(range(1_000_000))
    with always().listening() as primary, always().listening() as shadow:
        shadow.answer = lambda asked: says_json({"ok": next(turn) % 2 == 0})
        serving = understudy_serve(
            config_text(primary.port, shadow.port, shadow={"control": 1}, workers=2)
            + 'compare: [{"endpoint": "GET /orders/{id}"}]\n'
        )
        primary.answer = lambda asked: says_json({"ok": True})
        for number in range(40):
            ask(serving.proxy_port, f"/orders/{number}?token={number}")
        serving.settled_report(eligible=40)
        for name, labels in COUNTED_LAST:
            wait_until(lambda: total(samples(serving), name, **labels) == 40, name)  # noqa: B023
        yield serving


def test_every_family_is_there_once_and_valid(watched: Serving) -> None:
    """By the Prometheus parser; the names of the design and what stands beside them."""
    assert families(watched).keys() == NAMES


def test_workers_are_summed(watched: Serving) -> None:
    """Forty requests, whichever worker had them."""
    values = samples(watched)
    assert total(values, "understudy_requests_total", code="2xx", variant="dark", service="v1") == 40
    assert total(values, "understudy_exposures_total", flag="shop", variant="dark") == 40
    assert total(values, "understudy_request_duration_seconds_count") == 40
    assert total(values, "understudy_upstream_duration_seconds_count", service="v1") == 40
    assert total(values, "understudy_shadow_duration_seconds_count", service="v2") == 40
    assert total(values, "understudy_mirror_total", service="v2", outcome="eligible") == 40
    assert total(values, "understudy_mirror_total", service="v2", outcome="sent") == 40
    assert total(values, "understudy_control_total", service="v1", outcome="answered") == 40
    gauges = samples(watched, kinds=("gauge",))
    assert total(gauges, "understudy_workers_connected") == 2
    assert total(gauges, "understudy_rules_version") == 2  # version 1, twice


def test_every_answered_copy_has_one_result(watched: Serving) -> None:
    """match, mismatch, noise and skipped stand in one family and add up."""
    values = samples(watched)
    assert total(values, "understudy_comparisons_total", flag="shop", service="v2") == 40
    assert total(values, "understudy_comparisons_total", result="match") == 20
    results = {dict(pairs)["result"] for name, pairs in values if name == "understudy_comparisons_total"}
    assert results <= {"match", "mismatch", "noise", "skipped"}
    assert total(values, "understudy_differences_total", kind="value") == 20


def test_labels_come_from_the_configuration(watched: Serving) -> None:
    """Forty paths and queries are one endpoint; nothing that a client sent is a label."""
    text = watched.admin("/metrics").body.decode()
    assert "token" not in text
    assert "/orders/1" not in text
    before = len(samples(watched, kinds=("counter", "histogram", "gauge")))
    for number in range(200):
        ask(
            watched.proxy_port,
            f"/{number:x}/é{number}",
            f"X-Name-{number}: {number}",
            f"Cookie: uid={number}",
        )
    after = len(samples(watched, kinds=("counter", "histogram", "gauge")))
    assert after - before < 60


def test_sums_never_fall_while_workers_die_and_are_replaced(understudy_serve: UnderstudyServe) -> None:
    """What a dead worker counted stays counted; its gauges go; a worker's name is its place, not its pid."""
    with always().listening() as primary, always(says_json({"ok": False})).listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        supervisor = serving.server.process.pid
        last: dict[Sample, float] = {}

        def scrape() -> None:
            nonlocal last
            now = samples(serving)
            assert {key: (n, now.get(key)) for key, n in last.items() if now.get(key, -1.0) < n} == {}
            last = now

        with Load(serving.proxy_port, clients=4, pause_seconds=0.005) as load:
            for _ in range(4):
                load.until_answered(60)
                scrape()
                end_by_force(workers_of(supervisor, serving.admin_port)[0])
                scrape()
                load.until_answered(60)
                scrape()
                wait_until(lambda: len(workers_of(supervisor, serving.admin_port)) == 2, "two workers")
                wait_until(serving.is_ready, "two workers that serve")
            load.stop()
        scrape()
        answered = total(last, "understudy_requests_total", code="2xx")
        assert 0 < answered <= len(primary.requests())
        workers = {
            dict(pairs)["worker"] for name, pairs in last if name == "understudy_process_cpu_seconds_total"
        }
        assert workers == {"0", "1"}
