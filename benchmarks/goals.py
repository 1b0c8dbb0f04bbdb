"""What the figures have to show, and whether they do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from figures import Row
from latency import Latency, rise_ms

PLAIN, MIRROR, CONTROL = "understudy", "understudy+mirror", "understudy+mirror+control"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One bound on a figure; *value* is None when it was not measured."""

    what: str
    value: float | None
    at_most: float
    unit: str = ""

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        if self.value is None:
            return "not measured"
        return "reached" if self.value <= self.at_most else "missed"


RATIOS = (
    ("get", MIRROR, "nginx+mirror", 0.58, "mirror, equal answers"),
    ("get", MIRROR, "envoy+mirror", 0.42, "mirror, equal answers"),
    ("noisy", MIRROR, "envoy+mirror", 1.0, "mirror, one noisy field in every answer"),
    ("get", PLAIN, "envoy", 0.54, "no mirror"),
    ("get", PLAIN, "nginx", 1.7, "no mirror"),
)
"""Scenario, ours, theirs, and what the ratio of their CPU time per request may be at most."""

HUNG_MS = 1.0
"""What a hung shadow may add to the 99th percentile, against no shadow, at half the capacity."""

DIFFERENT_MS = 1.0
"""What it may add that every answer differs and is compared, against answers that are all equal."""


def goals(tables: Mapping[str, Sequence[Row]], latencies: Sequence[Latency]) -> list[Goal]:
    """Every goal, reached or not."""
    found = [
        Goal(
            what=f"{what}: CPU of {ours} over {theirs}",
            value=_ratio(tables.get(scenario, ()), ours, theirs),
            at_most=most,
        )
        for scenario, ours, theirs, most, what in RATIOS
    ]
    ours = [one for one in latencies if one.peer == PLAIN]
    failed = float(sum(one.failed for one in ours)) if ours else None
    hung = rise_ms(latencies, PLAIN, "hung", "none")
    different = rise_ms(latencies, PLAIN, "different", "healthy")
    return [
        *found,
        Goal(
            what="half load: p99, hung shadow minus none, median of the rounds",
            value=hung,
            at_most=HUNG_MS,
            unit=" ms",
        ),
        Goal(
            what="half load: p99, every answer different minus all equal, median of the rounds",
            value=different,
            at_most=DIFFERENT_MS,
            unit=" ms",
        ),
        Goal(what="half load: failed requests, whatever the shadow does", value=failed, at_most=0.0),
    ]


def _ratio(some: Sequence[Row], ours: str, theirs: str) -> float | None:
    cpu = {row.target: row.cpu_us for row in some}
    return cpu[ours] / cpu[theirs] if ours in cpu and theirs in cpu else None


def ratios(tables: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, str, str, float]]:
    """Scenario, ours, theirs, and the ratio of their CPU time per request, like beside like."""
    for scenario, some in tables.items():
        for ours in (row for row in some if row.target in (PLAIN, MIRROR, CONTROL)):
            for theirs in some:
                if theirs.is_mirror is ours.is_mirror and not theirs.target.startswith("understudy"):
                    yield scenario, ours.target, theirs.target, ours.cpu_us / theirs.cpu_us
