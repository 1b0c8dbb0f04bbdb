"""Understudy beside NGINX, HAProxy, Envoy and a naive proxy: CPU time per request and added latency.

Started by `make bench`. RESULTS.md, which this writes, says what is measured and how.
"""

import argparse
import shlex
import sys
from pathlib import Path

from charts import charts
from circumstances import circumstances
from figures import doubts, rows
from goals import goals
from latency import Latency, measure_latency
from latency import steps as latency_steps
from processes import BenchError, end_like_ctrl_c
from programs import install, versions
from results import Results, markdown, print_results, write_json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from saturation import measure_all, steps
from scenarios import LATENCY, SCENARIOS, chosen
from stage import all_cores, staged
from wrk import check_client

HERE = Path(__file__).parent
BUSY_LOAD = 1.0
WIDTH = 130
"""Columns where no terminal says how many it has."""


def main(arguments: list[str]) -> int:
    """Run the bench; the exit status: 0, 1 without trustworthy figures, 130 when interrupted."""
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    end_like_ctrl_c()
    try:
        results = _bench(options, console)
    except BenchError as error:
        console.print("[bold red]No figures:[/]", str(error), highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everything that was started has been ended.")
        return 130
    print_results(results, console)
    _write(results, options, console)
    return 1 if results.doubts else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*(scenario.name for scenario in SCENARIOS), LATENCY]
    parser.add_argument(
        "--quick", action="store_true", help="a taste in under two minutes; leaves RESULTS.md alone"
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"only this one: {', '.join(names)}"
    )
    parser.add_argument("--seconds", type=_positive, help="length of a run (default 2, quick 1)")
    parser.add_argument("--rounds", type=_positive, help="runs of each proxy in turns (default 3, quick 1)")
    parser.add_argument("--latency-seconds", type=_positive, help="length of a run at a fixed rate (3, 1)")
    parser.add_argument("--latency-rounds", type=_positive, help="and how many of them (default 7, quick 1)")
    parser.add_argument(
        "--connections", type=_positive, default=64, help="keep-alive connections (default 64)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        help="write RESULTS.md and the charts in benchmarks/ (default: yes, for a whole run)",
    )
    options = parser.parse_args(arguments)
    defaults = (1, 1, 1, 1) if options.quick else (2, 3, 3, 7)
    for name, value in zip(("seconds", "rounds", "latency_seconds", "latency_rounds"), defaults, strict=True):
        setattr(options, name, getattr(options, name) or value)
    if options.write is None:
        options.write = not (options.quick or options.only)
    return options


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _bench(options: argparse.Namespace, console: Console) -> Results:
    all_cores()
    found = install(console)
    about = circumstances(
        shlex.join([".venv/bin/python", "benchmarks/run.py", *sys.argv[1:]]), versions(found)
    )
    if about.load_before > BUSY_LOAD:
        console.print(f"[yellow]The load average is {about.load_before:.1f}: others use this machine too.[/]")
    scenarios, has_latency = chosen(options.only or [], is_quick=options.quick)
    latencies: list[Latency] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with staged(found) as stage, Progress(*columns, console=console, transient=True) as progress:
        total = steps(scenarios, options.rounds)
        total += latency_steps(options.latency_rounds) if has_latency else 0
        bar = progress.add_task("the client", total=total)

        def tell(what: str) -> None:
            progress.update(bar, description=what, advance=1)

        check_client(stage.processes, cores=stage.client_cores)
        runs, books = measure_all(
            scenarios,
            stage,
            seconds=options.seconds,
            rounds=options.rounds,
            connections=options.connections,
            tell=tell,
        )
        if has_latency:
            latencies = measure_latency(
                stage,
                seconds=options.latency_seconds,
                rounds=options.latency_rounds,
                connections=options.connections,
                tell=tell,
            )
    tables = rows(runs)
    return Results(
        circumstances=about,
        seconds=options.seconds,
        rounds=options.rounds,
        latency_seconds=options.latency_seconds,
        latency_rounds=options.latency_rounds,
        connections=options.connections,
        runs=runs,
        tables=tables,
        books=books,
        latencies=latencies,
        goals=goals(tables, latencies),
        doubts=doubts(tables, books),
    )


def _write(results: Results, options: argparse.Namespace, console: Console) -> None:
    written: list[Path] = []
    if options.write:
        pages = {"RESULTS.md": markdown(results), **charts(results.tables, results.latencies)}
        for name, text in pages.items():
            (HERE / name).write_text(text)
            written.append(HERE / name)
    if options.json:
        write_json(results, options.json)
        written.append(options.json)
    for path in written:
        console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
