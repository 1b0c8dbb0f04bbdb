"""The results as a table in the terminal, as RESULTS.md and as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from figures import Books, Row, Run, ratios
from rich.console import Console
from rich.table import Table
from traffic import BODY, HEADERS, Headers

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """When, where, with what, and how the figures came about."""

    at: str
    command: str
    cpu_model: str
    cores: int
    kernel: str
    python: str
    commit: str
    load_before: float
    versions: Mapping[str, str]
    seconds: int
    rounds: int
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything one start of the bench found out."""

    circumstances: Circumstances
    mirrors: set[str]
    runs: Sequence[Run]
    tables: Mapping[Headers, Sequence[Row]]
    books: Sequence[Books]
    doubts: Sequence[str]


def circumstances(
    command: str, versions: Mapping[str, str], *, seconds: int, rounds: int, connections: int
) -> Circumstances:
    """Read the machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return Circumstances(
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=command,
        cpu_model=models[0] if models else platform.machine(),
        cores=os.cpu_count() or 0,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=_commit(),
        load_before=os.getloadavg()[0],
        versions=versions,
        seconds=seconds,
        rounds=rounds,
        connections=connections,
    )


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


COLUMNS = (
    "proxy",
    "CPU µs",
    "least",
    "most",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "upstream",
    "memory MiB",
)


def _cells(row: Row) -> tuple[str, ...]:
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


def print_results(results: Results, console: Console) -> None:
    """The tables, the ratios, the books and what to doubt, for people."""
    for headers, some in results.tables.items():
        table = Table(*COLUMNS, title=f"{headers} headers", title_justify="left")
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify = "right"
        for row in some:
            cells = _cells(row)
            table.add_row(*cells, style="bold" if row.target.startswith("understudy") else "")
        console.print(table)
    table = Table("CPU per request", *(f"{headers} headers" for headers in results.tables))
    for names, values in _ratio_lines(results):
        table.add_row(names, *values)
    console.print(table)
    for book in results.books:
        console.print(_book_line(book), markup=False, highlight=False)
    for doubt in results.doubts:
        console.print(f"[bold red]*** {doubt} ***[/]", highlight=False)


def _ratio_lines(results: Results) -> list[tuple[str, list[str]]]:
    by_headers = [ratios(some) for some in results.tables.values()]
    return [
        (f"{ours} / {theirs}", [f"{each[ours, theirs]:.2f}" for each in by_headers])
        for ours, theirs in by_headers[0]
    ]


def _book_line(book: Books) -> str:
    def told(counts: Mapping[str, int]) -> str:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in counts.items())
        return f"{sum(counts.values()):,}" + (f" ({reasons})" if reasons else "")

    share = book.equal / book.compared if book.compared else 0.0
    return (
        f"{book.target}: {book.eligible:,} eligible = {book.sent:,} sent + {told(book.skipped)} skipped + "
        f"{told(book.dropped)} dropped; sent = {book.answered:,} answered + {told(book.failed)} failed; "
        f"{book.compared:,} compared, {share:.2%} of them equal; {book.with_control:,} asked twice"
        + ("" if book.is_balanced else "; THE SUMS ARE WRONG")
    )


def write_json(results: Results, path: Path) -> None:
    """Everything, every single run included."""
    document = {
        "circumstances": asdict(results.circumstances),
        "figures": {headers: [asdict(row) for row in some] for headers, some in results.tables.items()},
        "ratios": {
            headers: {f"{ours} / {theirs}": value for (ours, theirs), value in ratios(some).items()}
            for headers, some in results.tables.items()
        },
        "books": [{**asdict(book), "is_balanced": book.is_balanced} for book in results.books],
        "doubts": list(results.doubts),
        "runs": [asdict(run) for run in results.runs],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def markdown(results: Results) -> str:
    """RESULTS.md."""
    about = results.circumstances
    titles = {
        Headers.CONSTANT: "The same headers on every request",
        Headers.CHANGING: "A header that changes on every request",
    }
    tables = "\n\n".join(
        f"### {titles[headers]}\n\n{_table(COLUMNS, [_cells(row) for row in some])}"
        for headers, some in results.tables.items()
    )
    values = {
        **asdict(about),
        "commit": about.commit or "unknown",
        "load_before": f"{about.load_before:.2f}",
        "doubts": "".join(f"> **Doubt:** {doubt}\n\n" for doubt in results.doubts),
        "tables": tables,
        "ratios": _table(
            ("CPU per request", *(f"{headers} headers" for headers in results.tables)),
            [(names, *ratio) for names, ratio in _ratio_lines(results)],
        ),
        "books": "\n".join(f"- {_book_line(book)}." for book in results.books),
        "programs": ", ".join(f"{program} {version}" for program, version in about.versions.items()),
        "fields": len(HEADERS),
        "answer_bytes": len(BODY),
    }
    return Template((HERE / "templates" / "RESULTS.md").read_text()).substitute(values)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
