"""What the middleware costs an application: CPU per request, beside the bare application.

Starlette's under uvicorn, for which there are goals, or Flask's under waitress (``--wsgi``).

Every round measures all four in another order, and each is compared with the bare one of its own round, so
that what the machine does meanwhile falls on all. Prints one line of JSON for each and a table.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from goals import HUNG_MS, Goal
from pace import pace, quantile_ms
from processes import BenchError, Cores, Process, Processes, cpu_seconds, free_ports, listens
from programs import PACE
from rich.console import Console
from stage import all_cores
from traffic import Load, ask
from upstreams import BODIES, nginx_config
from wrk import send

HERE = Path(__file__).parent
AT_MOST_US = {"plain": 2.0, "decided": 12.0, "mirrored": 60.0}
"""CPU per request beyond the bare application; a route without a flag is a look-up in a dictionary."""

SERVERS = {
    "asgi": ("uvicorn", "--no-access-log", "--app-dir", str(HERE), "--port={}", "middleware_app:app"),
    "wsgi": ("waitress", "--threads=16", "--listen=127.0.0.1:{}", "middleware_wsgi_app:app"),
}
"""Modules of Python with their arguments; the port stands where the braces are."""

CONNECTIONS = 16
RATES = {"asgi": 2_000.0, "wsgi": 300.0}
"""A quarter of what the bare application answers on a small machine."""

SHADOWS: dict[str, Sequence[str]] = {
    "hung": ("hung.py",),
    "dead": (),
    "flood of large chunks": ("flood.py", "65536"),
    "flood of small chunks": ("flood.py", "100"),
}
"""Shadows that are no use, and the programs that play them; nobody listens where *dead* should be."""

RISE = "{} shadow: p99, minus only decided, median of the rounds"
WHAT = {
    "plain": "a route without a flag",
    "decided": "only decided, by a rule that hashes a cookie",
    "mirrored": "mirrored, and equal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One of the four, listening."""

    name: str
    port: int
    process: Process


def start(
    name: str, processes: Processes, *, shadow: int, python: str, body: Path, core: Cores, kind: str
) -> Mode:
    """The application behind its server."""
    (port,) = free_ports(1)
    environ = {**os.environ, "MODE": name, "SHADOW": str(shadow), "BODY": str(body)}
    environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    # -P: what is installed is measured, not what lies where this is run.
    command = [python, "-P", "-m", *(word.format(port) for word in SERVERS[kind])]
    process = processes.start(name, command, cores=core, environ=environ)
    process.wait_until(lambda: listens(port))
    return Mode(name=name, port=port, process=process)


def start_shadow(processes: Processes, core: Cores) -> int:
    """The port of an NGINX that gives the application's answer, and no field more."""
    (port,) = free_ports(1)
    answer = f"default_type application/json; return 200 '{BODIES['/'].decode()}';"
    server = f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {answer} }} }}"
    config = processes.folder / "shadow.conf"
    config.write_text(nginx_config(processes.folder, "shadow", server))
    process = processes.start("shadow", ["nginx", "-e", "stderr", "-c", str(config)], cores=core)
    process.wait_until(lambda: listens(port))
    return port


def measure(
    processes: Processes, *, rounds: int, seconds: int, python: str, cores: Cores, kind: str
) -> dict[str, list[float]]:
    """CPU per request in µs of each mode, one figure for each round. Raises `BenchError`."""
    shadow = start_shadow(processes, cores[1:2])
    body = processes.folder / "body"
    body.write_bytes(BODIES["/"])
    found: dict[str, list[float]] = {name: [] for name in ("bare", *AT_MOST_US)}
    for _ in range(rounds):
        # Anew each time: where a process has its memory makes a difference of some µs for its whole life.
        modes = [
            start(name, processes, shadow=shadow, python=python, body=body, core=cores[:1], kind=kind)
            for name in found
        ]
        for mode in modes:
            ask(mode.port, Load(), times=200)
        for mode in random.sample(modes, len(modes)):
            found[mode.name].append(one(mode, processes, seconds=seconds, cores=cores[1:2]))
        processes.end([mode.process for mode in modes])
    return found


