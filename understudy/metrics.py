"""Counts of one worker, cheap enough for every request, and their sum over all workers.

A worker only adds integers (DESIGN 10); it sends cumulative snapshots, and the control process turns
the sum of the latest of every worker into Prometheus families.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from understudy.histogram import DELTAS, SECONDS, Bounds, Histogram, RequestStats


class WorkerMetrics:
    """All counts of one worker. Keys are label values, taken from configuration only."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str, str, str], RequestStats] = {}
        self.fallbacks: dict[tuple[str, str, str, str, str], RequestStats] = {}
        """Requests that the default variant's service answered instead: route, flag, variant, then which
        variant was met, and its service. They stand in no row of ``requests``."""
        self.origins: dict[str, int] = {}
        """How many origins of a service are up, as this worker sees it."""
        self.ejections: Counter[str] = Counter()
        self.upstream: dict[str, Histogram] = {}
        self.shadow: dict[str, Histogram] = {}
        self.delta: dict[str, Histogram] = {}
        self.mirror: Counter[tuple[str, str]] = Counter()
        self.control: Counter[tuple[str, str]] = Counter()
        self.confirm: Counter[tuple[str, str]] = Counter()
        self.comparisons: Counter[tuple[str, str, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.certificates: Counter[str] = Counter()
        self.decide_errors: Counter[str] = Counter()
        self.mirror_errors = 0
        self.connections = 0
        self.tunnels = 0
        self.accept_pauses: Counter[str] = Counter()
        self.is_accepting = True
        self.overload_stage = 0
        self.access_log: Mapping[str, int] = {}
        self.exposures_dropped: Counter[str] = Counter()
        self.rules_version = 0
        self.rules_loaded_at = 0.0
        self.process: dict[str, float] = {}

    def request_stats(self, labels: tuple[str, str, str, str]) -> RequestStats:
        return self.requests.setdefault(labels, RequestStats())

    def fallback_stats(self, labels: tuple[str, str, str, str, str]) -> RequestStats:
        return self.fallbacks.setdefault(labels, RequestStats())

    def histogram(self, family: dict[str, Histogram], label: str, bounds: Bounds = SECONDS) -> Histogram:
        """The histogram of *label* in *family*, made on first use."""
        return family.setdefault(label, Histogram(bounds))

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON-able values: lists of [labels…, numbers…]."""
        return {
            **{
                family: [[*key, row.codes, row.duration.counts, row.duration.total] for key, row in rows]
                for family, rows in (
                    ("requests", self.requests.items()),
                    ("fallbacks", self.fallbacks.items()),
                )
            },
            **{
                family: [[label, h.counts, h.total] for label, h in rows.items()]
                for family, rows in (
                    ("upstream", self.upstream),
                    ("shadow", self.shadow),
                    ("delta", self.delta),
                )
            },
            "mirror": [[*labels, n] for labels, n in self.mirror.items()],
            "control": [[*labels, n] for labels, n in self.control.items()],
            "confirm": [[*labels, n] for labels, n in self.confirm.items()],
            "comparisons": [[*labels, n] for labels, n in self.comparisons.items()],
            "errors": list(self.errors.items()),
            "ejections": list(self.ejections.items()),
            "origins": list(self.origins.items()),
            "certificates": list(self.certificates.items()),
            "decide_errors": list(self.decide_errors.items()),
            "mirror_errors": self.mirror_errors,
            "connections": self.connections,
            "tunnels": self.tunnels,
            "accept_pauses": list(self.accept_pauses.items()),
            "is_accepting": self.is_accepting,
            "overload_stage": self.overload_stage,
            "access_log": list(self.access_log.items()),
            "exposures_dropped": list(self.exposures_dropped.items()),
            "rules_version": self.rules_version,
            "rules_loaded_at": self.rules_loaded_at,
            "process": self.process,
        }


def _merge_histograms(rows: Iterable[Sequence[Any]], bounds: Bounds) -> dict[str, Histogram]:
    merged: dict[str, Histogram] = {}
    for label, counts, total in rows:
        merged.setdefault(label, Histogram(bounds)).add(counts, total)
    return merged


def _family(name: str, text: str, label: str, merged: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=[label])
    for value, histogram in merged.items():
        family.add_metric([value], cumulative(histogram), histogram.total)
    return family


def cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """Prometheus buckets: (upper bound, count of all at or below)."""
    buckets: list[tuple[str, float]] = []
    running = 0
    for bound, n in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        running += n
        buckets.append((bound, running))
    return buckets


def _add_codes(codes: Counter[tuple[str, ...]], labels: tuple[str, ...], by_class: Sequence[int]) -> None:
    """Add answers by class of status to what is counted per *labels* and class."""
    for index, n in enumerate(by_class):
        if n:
            codes[(*labels, f"{index}xx" if index else "none")] += n


FAMILIES: Final = (
    "requests",
    "fallbacks",
    "upstream",
    "shadow",
    "delta",
    "mirror",
    "control",
    "confirm",
    "comparisons",
    "errors",
    "ejections",
    "certificates",
    "decide_errors",
    "accept_pauses",
    "access_log",
    "exposures_dropped",
)
"""The keys of a snapshot that hold rows: labels, then what is added."""


def fold(past: Mapping[str, Any], snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of two workers that are gone, as one snapshot; what is a state (a gauge) is left out."""
    cpu_seconds = sum(s.get("process", {}).get("cpu_seconds", 0.0) for s in (past, snapshot))
    return {
        **{key: _added([*past.get(key, ()), *snapshot.get(key, ())]) for key in FAMILIES},
        "mirror_errors": past.get("mirror_errors", 0) + snapshot.get("mirror_errors", 0),
        "process": {"cpu_seconds": cpu_seconds},
        "worker": snapshot.get("worker", ""),
        "gone": True,
    }


def _added(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Rows with the same labels as one."""
    sums: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        labels = tuple(takewhile(lambda value: isinstance(value, str), row))
        numbers = list(row[len(labels) :])
        known = sums.get(labels)
        if known is not None:
            numbers = [_add(mine, theirs) for mine, theirs in zip(known, numbers, strict=True)]
        sums[labels] = numbers
    return [[*labels, *numbers] for labels, numbers in sums.items()]


def _add(mine: Any, theirs: Any) -> Any:
    if isinstance(mine, list):
        return [a + b for a, b in zip(mine, theirs, strict=True)]
    return mine + theirs


class WorkersCollector:
    """prometheus-client collector over the latest snapshots, by source, read at scrape.

    *compared*: what the control process counted itself, pairs by (flag, service, result). While
    *is_whole* says no, nothing is told: a sum over some of the workers would look like counters that fell.
    """

    def __init__(
        self,
        snapshots: Mapping[str, Mapping[str, Any]],
        *,
        compared: Mapping[tuple[str, str, str], int] | None = None,
        is_whole: Callable[[], bool] = lambda: True,
    ) -> None:
        self._snapshots = snapshots
        self._is_whole = is_whole
        self._compared = compared if compared is not None else {}

    def _rows(self, key: str) -> Iterator[Sequence[Any]]:
        for snapshot in self._snapshots.values():
            yield from snapshot.get(key, ())

    def collect(self) -> Iterator[Metric]:
        if not self._is_whole():
            return
        yield from self._requests()
        yield _family(
            "understudy_upstream_duration_seconds",
            "From sending a request on to the end of the service's answer.",
            "service",
            _merge_histograms(self._rows("upstream"), SECONDS),
        )
        yield _family(
            "understudy_shadow_duration_seconds",
            "From sending a copy to the end of the shadow's answer.",
            "service",
            _merge_histograms(self._rows("shadow"), SECONDS),
        )
        yield _family(
            "understudy_latency_delta_seconds",
            "Shadow minus primary, of the same request.",
            "service",
            _merge_histograms(self._rows("delta"), DELTAS),
        )
        yield self._counter("understudy_mirror", "Copies by outcome.", ["service", "outcome"], "mirror")
        yield self._counter(
            "understudy_control", "Control calls by outcome.", ["service", "outcome"], "control"
        )
        yield self._counter(
            "understudy_confirm",
            "Second requests after a difference (shadow.confirm), by outcome.",
            ["service", "outcome"],
            "confirm",
        )
        yield self._counter(
            "understudy_comparisons",
            "Answered copies by result: match, mismatch, noise, skipped.",
            ["flag", "service", "result"],
            "comparisons",
            self._compared.items(),
        )
        yield self._counter(
            "understudy_errors", "Answers the proxy gave by itself, or cut.", ["reason"], "errors"
        )
        yield self._counter(
            "understudy_certificate_reloads",
            "Certificates that were read anew, by each worker.",
            ["result"],
            "certificates",
        )
        yield self._counter(
            "understudy_decide_errors", "Rules that failed at run time.", ["flag"], "decide_errors"
        )
        yield from self._origins()
        yield self._counter(
            "understudy_accept_pauses",
            "Times a worker stopped accepting, by what it had no more of: connections, files.",
            ["reason"],
            "accept_pauses",
        )
        yield self._counter(
            "understudy_access_log", "Lines of the access log: written, dropped.", ["outcome"], "access_log"
        )
        yield self._counter(
            "understudy_exposures_dropped",
            "Exposures that found no room, so that usage tells too little.",
            ["reason"],
            "exposures_dropped",
        )
        yield from self._singles()

    def _counter(
        self,
        name: str,
        text: str,
        labels: list[str],
        key: str,
        more: Iterable[tuple[tuple[str, ...], int]] = (),
    ) -> CounterMetricFamily:
        totals: Counter[tuple[str, ...]] = Counter(dict(more))
        for *values, n in self._rows(key):
            totals[tuple(values)] += n
        family = CounterMetricFamily(name, text, labels=labels)
        for row, n in totals.items():
            family.add_metric(list(row), n)
        return family

    def _requests(self) -> Iterator[Metric]:
        codes: Counter[tuple[str, ...]] = Counter()
        exposures: Counter[tuple[str, str]] = Counter()
        fallbacks: Counter[tuple[str, str]] = Counter()
        durations: dict[tuple[str, str, str], Histogram] = {}
        for route, flag, variant, service, by_class, counts, total in self._rows("requests"):
            _add_codes(codes, (route, flag, variant, service), by_class)
            if flag:
                exposures[flag, variant] += sum(by_class)
            durations.setdefault((flag, variant, service), Histogram()).add(counts, total)
        for route, flag, variant, met, service, by_class, counts, total in self._rows("fallbacks"):
            _add_codes(codes, (route, flag, variant, service), by_class)
            exposures[flag, met] += sum(by_class)
            fallbacks[flag, variant] += sum(by_class)
            durations.setdefault((flag, variant, service), Histogram()).add(counts, total)
        requests = CounterMetricFamily(
            "understudy_requests",
            "Requests answered.",
            labels=["route", "flag", "variant", "service", "code"],
        )
        for labels, n in codes.items():
            requests.add_metric(list(labels), n)
        yield requests
        exposed = CounterMetricFamily(
            "understudy_exposures", "Requests that met a variant.", labels=["flag", "variant"]
        )
        for pair, n in exposures.items():
            exposed.add_metric(list(pair), n)
        yield exposed
        fallen = CounterMetricFamily(
            "understudy_fallbacks",
            "Requests of a variant that met the default variant, because their own service was out.",
            labels=["flag", "variant"],
        )
        for pair, n in fallbacks.items():
            fallen.add_metric(list(pair), n)
        yield fallen
        family = HistogramMetricFamily(
            "understudy_request_duration_seconds",
            "From the request's head to the end of its answer.",
            labels=["flag", "variant", "service"],
        )
        for key, histogram in durations.items():
            family.add_metric(list(key), cumulative(histogram), histogram.total)
        yield family

    def _origins(self) -> Iterator[Metric]:
        yield self._counter(
            "understudy_ejections",
            "Origins left out because requests to them failed.",
            ["service"],
            "ejections",
        )
        fewest: dict[str, int] = {}
        for source in self._snapshots.values():
            for service, n in () if source.get("gone") else source.get("origins", ()):
                fewest[service] = min(n, fewest.get(service, n))
        healthy = GaugeMetricFamily(
            "understudy_origins_healthy",
            "Origins of a service that are up, in the eyes of the worker that sees the fewest.",
            labels=["service"],
        )
        for service, n in fewest.items():
            healthy.add_metric([service], n)
        yield healthy

    def _singles(self) -> Iterator[Metric]:
        live = {source: s for source, s in self._snapshots.items() if not s.get("gone")}
        errors = CounterMetricFamily("understudy_mirror_errors", "Exceptions inside mirroring, contained.")
        errors.add_metric([], sum(s.get("mirror_errors", 0) for s in self._snapshots.values()))
        yield errors
        connections = GaugeMetricFamily("understudy_client_connections", "Open client connections.")
        connections.add_metric([], sum(s.get("connections", 0) for s in live.values()))
        yield connections
        tunnels = GaugeMetricFamily("understudy_tunnels", "Open tunnels: WebSockets and other upgrades.")
        tunnels.add_metric([], sum(s.get("tunnels", 0) for s in live.values()))
        yield tunnels
        version = GaugeMetricFamily("understudy_rules_version", "Rules version in force.", labels=["worker"])
        cpu = CounterMetricFamily(
            "understudy_process_cpu_seconds", "CPU time of a worker.", labels=["worker"]
        )
        rss = GaugeMetricFamily(
            "understudy_process_resident_memory_bytes", "RSS of a worker.", labels=["worker"]
        )
        accepting = GaugeMetricFamily(
            "understudy_accepting", "1 while the worker accepts connections.", labels=["worker"]
        )
        stage = GaugeMetricFamily(
            "understudy_overload_stage",
            "What a worker sheds for want of memory: 0 nothing, 1 copies, 2 requests too.",
            labels=["worker"],
        )
        fds = GaugeMetricFamily("understudy_process_open_fds", "Open files of a worker.", labels=["worker"])
        seconds: Counter[str] = Counter()
        for source, snapshot in self._snapshots.items():
            seconds[snapshot.get("worker", source)] += snapshot.get("process", {}).get("cpu_seconds", 0.0)
        for worker, total in seconds.items():
            cpu.add_metric([worker], total)
        latest = {snapshot.get("worker", source): snapshot for source, snapshot in live.items()}
        for worker, snapshot in latest.items():
            process = snapshot.get("process", {})
            version.add_metric([worker], snapshot.get("rules_version", 0))
            rss.add_metric([worker], process.get("resident_bytes", 0.0))
            fds.add_metric([worker], process.get("open_fds", 0.0))
            accepting.add_metric([worker], float(snapshot.get("is_accepting", True)))
            stage.add_metric([worker], snapshot.get("overload_stage", 0))
        yield from (version, cpu, rss, fds, accepting, stage)
