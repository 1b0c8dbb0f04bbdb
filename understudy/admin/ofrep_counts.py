"""What the decider did, counted for /metrics: evaluations, bulk answers, how long they took, open streams."""

from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from understudy.admin.stream import Room
from understudy.histogram import Histogram
from understudy.metrics import cumulative

MOST_FLAGS: Final = 1000
"""Flags with a label of their own; those beyond are ``other``, so that 10,000 flags make no 50,000 series."""
OTHER: Final = "other"


class OfrepCounts:
    """Counts since this process began. Flags come from the rules in force, never from a request."""

    def __init__(self) -> None:
        self._evaluations: Counter[tuple[str, str]] = Counter()
        self._bulk: Counter[str] = Counter()
        self._seconds = {"one": Histogram(), "all": Histogram()}
        self._rooms: dict[str, Room] = {}
        self._flags: set[str] = set()

    def watch(self, kind: str, room: Room) -> None:
        """Tell of the listeners in *room* as *kind*."""
        self._rooms[kind] = room

    def evaluated(self, flag: str, result: str, began: float) -> None:
        """One flag was asked for, from *began* (`perf_counter`) on; *flag* is empty for an unknown one."""
        if flag not in self._flags:
            if len(self._flags) < MOST_FLAGS:
                self._flags.add(flag)
            else:
                flag = OTHER
        self._evaluations[flag, result.lower()] += 1
        self._seconds["one"].observe(perf_counter() - began)

    def answered_all(self, result: str, began: float) -> None:
        """All flags were asked for: ``answered``, ``not_modified`` or ``refused``."""
        self._bulk[result] += 1
        self._seconds["all"].observe(perf_counter() - began)

    def collect(self) -> Iterator[Metric]:
        """The families."""
        evaluations = CounterMetricFamily(
            "understudy_evaluations",
            "Flags that were asked for by themselves (OFREP), by reason or error; no flag: an unknown one.",
            labels=["flag", "result"],
        )
        for labels, n in self._evaluations.items():
            evaluations.add_metric(list(labels), n)
        yield evaluations
        bulk = CounterMetricFamily(
            "understudy_bulk_evaluations",
            "Requests for all flags (OFREP): answered, not_modified (304), refused.",
            labels=["result"],
        )
        for result, n in self._bulk.items():
            bulk.add_metric([result], n)
        yield bulk
        seconds = HistogramMetricFamily(
            "understudy_evaluation_duration_seconds",
            "From the request to its answer, of one flag and of all (OFREP).",
            labels=["asked"],
        )
        for asked, histogram in self._seconds.items():
            seconds.add_metric([asked], cumulative(histogram), histogram.total)
        yield seconds
        streams = GaugeMetricFamily("understudy_streams", "Listeners to changes.", labels=["kind"])
        dropped = CounterMetricFamily(
            "understudy_streams_dropped",
            "Listeners that were cut because they were too slow.",
            labels=["kind"],
        )
        for kind, room in self._rooms.items():
            streams.add_metric([kind], room.listeners)
            dropped.add_metric([kind], room.dropped)
        yield from (streams, dropped)
