"""What the middleware costs an application: CPU per request, beside the bare application.

Starlette's under uvicorn, for which there are goals, or Flask's under waitress (``--wsgi``).

A round is one process that serves all of them, each at its path: they take turns, in another order each
time, and each is compared with the bare one of its own round. So neither what the machine does meanwhile nor
where a process has its memory, which makes a difference of some µs for its whole life, falls on one alone.
Prints one line of JSON for each and a table.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
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
AT_MOST_US = {"plain": ("looked_up", 0.5), "decided": ("bare", 12.0), "mirrored": ("bare", 60.0)}
"""CPU per request in µs, beyond that of another mode. On a route without a flag, beyond looking up what is
known it shall cost nothing, by a measure that tells half a µs."""

SERVERS = {
    "asgi": (
        "uvicorn",
        "--no-access-log",
        "--lifespan=off",
        "--app-dir",
        str(HERE),
        "--port={}",
        "middleware_app:app",
    ),
    "wsgi": ("waitress", "--threads=16", "--listen=127.0.0.1:{}", "middleware_wsgi_app:app"),
}
"""Modules of Python with their arguments; the port stands where the braces are."""

CONNECTIONS = 16
TURNS = 4
"""Of each mode in a round."""

SETTLES_SECONDS = 0.2
"""What copies that are under way at the end of a turn get to end in it."""

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
    "idle": "behind a middleware that does nothing",
    "looked_up": "behind a middleware that looks up what it knows of event loop and path",
    "plain": "a route without a flag",
    "decided": "only decided, by a rule that hashes a cookie",
    "mirrored": "mirrored, and equal",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The application behind its server, listening."""

    port: int
    process: Process


def start(processes: Processes, *, shadow: int, python: str, core: Cores, kind: str) -> Served:
    """The application behind its server."""
    (port,) = free_ports(1)
    body = processes.folder / "body"
    body.write_bytes(BODIES["/"])
    environ = {**os.environ, "SHADOW": str(shadow), "BODY": str(body)}
    environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    # -P: what is installed is measured, not what lies where this is run.
    command = [python, "-P", "-m", *(word.format(port) for word in SERVERS[kind])]
    process = processes.start("application", command, cores=core, environ=environ)
    process.wait_until(lambda: listens(port))
    return Served(port=port, process=process)


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
    modes = ("bare", *WHAT)
    found: dict[str, list[float]] = {mode: [] for mode in modes}
    for _ in range(rounds):
        served = start(processes, shadow=shadow, python=python, core=cores[:1], kind=kind)
        for mode in modes:
            ask(served.port, Load(path=f"/{mode}"), times=200)
        used: dict[str, list[tuple[float, int]]] = {mode: [] for mode in modes}
        for _ in range(TURNS):
            for mode in random.sample(modes, len(modes)):
                used[mode].append(one(served, mode, processes, seconds=seconds, cores=cores[1:2]))
        for mode, turns in used.items():
            found[mode].append(sum(cpu for cpu, _ in turns) / sum(n for _, n in turns) * 1e6)
        processes.end([served.process])
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
    # Each in a process of its own: what becomes of copies is felt only where they are sent.
    served = {
        mode: start(processes, shadow=port, python=python, core=cores[:1], kind=kind)
        for mode in ("decided", "mirrored")
    }
    found = []
    for _ in range(rounds):
        p99 = {
            mode: tail(served[mode], mode, processes, cores[1:2], rate)
            for mode in random.sample(["decided", "mirrored"], 2)
        }
        found.append(p99["mirrored"] - p99["decided"])
    return found, served["mirrored"].process.log.read_text(errors="replace").count(" is ejected ")


