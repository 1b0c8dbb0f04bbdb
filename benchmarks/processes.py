"""Start programs pinned to a core, read what they spend from /proc, and end every one of them."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 20.0
STOP_SECONDS = 5.0
TAIL_LINES = 15

Cores = tuple[int, ...]
"""Where a program may run."""


class BenchError(Exception):
    """Why there is no result; the message is for the person who started the bench."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One started program; it leads a process group of its own."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Raises:
        BenchError: it ended, or was not ready within `READY_SECONDS`.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} was not ready within {READY_SECONDS:g} s{self._tail()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raises:
        BenchError: it has ended.
        """
        if (status := self.popen.poll()) is not None:
            raise BenchError(f"{self.name} ended with status {status}{self._tail()}")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "".join(
            f"\n  {line}" for line in ("; the end of its log:" if lines else "; its log is empty", *lines)
        )


@dataclass(slots=True, kw_only=True)
class Processes:
    """Everything the bench has started, to be ended by `stop`."""

    folder: Path
    """Where the logs go."""
    _started: list[Process] = field(default_factory=list)

    def start(
        self, name: str, command: Sequence[str], *, cores: Cores, environ: Mapping[str, str] | None = None
    ) -> Process:
        """Run *command* on *cores* only. When the bench dies by SIGKILL, the program gets SIGTERM."""
        log = self.folder / f"{name}.log"
        wrapper = ["taskset", "-c", ",".join(map(str, cores))]
        if setpriv := shutil.which("setpriv"):
            wrapper += [setpriv, "--pdeathsig", "TERM", "--"]
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [*wrapper, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,
            )
        process = Process(name=name, popen=popen, log=log)
        self._started.append(process)
        return process

    def finish(self, process: Process, *, seconds: float) -> str:
        """Wait for a program that ends by itself; its output.

        Raises:
            BenchError: it failed, or took longer than *seconds*.
        """
        try:
            status = process.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{process.name} did not end within {seconds:g} s") from None
        self._started.remove(process)
        if status:
            raise BenchError(f"{process.name} ended with status {status}{process._tail()}")
        return process.log.read_text(errors="replace")

    def stop(self) -> None:
        """End everything that was started."""
        self.end(self._started)

    def end(self, some: Sequence[Process]) -> None:
        """End *some*: SIGTERM to every group, SIGKILL to what is left. Not to be interrupted."""
        kept = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
        try:
            for process in reversed(some):
                _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline and any(p.popen.poll() is None for p in some):
                time.sleep(0.05)
            for process in some:
                _signal_group(process, signal.SIGKILL)
                process.popen.wait()
            ended = {process.popen.pid for process in some}
            self._started = [process for process in self._started if process.popen.pid not in ended]
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_like_ctrl_c() -> None:
    """SIGTERM and SIGHUP raise KeyboardInterrupt too, so that every way out passes `Processes.stop`."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in ENDING:
        signal.signal(number, interrupt)


def _signal_group(process: Process, number: signal.Signals) -> None:
    # The group outlives its leader while any of the leader's children is left.
    try:
        os.killpg(process.popen.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def tree(pid: int) -> set[int]:
    """*pid* and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo += children.get(one, [])
    return found


def cpu_seconds(pids: set[int]) -> float:
    """User and system time of *pids*, and of those children of theirs that have ended."""
    # proc(5): utime, stime, cutime and cstime are the fields 14 to 17; `_stat` begins with field 3.
    ticks = sum(int(value) for pid in pids for value in _stat(pid)[11:15])
    return ticks / TICKS_PER_SECOND


def memory_mib(pids: set[int]) -> float:
    """Memory of *pids*; a page that several processes share counts in parts (PSS)."""
    kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def free_ports(count: int) -> list[int]:
    """*count* ports of 127.0.0.1 that nobody listens on now."""
    # Below 32768, where Linux begins to take ports for outgoing connections: the load cannot take them.
    found: list[int] = []
    start = random.randrange(18_000, 30_000)
    for port in range(start, 32_768):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise BenchError(f"no {count} free ports between {start} and 32767 on 127.0.0.1")


def listens(port: int) -> bool:
    """Whether 127.0.0.1:*port* takes a connection."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True
