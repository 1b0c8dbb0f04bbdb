"""The client at a fixed rate: pace.c, whose latencies count from the time a request was due."""

import os
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

from processes import BenchError, Cores, Processes
from programs import PACE
from traffic import Load

SKIP_SECONDS = 0.5
"""The beginning of a run, which is not counted: connections are new and the proxy's caches cold."""

PATIENCE_SECONDS = 3.0
"""Longest wait for answers after the last request was due: one more than a copy may live here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """One run. Every request that was due has its latency, those that failed the time they waited."""

    rate: float
    due: int
    failed: int
    behind_ms: float
    """How late the client itself was at most: the error of its latencies."""
    latencies_us: Sequence[int]
    """Without the first `SKIP_SECONDS`."""


def pace(
    processes: Processes,
    port: int,
    load: Load,
    *,
    rate: float,
    seconds: float,
    connections: int,
    cores: Cores,
    is_first: bool = False,
) -> Paced:
    """Send *rate* requests a second, whatever becomes of them.

    One that *is_first* goes before everything else on its cores, where that is allowed: that it waits for a
    shadow which is never idle there is nothing that a client feels of what is measured.

    Raises:
        BenchError: the client failed.
    """
    request, latencies = processes.folder / "pace.request", processes.folder / "pace.latencies"
    request.write_bytes(load.raw(port))
    whole = seconds + SKIP_SECONDS
    numbers = [port, rate, whole, SKIP_SECONDS, PATIENCE_SECONDS, connections]
    command = [str(PACE), *map(str, numbers), str(request), str(latencies)]
    process = processes.start("pace", command, cores=cores)
    if is_first:
        with suppress(PermissionError, ProcessLookupError):  # what failed at once is told below
            os.sched_setscheduler(process.popen.pid, os.SCHED_FIFO, os.sched_param(1))
    said = processes.finish(process, seconds=whole + PATIENCE_SECONDS + 10.0).split()
    if len(said) != 4:
        raise BenchError(f"pace printed no result: {said}")
    due, _answered, failed, behind_us = map(int, said)
    read = array("I")
    read.frombytes(latencies.read_bytes())
    return Paced(rate=rate, due=due, failed=failed, behind_ms=behind_us / 1000, latencies_us=read)


def quantile_ms(latencies_us: Sequence[int], share: float) -> float:
    """The smallest latency that *share* of all do not exceed (nearest rank)."""
    ranked = sorted(latencies_us)
    return ranked[max(1, ceil(share * len(ranked))) - 1] / 1000
