"""What Prometheus is told of the processes and of the store, by the control process."""

from collections.abc import Callable, Collection, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from understudy.app.board import RELOADS, RESTARTS, Board
from understudy.store import REASONS


class Collected:
    """Lets prometheus-client read what *collect* gives."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        yield from self._collect()


def board_families(board: Board) -> Iterator[Metric]:
    """What the supervisor has counted."""
    restarts = CounterMetricFamily(
        "understudy_restarts",
        "Processes started anew, because they died or because it was asked (a rolling restart).",
        labels=["process", "reason"],
    )
    for labels, n in board.rows(RESTARTS):
        restarts.add_metric(list(labels), n)
    yield restarts
    reloads = CounterMetricFamily(
        "understudy_settings_reloads", "Reloads of the configuration file.", labels=["result"]
    )
    for labels, n in board.rows(RELOADS):
        reloads.add_metric(list(labels), n)
    yield reloads


def store_families(alarms: Collection[str], *, healed: int, is_in_trouble: bool) -> Iterator[Metric]:
    """Every alarm, also those that are silent, so that a rule for alerts has something to look at."""
    trouble = GaugeMetricFamily("understudy_store_trouble", "1 while the store cannot be used.")
    trouble.add_metric([], 1.0 if is_in_trouble else 0.0)
    yield trouble
    alarm = GaugeMetricFamily(
        "understudy_store_alarm",
        "1 while a part of the store is away or wrong, although rules are served.",
        labels=["reason"],
    )
    for reason in REASONS:
        alarm.add_metric([reason], 1.0 if reason in alarms else 0.0)
    yield alarm
    repairs = CounterMetricFamily(
        "understudy_store_healed", "How often Redis had lost the rules, and was given them again."
    )
    repairs.add_metric([], healed)
    yield repairs
