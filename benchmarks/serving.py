"""One running `understudy serve`, its worker's memory and its books."""

import json
import resource
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers import serve_ours
from processes import BenchError, Process, tree
from stage import Stage
from traffic import Load, ask, page

KIB = 1024
ASKED_BY_SERVING = 1
"""Requests that `serving` makes itself, to learn which process is the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of one process, in MiB."""

    rss: float
    """What is resident, shared pages included."""
    pss: float
    """The same, a page that several processes share counted in parts."""
    peak: float
    """The highest `rss` since it was reset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Understudy with one worker, ready."""

    process: Process
    port: int
    admin_port: int
    worker: int
    """The worker's process id."""

    def memory(self) -> Memory:
        """Of the worker, now."""
        status = _kib(f"/proc/{self.worker}/status")
        rollup = _kib(f"/proc/{self.worker}/smaps_rollup")
        return Memory(rss=status["VmRSS"] / KIB, pss=rollup.get("Pss", 0) / KIB, peak=status["VmHWM"] / KIB)

    def reset_peak(self) -> Memory:
        """Forget the highest memory so far; what it is now."""
        Path(f"/proc/{self.worker}/clear_refs").write_text("5")
        return self.memory()

    def report(self) -> dict[str, Any]:
        """The report so far. Raises `BenchError`."""
        report: dict[str, Any] = json.loads(page(self.admin_port, "/api/v1/report"))
        return report

    def check(self) -> None:
        """Raises:
        BenchError: it ended, or its worker did.
        """
        self.process.check()
        if not Path(f"/proc/{self.worker}").exists():
            raise BenchError("the worker ended")


@contextmanager
def serving(
    stage: Stage,
    config: Mapping[str, Any],
    *,
    primary: int,
    shadow: int,
    copy_seconds: float = 5.0,
    is_pure: bool = False,
) -> Iterator[Served]:
    """Serve *config*, whose services shop-v1 and shop-v2 are those ports. Raises `BenchError`."""
    place = stage.place(primary=primary, shadow=shadow, copy_seconds=copy_seconds)
    file = stage.processes.folder / "understudy.yaml"
    file.write_text(json.dumps(config))
    process, port, admin_port = serve_ours(place, file, label="understudy", is_pure=is_pure)
    try:
        worker = owner_of_connection(process, port)
        yield Served(process=process, port=port, admin_port=admin_port, worker=worker)
    finally:
        stage.processes.end([process])


def config_of(*, mirror_methods: tuple[str, ...] = ("GET",), **more: Any) -> dict[str, Any]:
    """A configuration that mirrors everything from shop-v1 to shop-v2; *more* are sections of it."""
    return {
        "store": "memory://",
        "services": {
            "shop-v1": {"url": "http://127.0.0.1:9001"},
            "shop-v2": {"url": "http://127.0.0.1:9002"},
        },
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"dark": {"serve": "shop-v1", "mirror": ["shop-v2"]}},
                "defaultVariant": "dark",
            }
        },
        "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid", "mirror_methods": [*mirror_methods]}],
        **more,
    }


def raise_file_limit() -> int:
    """As many open files as the system allows, for this process and what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def owner_of_connection(process: Process, port: int) -> int:
    """The process below *process* that took a connection to *port*. Raises `BenchError`."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as connection:
        mine = connection.getsockname()[1]
        connection.sendall(Load().raw(port))
        connection.recv(1)  # so it is taken, not only queued
        inode = _inode(port, mine)
        for pid in tree(process.popen.pid):
            if inode in _socket_inodes(pid):
                return pid
    raise BenchError("no process was found to own a connection to the proxy")


def _inode(local: int, remote: int) -> str:
    """The socket between those two ports of 127.0.0.1, by /proc/net/tcp."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{local:04X}") and words[2].endswith(f":{remote:04X}"):
            return words[9]
    return "none"


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    except OSError:
        pass
    return found


def _kib(path: str) -> dict[str, int]:
    """The fields of *path* that are given in kB."""
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[-1:] == ["kB"]}


def warm(served: Served, load: Load, *, times: int = 200) -> None:
    """Ask *times*, so that what is allocated once is allocated. Raises `BenchError`."""
    if any(status != 200 for status, _ in ask(served.port, load, times=times)):
        raise BenchError(f"the proxy did not answer {load} with 200")
