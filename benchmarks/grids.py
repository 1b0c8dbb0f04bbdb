"""The results as grids of text: the same on the terminal and on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from figures import Books, Row
from goals import Goal, ratios
from latency import Latency, added_ms
from scenarios import SCENARIOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: the first column names, the others are figures."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]


def titles() -> dict[str, str]:
    """Scenario to what it is."""
    return {scenario.name: scenario.title for scenario in SCENARIOS}


CPU_HEAD = ("proxy", "CPU µs", "least", "most", "requests/s", "p50 ms", "p99 ms", "upstream", "memory MiB")


def cpu_grids(tables: Mapping[str, Sequence[Row]]) -> list[Grid]:
    """One grid for each scenario."""
    known = titles()
    return [
        Grid(title=known[scenario], head=CPU_HEAD, lines=[_cpu_line(row) for row in some])
        for scenario, some in tables.items()
    ]


def _cpu_line(row: Row) -> tuple[str, ...]:
    return (
        row.target,
        f"{row.cpu_us:.1f}",
        f"{row.cpu_us_least:.1f}",
        f"{row.cpu_us_most:.1f}",
        f"{row.per_second:,.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.upstream_requests:.2f}",
        f"{row.memory_mib:.0f}",
    )


def ratio_grid(tables: Mapping[str, Sequence[Row]]) -> Grid:
    """Ours over theirs, one column for each scenario."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for scenario, ours, theirs, value in ratios(tables):
        found.setdefault((ours, theirs), {})[scenario] = value
    lines = [
        (f"{ours} / {theirs}", *(_ratio(values.get(scenario)) for scenario in tables))
        for (ours, theirs), values in sorted(found.items())
    ]
    return Grid(title="CPU time per request, ours over theirs", head=("", *tables), lines=lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def goal_grid(some: Sequence[Goal]) -> Grid:
    """What was to be reached."""
    lines = [
        (
            goal.what,
            "-" if goal.value is None else f"{goal.value:.2f}{goal.unit}",
            f"≤ {goal.at_most:g}{goal.unit}",
            goal.verdict,
        )
        for goal in some
    ]
    return Grid(title="Goals", head=("goal", "measured", "wanted", "verdict"), lines=lines)


LATENCY_HEAD = (
    "proxy",
    "shadow",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "added p50",
    "added p99",
    "added p99.9",
    "failed",
)


def latency_grid(some: Sequence[Latency]) -> Grid:
    """What was measured at a fixed rate, beside a direct connection at that rate."""
    return Grid(
        title="Latency at half the capacity",
        head=LATENCY_HEAD,
        lines=[_latency_line(some, one) for one in some],
    )


def _latency_line(some: Sequence[Latency], one: Latency) -> tuple[str, ...]:
    is_direct = one.peer == "direct"
    measured = [f"{value:,.2f}" for value in (one.p50_ms, one.p99_ms, one.p999_ms)]
    added = [
        "" if is_direct else f"{added_ms(some, one, what):+,.2f}" for what in ("p50_ms", "p99_ms", "p999_ms")
    ]
    shadow = "" if is_direct else one.shadow
    return (one.peer, shadow, f"{one.rate:,.0f}", *measured, *added, f"{one.failed:,}")


def pair_grid(books: Sequence[Books]) -> Grid:
    """What became of the answers of the copies."""
    lines = [
        (
            book.target,
            pairs.endpoint,
            f"{pairs.compared:,}",
            f"{pairs.equal:,}",
            f"{pairs.compared - pairs.equal:,}",
            f"{pairs.not_compared:,}",
            f"{pairs.passed_over:,}",
            f"{pairs.with_control:,}",
        )
        for book in books
        for pairs in book.pairs
    ]
    head = (
        "configuration",
        "endpoint",
        "compared",
        "equal",
        "different",
        "not compared",
        "passed over",
        "asked twice",
    )
    return Grid(title="The pairs, by our own report", head=head, lines=lines)


def book_line(book: Books) -> str:
    """The conservation law of one configuration, in words."""

    def told(counts: Mapping[str, int]) -> str:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
        return f"{sum(counts.values()):,}" + (f" ({reasons})" if reasons else "")

    return (
        f"{book.target}: {book.eligible:,} eligible = {book.sent:,} sent + {told(book.skipped)} skipped + "
        f"{told(book.dropped)} dropped; sent = {book.answered:,} answered + {told(book.failed)} failed"
        + ("" if book.is_balanced else "; THE SUMS ARE WRONG")
    )
