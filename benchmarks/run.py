"""Understudy beside NGINX, HAProxy and Envoy: CPU time per request, in one interleaved run.

Started by `make bench`. RESULTS.md, which this writes, says what is measured and how.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chart import chart
from figures import Books, Run, doubts, rows
from peers import Target, install, start_all, versions
from processes import BenchError, Processes, cpu_seconds, end_like_ctrl_c, memory_mib, tree
from results import Circumstances, Results, circumstances, markdown, print_results, write_json
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from traffic import BODY, Headers, Upstreams, ask, check_client, send

HERE = Path(__file__).parent
SETTLE_SECONDS = 0.5
"""Between the end of a run and the reading of its CPU time, so that work put off is counted."""

BUSY_LOAD = 1.0
WIDTH = 110
"""Columns where no terminal says how many it has."""

CHECKED_REQUESTS = 20
PATIENCE_SECONDS = 10.0
"""Longest wait for copies to arrive, and for our own books to be complete (a copy lives 5 s at most)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that runs, and where."""

    processes: Processes
    upstreams: Upstreams
    client_core: int
    connections: int


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
    parser.add_argument("--seconds", type=_positive, default=4, help="length of a run (default 4)")
    parser.add_argument(
        "--rounds", type=_positive, default=5, help="runs of each proxy and client (default 5)"
    )
    parser.add_argument(
        "--connections", type=_positive, default=64, help="keep-alive connections (default 64)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--write",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write RESULTS.md and results.svg in benchmarks/ (default: yes)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _bench(options: argparse.Namespace, console: Console) -> Results:
    proxy_core, client_core = _cores()
    found = install(console)
    about = circumstances(
        shlex.join([".venv/bin/python", "benchmarks/run.py", *sys.argv[1:]]),
        versions(found),
        seconds=options.seconds,
        rounds=options.rounds,
        connections=options.connections,
    )
    if about.load_before > BUSY_LOAD:
        console.print(f"[yellow]The load average is {about.load_before:.1f}: others use this machine too.[/]")
    with _stage(client_core, options.connections) as stage:
        check_client(stage.processes, core=client_core)
        targets = start_all(found, stage.upstreams, stage.processes, core=proxy_core)
        for target in targets:
            _check_answers(target, stage)
        console.print(
            f"{len(targets)} proxies return the right answer; those that mirror do, the others do not."
        )
        runs = _rounds(targets, stage, about, console)
        books = [_settled_books(target) for target in targets if target.is_mirror and target.admin_port]
    mirrors = {target.name for target in targets if target.is_mirror}
    return Results(
        circumstances=about,
        mirrors=mirrors,
        runs=runs,
        tables={headers: rows(runs, headers) for headers in Headers},
        books=books,
        doubts=doubts(runs, mirrors, books),
    )


def _cores() -> tuple[int, int]:
    """A core for the proxies, and one for client and upstreams."""
    if not Path("/proc/self/stat").exists() or not shutil.which("taskset"):
        raise BenchError("the bench needs Linux (/proc) and taskset (package util-linux)")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("the bench needs two cores: one for the proxies, one for client and upstreams")
    return cores[0], cores[1]


@contextmanager
def _stage(client_core: int, connections: int) -> Iterator[Stage]:
    """The upstreams. Whatever happens, every process is ended and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    folder.chmod(0o755)  # NGINX's worker gives up root, and has to read the answer
    processes = Processes(folder=folder)
    try:
        upstreams = Upstreams.start(processes=processes, core=client_core)
        yield Stage(
            processes=processes, upstreams=upstreams, client_core=client_core, connections=connections
        )
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _check_answers(target: Target, stage: Stage) -> None:
    """Raises:
    BenchError: a wrong answer, a mirror that does not mirror, or a plain proxy that does.
    """
    before = stage.upstreams.copies()
    for status, body in ask(target.port, times=CHECKED_REQUESTS, is_marked=True):
        if (status, body) != (200, BODY):
            raise BenchError(f"{target.name} answered {status} with {body[:200]!r} instead of the right body")
    wanted = CHECKED_REQUESTS if target.is_mirror else 0
    if not target.is_mirror:
        time.sleep(SETTLE_SECONDS)  # for a copy that should not come
    copies = _patiently(lambda: stage.upstreams.copies() - before, wanted)
    if copies != wanted:
        raise BenchError(f"{target.name}: {CHECKED_REQUESTS} requests gave {copies} copies, not {wanted}")
    if (
        target.admin_port
        and (dark := _patiently(lambda: _decided(target), CHECKED_REQUESTS)) != CHECKED_REQUESTS
    ):
        raise BenchError(
            f"{target.name}: the flag gave {dark} of {CHECKED_REQUESTS} requests the variant dark"
        )


