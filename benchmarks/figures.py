"""What was measured, and what follows from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from traffic import Headers

PLAIN, MIRROR, CONTROL = "understudy", "understudy+mirror", "understudy+mirror+control"
RATIOS = (
    (MIRROR, "nginx+mirror"),
    (MIRROR, "envoy+mirror"),
    (CONTROL, "nginx+mirror"),
    (CONTROL, "envoy+mirror"),
    (PLAIN, "envoy"),
    (PLAIN, "nginx"),
)

MOST_MISSING = 0.05
"""Share of the requests; if more are not mirrored, the figure of a mirroring proxy flatters it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the client against one proxy."""

    target: str
    headers: Headers
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


def rows(runs: Iterable[Run], headers: Headers) -> list[Row]:
    """One row for each proxy, in the order of their first runs."""
    by_target: dict[str, list[Run]] = {}
    for run in runs:
        if run.headers is headers:
            by_target.setdefault(run.target, []).append(run)
    return [_row(target, mine) for target, mine in by_target.items()]


def _row(target: str, runs: list[Run]) -> Row:
    return Row(
        target=target,
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


def ratios(some: Iterable[Row]) -> dict[tuple[str, str], float]:
    """Median CPU time of ours over theirs, for those of `RATIOS` that were measured."""
    cpu = {row.target: row.cpu_us for row in some}
    return {(ours, theirs): cpu[ours] / cpu[theirs] for ours, theirs in RATIOS if theirs in cpu}


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
    compared: int
    equal: int
    with_control: int

    @property
    def is_balanced(self) -> bool:
        """eligible = sent + skipped + dropped; sent = answered + failed."""
        return (
            self.eligible == self.sent + sum(self.skipped.values()) + sum(self.dropped.values())
            and self.sent == self.answered + sum(self.failed.values())
        )  # fmt: skip

    @property
    def is_equal(self) -> bool:
        """Every compared pair was equal, as it must be when both upstreams answer the same."""
        return self.compared > 0 and self.equal == self.compared


def doubts(runs: Iterable[Run], mirrors: set[str], books: Iterable[Books]) -> list[str]:
    """Why the figures should not be trusted as they stand; empty when nothing is wrong."""
    found = []
    for headers in Headers:
        for row in rows([run for run in runs if run.headers is headers], headers):
            where = f"{row.target}, {headers} headers"
            if row.errors or row.timeouts:
                found.append(f"{where}: {row.errors} errors and {row.timeouts} timeouts")
            wanted = 2 if row.target in mirrors else 1
            if row.upstream_requests < wanted - MOST_MISSING:
                found.append(
                    f"{where}: {row.upstream_requests:.3f} upstream requests for each one, not {wanted}"
                )
    for book in books:
        if not book.is_balanced:
            found.append(f"{book.target}: the counts of copies do not add up")
        if book.sent < book.eligible * (1 - MOST_MISSING):
            found.append(f"{book.target}: only {book.sent} of {book.eligible} copies were sent")
        if not book.is_equal:
            found.append(f"{book.target}: {book.compared - book.equal} of {book.compared} answers differed")
    return found
