"""What was measured at saturation, and what speaks against it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

MOST_MISSING = 0.05
"""Share of the requests; if more are not mirrored, the figure of a mirroring proxy flatters it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the client against one proxy."""

    target: str
    scenario: str
    is_mirror: bool
    requests: int
    cpu_us: float
    """CPU time of all processes of the proxy for each answered request, in microseconds."""
    per_second: float
    p50_ms: float
    p99_ms: float
    upstream_requests: float
    """Requests that reached both upstreams for each one answered: 1 for the primary, 1 for the shadow,
    and the share that is asked twice. Those that the end of the run cut off come on top."""
    memory_mib: float
    errors: int
    timeouts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The medians of a proxy's runs, and the range of its CPU time."""

    target: str
    is_mirror: bool
    runs: int
    cpu_us: float
    cpu_us_least: float
    cpu_us_most: float
    per_second: float
    p50_ms: float
    p99_ms: float
    upstream_requests: float
    memory_mib: float
    errors: int
    timeouts: int


def rows(runs: Iterable[Run]) -> dict[str, list[Row]]:
    """By scenario one row for each proxy, in the order of their first runs."""
    grouped: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        grouped.setdefault(run.scenario, {}).setdefault(run.target, []).append(run)
    return {scenario: [_row(mine) for mine in some.values()] for scenario, some in grouped.items()}


def _row(runs: list[Run]) -> Row:
    return Row(
        target=runs[0].target,
        is_mirror=runs[0].is_mirror,
        runs=len(runs),
        cpu_us=median(run.cpu_us for run in runs),
        cpu_us_least=min(run.cpu_us for run in runs),
        cpu_us_most=max(run.cpu_us for run in runs),
        per_second=median(run.per_second for run in runs),
        p50_ms=median(run.p50_ms for run in runs),
        p99_ms=median(run.p99_ms for run in runs),
        upstream_requests=median(run.upstream_requests for run in runs),
        memory_mib=max(run.memory_mib for run in runs),
        errors=sum(run.errors for run in runs),
        timeouts=sum(run.timeouts for run in runs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What our own report says about the answers of one endpoint."""

    endpoint: str
    is_noisy: bool
    compared: int
    equal: int
    not_compared: int
    passed_over: int
    with_control: int

    @property
    def is_right(self) -> bool:
        """Equal answers were found equal, and noisy ones different: all of them."""
        return self.compared > 0 and self.equal == (0 if self.is_noisy else self.compared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What our own report says about the copies of one configuration."""

    target: str
    eligible: int
    sent: int
    skipped: Mapping[str, int]
    dropped: Mapping[str, int]
    answered: int
    failed: Mapping[str, int]
    pairs: tuple[Pairs, ...] = ()

    @property
    def is_balanced(self) -> bool:
        """eligible = sent + skipped + dropped; sent = answered + failed."""
        return (
            self.eligible == self.sent + sum(self.skipped.values()) + sum(self.dropped.values())
            and self.sent == self.answered + sum(self.failed.values())
        )  # fmt: skip


def doubts(tables: Mapping[str, Iterable[Row]], books: Iterable[Books]) -> list[str]:
    """Why the figures should not be trusted as they stand; empty when nothing is wrong."""
    found = []
    for scenario, some in tables.items():
        for row in some:
            where = f"{row.target}, {scenario}"
            if row.errors or row.timeouts:
                found.append(f"{where}: {row.errors} errors and {row.timeouts} timeouts")
            wanted = 2 if row.is_mirror else 1
            if row.upstream_requests < wanted - MOST_MISSING:
                found.append(
                    f"{where}: {row.upstream_requests:.3f} upstream requests for each one, not {wanted}"
                )
    for book in books:
        if not book.is_balanced:
            found.append(f"{book.target}: the counts of copies do not add up")
        found += [
            f"{book.target}, {pairs.endpoint}: {pairs.equal} of {pairs.compared} pairs were equal"
            for pairs in book.pairs
            if not pairs.is_right
        ]
    return found