def _patiently(read: Callable[[], int], wanted: int) -> int:
    """What *read* says, as soon as that is *wanted* or more, or at last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := read()) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def _decided(target: Target) -> int:
    """How many requests the flag gave the variant dark, by our own metrics."""
    lines = ask(target.admin_port, "/metrics")[0][1].decode().splitlines()
    start = 'understudy_exposures_total{flag="shop",variant="dark"}'
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(start))


def _rounds(targets: list[Target], stage: Stage, about: Circumstances, console: Console) -> list[Run]:
    """Warm up, then measure everything in turns."""
    runs: list[Run] = []
    turns = [(target, headers) for headers in Headers for target in targets]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(targets) + about.rounds * len(turns))
        for target in targets:
            progress.update(bar, description=f"warm-up: {target.name}")
            _measure(target, Headers.CONSTANT, stage, seconds=1)
            progress.advance(bar)
        for number in range(1, about.rounds + 1):
            for target, headers in turns:
                what = f"round {number} of {about.rounds}: {target.name}, {headers} headers"
                progress.update(bar, description=what)
                runs.append(_measure(target, headers, stage, seconds=about.seconds))
                progress.advance(bar)
    return runs


def _measure(target: Target, headers: Headers, stage: Stage, *, seconds: int) -> Run:
    """One run of the client. Raises `BenchError` when the proxy ended or nothing was answered."""
    pid = target.process.popen.pid
    before = stage.upstreams.requests()
    spent = cpu_seconds(tree(pid))
    got = send(
        stage.processes,
        target.port,
        headers,
        seconds=seconds,
        connections=stage.connections,
        core=stage.client_core,
    )
    time.sleep(SETTLE_SECONDS)
    target.process.check()
    if not got.requests:
        raise BenchError(f"{target.name} answered nothing in {seconds} s")
    pids = tree(pid)
    return Run(
        target=target.name,
        headers=headers,
        requests=got.requests,
        cpu_us=(cpu_seconds(pids) - spent) * 1e6 / got.requests,
        per_second=got.requests / got.seconds,
        p50_ms=got.p50_ms,
        p99_ms=got.p99_ms,
        upstream_requests=(stage.upstreams.requests() - before) / got.requests,
        memory_mib=memory_mib(pids),
        errors=got.errors,
        timeouts=got.timeouts,
    )


def _settled_books(target: Target) -> Books:
    """What our report says once two readings agree and nothing is under way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    before = _books(target)
    while True:
        time.sleep(SETTLE_SECONDS)
        now = _books(target)
        if (now == before and now.is_balanced) or time.monotonic() > deadline:
            return now
        before = now


def _books(target: Target) -> Books:
    status, body = ask(target.admin_port, "/api/v1/report")[0]
    if status != 200:
        raise BenchError(f"{target.name}: GET /api/v1/report answered {status}: {body[:300]!r}")
    report: dict[str, Any] = json.loads(body)
    flow = report["mirror"]
    return Books(
        target=target.name,
        eligible=flow["eligible"],
        sent=flow["sent"],
        skipped=flow["skipped"],
        dropped=flow["dropped"],
        answered=flow["answered"],
        failed=flow["failed"],
        compared=report["exchanges"],
        equal=report["matched"],
        with_control=report["with_control"],
    )


def _write(results: Results, options: argparse.Namespace, console: Console) -> None:
    written: list[Path] = []
    if options.write:
        pages = {
            HERE / "RESULTS.md": markdown(results),
            HERE / "results.svg": chart(results.tables, results.mirrors),
        }
        for path, text in pages.items():
            path.write_text(text)
        written += pages
    if options.json:
        write_json(results, options.json)
        written.append(options.json)
    for path in written:
        console.print(f"written: {path}", highlight=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
