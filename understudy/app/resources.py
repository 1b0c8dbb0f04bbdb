"""What this machine allows a process: memory, open files, sockets."""

import logging
import os
import resource
from pathlib import Path
from typing import Final

from understudy.config import AUTO, Settings
from understudy.config.quantity import size_text

log = logging.getLogger("understudy")

MOST_FILES: Final = 1_048_576
"""Linux's default of fs.nr_open: more is a word for "without bound", which costs nothing to leave out."""

LEAST_MEMORY: Final = 128 * 1024 * 1024
"""A worker at rest has about 50 MiB and may hold 64 MiB of copies: a smaller limit would bite in peace."""

OWN_FILES: Final = 64
"""Standard streams, event loop, link, listeners, log, and some air."""

NO_LIMIT: Final = 1 << 60
"""cgroup v1 tells an absent limit as the largest number of whole pages."""

PAGE_BYTES: Final = resource.getpagesize()


def raise_file_limit() -> tuple[int, int]:
    """Let this process and its children open as many files as they may: (before, now)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft, soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, wanted


def tell_resources(settings: Settings) -> None:
    """Raise the limit of open files, and say what bounds each worker."""
    before, files = raise_file_limit()
    memory = memory_limit(settings)
    log.info(
        "each process may open %d files%s; each worker takes %d client connections and %s of memory",
        files,
        "" if before == files else f" (raised from {before})",
        client_connections(settings, files),
        size_text(memory) if memory else "any amount",
    )


def file_limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def client_connections(settings: Settings, files: int) -> int:
    """How many client connections a worker takes that may open so many *files*.

    Unless it is set: half of what is left beside the worker's own files and every copy that may be in
    flight, since each client may need one connection to a service; at least a quarter.
    """
    if settings.limits.client_connections != AUTO:
        return settings.limits.client_connections
    copies = 2 * settings.shadow.in_flight * len(settings.services) if has_copies(settings) else 0
    return max((files - OWN_FILES - copies) // 2, files // 4)


def has_copies(settings: Settings) -> bool:
    """Whether anything is mirrored now; the rules may change, so this is an estimate."""
    return any(
        variant.get("mirror")
        for flag in settings.rules.flags.values()
        for variant in flag.get("variants", {}).values()
        if isinstance(variant, dict)
    )


def memory_limit(settings: Settings, *, root: Path = Path("/")) -> int:
    """How many bytes a worker may hold before it sheds work; 0 for no bound.

    Unless it is set: half of what the container (cgroup) may use, shared by the workers. The other half is
    for the control process, the store's page cache and what the kernel holds for sockets.
    """
    if settings.limits.memory_bytes != AUTO:
        return settings.limits.memory_bytes
    container = container_memory(root)
    return max(container // 2 // settings.workers, LEAST_MEMORY) if container else 0


def container_memory(root: Path = Path("/")) -> int:
    """The smallest memory limit of the cgroups that this process is in; 0 without one."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    limits: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            limits += _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")
    return min(limits, default=0)


def _limits(top: Path, path: str, name: str) -> list[int]:
    """Limits from the cgroup at *path* up; inside a container the path may not be there, the top is."""
    found: list[int] = []
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        try:
            text = top.joinpath(*parts[:depth], name).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < NO_LIMIT:
            found.append(int(text))
    return found


class Gauge:
    """Reads what this process holds, cheaply enough for every tenth of a second."""

    def __init__(self) -> None:
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def resident_bytes(self) -> int:
        """Resident memory."""
        return int(os.pread(self._statm, 128, 0).split()[1]) * PAGE_BYTES

    def next_file(self) -> int:
        """The lowest free file descriptor; the limit when there is none."""
        try:
            free = os.dup(self._statm)
        except OSError:
            return file_limit()
        os.close(free)
        return free
