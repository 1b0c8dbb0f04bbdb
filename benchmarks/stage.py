"""Everything that runs while something is measured: upstreams, proxies, and on which cores."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from peers import PEER_BY_NAME, Place, Target
from processes import BenchError, Cores, Processes
from traffic import Load, ask, page
from upstreams import Upstreams, is_right

SETTLE_SECONDS = 0.5
"""Between the end of a run and the reading of its CPU time, so that work put off is counted."""

CHECKED_REQUESTS = 20
PATIENCE_SECONDS = 10.0
"""Longest wait for copies to arrive, and for our own books to be complete (a copy lives 5 s at most)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The upstreams, and the cores for everybody."""

    processes: Processes
    upstreams: Upstreams
    cores: Cores
    found: set[str]
    """The programs that are there."""

    @property
    def client_cores(self) -> Cores:
        """Where client and upstreams run."""
        return client_cores(self.cores)

    def place(
        self, *, workers: int = 1, copy_seconds: float = 5.0, primary: int = 0, shadow: int = 0
    ) -> Place:
        """Where a proxy with that many workers runs, between the upstreams unless other ports are given."""
        return Place(
            processes=self.processes,
            cores=proxy_cores(self.cores, workers),
            primary=primary or self.upstreams.primary,
            shadow=shadow or self.upstreams.shadow,
            workers=workers,
            copy_seconds=copy_seconds,
        )

    @contextmanager
    def playing(self, names: Iterable[str], place: Place) -> Iterator[list[Target]]:
        """Those peers of *names* whose program is there, running at *place*; ended afterwards."""
        peers = [PEER_BY_NAME[name] for name in dict.fromkeys(names)]
        there = [peer for peer in peers if not peer.program or peer.program in self.found]
        targets: list[Target] = []
        try:
            targets += (peer.start(place) for peer in there)
            yield targets
        finally:
            self.processes.end([target.process for target in targets])


def all_cores() -> Cores:
    """The cores that this process may use. Raises `BenchError` when two are not there."""
    if not Path("/proc/self/stat").exists() or not shutil.which("taskset"):
        raise BenchError("the bench needs Linux (/proc) and taskset (package util-linux)")
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if len(cores) < 2:
        raise BenchError("the bench needs two cores: one for the proxies, one for client and upstreams")
    return cores


def client_cores(cores: Cores) -> Cores:
    """The second core, or with four of them the third and the fourth."""
    return cores[2:4] if len(cores) >= 4 else cores[1:2]


def proxy_cores(cores: Cores, workers: int) -> Cores:
    """The first core for one worker; for more the first two, which on a small machine are all there are."""
    return cores[:1] if workers == 1 else cores[:2]


@contextmanager
def staged(found: set[str]) -> Iterator[Stage]:
    """The upstreams. Whatever happens, every process is ended and the folder removed."""
    cores = all_cores()
    folder = Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    folder.chmod(0o755)  # NGINX's worker gives up root, and has to read the answer
    processes = Processes(folder=folder)
    try:
        upstreams = Upstreams.start(processes=processes, cores=client_cores(cores))
        yield Stage(processes=processes, upstreams=upstreams, cores=cores, found=found)
    finally:
        processes.stop()
        shutil.rmtree(folder, ignore_errors=True)


def check(target: Target, load: Load, stage: Stage) -> None:
    """See to it that *target* does what it is measured for.

    Raises:
        BenchError: a wrong answer, a mirror that does not mirror, or a plain proxy that does.
    """
    before = stage.upstreams.copies()
    decided = _decided(target) if target.admin_port else 0
    for status, body in ask(target.port, load, times=CHECKED_REQUESTS, is_marked=True):
        if not is_right(load.path, status, body):
            raise BenchError(f"{target.name} answered {load} with {status} {body[:200]!r}")
    wanted = CHECKED_REQUESTS if target.is_mirror else 0
    if not target.is_mirror:
        time.sleep(SETTLE_SECONDS)  # for a copy that should not come
    copies = patiently(lambda: stage.upstreams.copies() - before, wanted)
    if copies != wanted:
        raise BenchError(
            f"{target.name}: {CHECKED_REQUESTS} requests of {load} gave {copies} copies, not {wanted}"
        )
    if target.admin_port:
        dark = patiently(lambda: _decided(target) - decided, CHECKED_REQUESTS)
        if dark != CHECKED_REQUESTS:
            raise BenchError(
                f"{target.name}: the flag gave {dark} of {CHECKED_REQUESTS} requests the variant dark"
            )


def patiently(read: Callable[[], int], wanted: int) -> int:
    """What *read* says, as soon as that is *wanted* or more, or at last."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := read()) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def _decided(target: Target) -> int:
    """How many requests the flag gave the variant dark, by our own metrics."""
    lines = page(target.admin_port, "/metrics").decode().splitlines()
    start = 'understudy_exposures_total{flag="shop",variant="dark"}'
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(start))