def rises(
    processes: Processes, shadow: str, *, rounds: int, python: str, cores: Cores, rate: float, kind: str
) -> tuple[list[float], int]:
    """By how much that *shadow* raises the 99th percentile, in ms, for each round; and how often it was
    ejected meanwhile, since nothing is felt of one that is asked nothing.

    Raises `BenchError`.
    """
    if not PACE.exists():
        raise BenchError("the client of a fixed rate is not built: run `make bench` once")
    (port,) = free_ports(1)
    if SHADOWS[shadow]:
        program, *sizes = SHADOWS[shadow]
        command = [sys.executable, str(HERE / program), str(port), *sizes]
        process = processes.start("shadow", command, cores=cores[1:2])
        process.wait_until(lambda: listens(port))
    body = processes.folder / "body"
    body.write_bytes(BODIES["/"])
    modes = [
        start(name, processes, shadow=port, python=python, body=body, core=cores[:1], kind=kind)
        for name in ("decided", "mirrored")
    ]
    found = []
    for _ in range(rounds):
        p99 = {
            mode.name: tail(mode, processes, cores[1:2], rate) for mode in random.sample(modes, len(modes))
        }
        found.append(p99["mirrored"] - p99["decided"])
    return found, modes[-1].process.log.read_text(errors="replace").count(" is ejected ")


def tail(mode: Mode, processes: Processes, cores: Cores, rate: float) -> float:
    """The 99th percentile at a steady rate, in ms. Raises `BenchError` when a request failed."""
    paced = pace(processes, mode.port, Load(), rate=rate, seconds=3.0, connections=CONNECTIONS, cores=cores)
    if paced.failed:
        raise BenchError(f"{mode.name}: {paced.failed} requests failed")
    return quantile_ms(paced.latencies_us, 0.99)


def one(mode: Mode, processes: Processes, *, seconds: int, cores: Cores) -> float:
    """CPU per request in µs, while one client asks as fast as it is answered. Raises `BenchError`."""
    pids = {mode.process.popen.pid}
    before = cpu_seconds(pids)
    answers = send(processes, mode.port, Load(), seconds=seconds, connections=CONNECTIONS, cores=cores)
    if answers.errors or answers.timeouts:
        raise BenchError(f"{mode.name}: {answers.errors} errors, {answers.timeouts} timeouts")
    return (cpu_seconds(pids) - before) / answers.requests * 1e6


def main() -> int:
    """Raises:
    BenchError: something that is needed failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rate", type=float, help="requests a second for the percentiles")
    parser.add_argument("--wsgi", dest="kind", action="store_const", const="wsgi", default="asgi")
    parser.add_argument("--python", default=sys.executable, help="whose understudy is measured")
    chosen = parser.parse_args()
    console = Console()
    cores = all_cores()
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(folder=Path(folder))
        try:
            found = measure(
                processes,
                rounds=chosen.rounds,
                seconds=chosen.seconds,
                python=chosen.python,
                cores=cores,
                kind=chosen.kind,
            )
            processes.stop()
            felt = {}
            for shadow in SHADOWS:
                felt[shadow] = rises(
                    processes,
                    shadow,
                    rounds=chosen.rounds,
                    python=chosen.python,
                    cores=cores,
                    rate=chosen.rate or RATES[chosen.kind],
                    kind=chosen.kind,
                )
                processes.stop()
        finally:
            processes.stop()
    bare = statistics.median(found["bare"])
    print(json.dumps({"bare_us": round(bare, 1)}))
    goals = []
    for mode, at_most in AT_MOST_US.items():
        extra = [one - other for one, other in zip(found[mode], found["bare"], strict=True)]
        if chosen.kind == "asgi":
            goals.append(Goal(what=WHAT[mode], value=statistics.median(extra), at_most=at_most, unit=" µs"))
        else:
            console.print(f"{WHAT[mode]}: {statistics.median(extra):.1f} µs")
        print(json.dumps({"mode": mode, "extra_us": [round(value, 1) for value in extra]}))
    for shadow, (rise, ejections) in felt.items():
        rounds = [round(value, 3) for value in rise]
        print(json.dumps({"shadow": shadow, "p99_rise_ms": rounds, "ejections": ejections}))
        what = RISE.format(shadow)
        goals.append(Goal(what=what, value=statistics.median(rise), at_most=HUNG_MS, unit=" ms"))
    for goal in goals:
        console.print(f"{goal.what}: {goal.value:.2f}{goal.unit}, at most {goal.at_most:g}: {goal.verdict}")
    return 1 if any(goal.verdict == "missed" for goal in goals) else 0


if __name__ == "__main__":
    sys.exit(main())
