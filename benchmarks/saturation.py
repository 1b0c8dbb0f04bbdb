"""Measure at saturation: CPU time per request, in turns."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from figures import Books, Pairs, Run
from peers import Target
from processes import BenchError, cpu_seconds, memory_mib, tree
from scenarios import Scenario
from stage import PATIENCE_SECONDS, SETTLE_SECONDS, Stage, check
from traffic import page
from wrk import send

Tell = Callable[[str], None]
"""Hears what is being done; called once for each step."""


def steps(scenarios: Sequence[Scenario], rounds: int) -> int:
    """How often `Tell` will be called, about."""
    return sum(len(scenario.peers) * (1 + rounds) for scenario in scenarios)


def measure_all(
    scenarios: Sequence[Scenario], stage: Stage, *, seconds: int, rounds: int, connections: int, tell: Tell
) -> tuple[list[Run], list[Books]]:
    """All scenarios, those with the same number of workers in turns; what our own reports say in the end.

    Raises:
        BenchError: a proxy did not do what it is measured for.
    """
    runs: list[Run] = []
    books: list[Books] = []
    for workers in sorted({scenario.workers for scenario in scenarios}):
        mine = [scenario for scenario in scenarios if scenario.workers == workers]
        names = [name for scenario in mine for name in scenario.peers]
        with stage.playing(names, stage.place(workers=workers)) as targets:
            turns = list(_turns(mine, targets))
            for scenario, target in turns:
                tell(f"check and warm-up: {target.name}, {scenario.name}")
                check(target, scenario.load, stage)
                _warm_up(target, scenario, stage, connections=connections)
            for number in range(1, rounds + 1):
                for scenario, target in turns:
                    tell(f"round {number} of {rounds}: {target.name}, {scenario.name}")
                    runs.append(_measure(target, scenario, stage, seconds=seconds, connections=connections))
            label = "" if workers == 1 else f", {workers} workers"
            books += [
                settled_books(target.admin_port, target.name + label)
                for target in targets
                if target.is_mirror and target.admin_port
            ]
    return runs, books


def _turns(scenarios: Sequence[Scenario], targets: Sequence[Target]) -> Iterator[tuple[Scenario, Target]]:
    by_name = {target.name: target for target in targets}
    for scenario in scenarios:
        for name in scenario.peers:
            if name in by_name:
                yield scenario, by_name[name]


def _measure(target: Target, scenario: Scenario, stage: Stage, *, seconds: int, connections: int) -> Run:
    """One run of the client. Raises `BenchError` when the proxy ended or nothing was answered."""
    pid = target.process.popen.pid
    before = stage.upstreams.requests()
    spent = cpu_seconds(tree(pid))
    got = send(
        stage.processes,
        target.port,
        scenario.load,
        seconds=seconds,
        connections=connections,
        cores=stage.client_cores,
    )
    time.sleep(SETTLE_SECONDS)
    target.process.check()
    if not got.requests:
        raise BenchError(f"{target.name} answered nothing in {seconds} s")
    pids = tree(pid)
    return Run(
        target=target.name,
        scenario=scenario.name,
        is_mirror=target.is_mirror,
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


def _warm_up(target: Target, scenario: Scenario, stage: Stage, *, connections: int) -> None:
    """One second that is not counted: caches, connection pools, the first allocations."""
    send(
        stage.processes,
        target.port,
        scenario.load,
        seconds=1,
        connections=connections,
        cores=stage.client_cores,
    )


def capacity(target: Target, scenario: Scenario, stage: Stage, *, seconds: int, connections: int) -> float:
    """Requests that *target* answers in a second, after a warm-up. Raises `BenchError`."""
    _warm_up(target, scenario, stage, connections=connections)
    return _measure(target, scenario, stage, seconds=seconds, connections=connections).per_second


def settled_books(admin_port: int, label: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Books:
    """What our report says once two readings agree and nothing is under way. Raises `BenchError`."""
    deadline = time.monotonic() + patience_seconds
    before = read_books(admin_port, label)
    while True:
        time.sleep(SETTLE_SECONDS)
        now = read_books(admin_port, label)
        if (now == before and now.is_balanced) or time.monotonic() > deadline:
            return now
        before = now


def read_books(admin_port: int, label: str) -> Books:
    """What our report says now. Raises `BenchError`."""
    report: dict[str, Any] = json.loads(page(admin_port, "/api/v1/report"))
    flow = report["mirror"]
    return Books(
        target=label,
        eligible=flow["eligible"],
        sent=flow["sent"],
        skipped=flow["skipped"],
        dropped=flow["dropped"],
        answered=flow["answered"],
        failed=flow["failed"],
        pairs=tuple(
            Pairs(
                endpoint=one["endpoint"],
                is_noisy=one["endpoint"].endswith("/noisy"),
                compared=one["exchanges"],
                equal=one["matched"],
                not_compared=one["not_compared"],
                passed_over=one["passed_over"],
                with_control=one["with_control"],
            )
            for one in sorted(report["endpoints"], key=lambda one: str(one["endpoint"]))
        ),
    )
