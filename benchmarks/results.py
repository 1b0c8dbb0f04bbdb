"""Everything one start of the bench found out, on the terminal, as a page and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from circumstances import Circumstances
from figures import Books, Row, Run
from goals import Goal, ratios
from grids import Grid, book_line, cpu_grids, goal_grid, latency_grid, pair_grid, ratio_grid
from latency import Latency
from rich.console import Console
from rich.table import Table
from traffic import HEADERS
from upstreams import BODIES

HERE = Path(__file__).parent
STYLES = {"reached": "green", "missed": "bold red", "not measured": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was measured and what follows."""

    circumstances: Circumstances
    seconds: int
    rounds: int
    latency_seconds: int
    latency_rounds: int
    connections: int
    runs: Sequence[Run]
    tables: Mapping[str, Sequence[Row]]
    books: Sequence[Books]
    latencies: Sequence[Latency]
    goals: Sequence[Goal]
    doubts: Sequence[str]


def _grids(results: Results) -> list[Grid]:
    found = cpu_grids(results.tables)
    if results.tables:
        found.append(ratio_grid(results.tables))
    if results.books:
        found.append(pair_grid(results.books))
    if results.latencies:
        found.append(latency_grid(results.latencies))
    return [*found, goal_grid(results.goals)]


def print_results(results: Results, console: Console) -> None:
    """Every grid, the books and what to doubt, for people."""
    for grid in _grids(results):
        table = Table(*grid.head, title=grid.title, title_justify="left")
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.justify = "right"
        for line in grid.lines:
            table.add_row(*line, style=STYLES.get(line[-1]) or ("bold" if "understudy" in line[0] else ""))
        console.print(table)
    for book in results.books:
        console.print(book_line(book), markup=False, highlight=False)
    for doubt in results.doubts:
        console.print(f"Doubt: {doubt}", style="bold red", markup=False, highlight=False)


def write_json(results: Results, path: Path) -> None:
    """Everything, every single run included."""
    document = asdict(results) | {
        "goals": [{**asdict(goal), "verdict": goal.verdict} for goal in results.goals],
        "ratios": [
            {"scenario": scenario, "ours": ours, "theirs": theirs, "ratio": value}
            for scenario, ours, theirs, value in ratios(results.tables)
        ],
        "books": [{**asdict(book), "is_balanced": book.is_balanced} for book in results.books],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def markdown(results: Results) -> str:
    """RESULTS.md."""
    about = results.circumstances
    values = {
        **asdict(about),
        "programs": about.programs,
        "commit": about.commit or "unknown",
        "load_before": f"{about.load_before:.2f}",
        "doubts": "".join(f"> **Doubt:** {doubt}\n\n" for doubt in results.doubts),
        "goals": _table(goal_grid(results.goals)),
        "tables": "\n\n".join(f"### {grid.title}\n\n{_table(grid)}" for grid in cpu_grids(results.tables)),
        "ratios": _table(ratio_grid(results.tables)),
        "latencies": _table(latency_grid(results.latencies)),
        "pairs": _table(pair_grid(results.books)),
        "books": "\n".join(f"- {book_line(book)}." for book in results.books),
        "fields": len(HEADERS),
        "small_bytes": f"{len(BODIES['/']):,}",
        "large_bytes": f"{len(BODIES['/large']):,}",
        "seconds": results.seconds,
        "rounds": results.rounds,
        "latency_seconds": results.latency_seconds,
        "latency_rounds": results.latency_rounds,
        "connections": results.connections,
        "behind_ms": f"{max((one.behind_ms for one in results.latencies), default=0.0):.1f}",
    }
    return Template((HERE / "templates" / "RESULTS.md").read_text()).substitute(values)


def _table(grid: Grid) -> str:
    lines = [grid.head, ["---", *("---:" for _ in grid.head[1:])], *grid.lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