def tail(served: Served, mode: str, processes: Processes, cores: Cores, rate: float) -> float:
    """The 99th percentile at a steady rate, in ms. Raises `BenchError` when a request failed."""
    load = Load(path=f"/{mode}")
    paced = pace(
        processes,
        served.port,
        load,
        rate=rate,
        seconds=3.0,
        connections=CONNECTIONS,
        cores=cores,
        is_first=True,
    )
    if paced.failed:
        raise BenchError(f"{mode}: {paced.failed} requests failed")
    return quantile_ms(paced.latencies_us, 0.99)


def one(served: Served, mode: str, processes: Processes, *, seconds: int, cores: Cores) -> tuple[float, int]:
    """CPU in seconds and requests, while one client asks as fast as it is answered. Raises `BenchError`."""
    pids = {served.process.popen.pid}
    before = cpu_seconds(pids)
    load = Load(path=f"/{mode}")
    answers = send(processes, served.port, load, seconds=seconds, connections=CONNECTIONS, cores=cores)
    if answers.errors or answers.timeouts:
        raise BenchError(f"{mode}: {answers.errors} errors, {answers.timeouts} timeouts")
    time.sleep(SETTLES_SECONDS)
    return cpu_seconds(pids) - before, answers.requests


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rate", type=float, help="requests a second for the percentiles")
    parser.add_argument("--wsgi", dest="kind", action="store_const", const="wsgi", default="asgi")
    parser.add_argument("--python", default=sys.executable, help="whose understudy is measured")
    return parser.parse_args()


def told_costs(console: Console, found: dict[str, list[float]], kind: str) -> list[Goal]:
    """Print what each mode costs beyond the bare application; the goals that there are for it."""
    print(json.dumps({"bare_us": round(statistics.median(found["bare"]), 1)}))
    goals = []
    for mode, what in WHAT.items():
        extra = beyond(found, mode, "bare")
        console.print(f"{what}: {statistics.median(extra):.1f} µs")
        print(json.dumps({"mode": mode, "extra_us": [round(value, 1) for value in extra]}))
        if kind == "asgi" and mode in AT_MOST_US:
            other, most = AT_MOST_US[mode]
            value = statistics.median(beyond(found, mode, other))
            what += f", beyond one {WHAT[other]}" if other in WHAT else ""
            goals.append(Goal(what=what, value=value, at_most=most, unit=" µs"))
    return goals


def beyond(found: dict[str, list[float]], mode: str, other: str) -> list[float]:
    """CPU per request in µs of *mode*, less that of *other* in the same round."""
    return [mine - its for mine, its in zip(found[mode], found[other], strict=True)]


def told_rises(felt: dict[str, tuple[list[float], int]]) -> list[Goal]:
    """Print what is felt of each shadow; the goals for it."""
    goals = []
    for shadow, (rise, ejections) in felt.items():
        rounds = [round(value, 3) for value in rise]
        print(json.dumps({"shadow": shadow, "p99_rise_ms": rounds, "ejections": ejections}))
        what = RISE.format(shadow)
        goals.append(Goal(what=what, value=statistics.median(rise), at_most=HUNG_MS, unit=" ms"))
    return goals


def main() -> int:
    """Raises:
    BenchError: something that is needed failed.
    """
    chosen, cores, console = arguments(), all_cores(), Console()
    rounds, python, kind = chosen.rounds, chosen.python, chosen.kind
    rate, felt = chosen.rate or RATES[kind], {}
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(folder=Path(folder))
        try:
            found = measure(
                processes, rounds=rounds, seconds=chosen.seconds, python=python, cores=cores, kind=kind
            )
            for shadow in SHADOWS:
                processes.stop()
                felt[shadow] = rises(
                    processes, shadow, rounds=rounds, python=python, cores=cores, rate=rate, kind=kind
                )
        finally:
            processes.stop()
    goals = [*told_costs(console, found, kind), *told_rises(felt)]
    for goal in goals:
        console.print(f"{goal.what}: {goal.value:.2f}{goal.unit}, at most {goal.at_most:g}: {goal.verdict}")
    return 1 if any(goal.verdict == "missed" for goal in goals) else 0


if __name__ == "__main__":
    sys.exit(main())
