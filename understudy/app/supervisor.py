"""Start the control process and the workers, replace what dies, end all of them in order.

Single-threaded and without an event loop, so that forking is safe: a child starts with the settings
already validated and the sockets already bound.
"""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from understudy.app.resources import tell_resources
from understudy.app.runtime import Runtime
from understudy.app.sockets import address_of, bind, bind_unix, bind_workers
from understudy.config import Settings
from understudy.errors import ListenError

log = logging.getLogger("understudy")

WATCHED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
QUICK_SECONDS: Final = 2.0
"""A child that lived shorter is started again more slowly."""
MOST_BACKOFF_SECONDS: Final = 5.0
LONGEST_FOLDER: Final = 90
"""A Unix socket's path has at most 107 bytes."""

GRACE_SECONDS: Final = 5.0
"""What children get beyond the drain time before they are killed."""


@dataclass(slots=True, kw_only=True)
class Child:
    """One process to keep alive."""

    name: str
    run: Callable[[], int]
    pid: int = 0
    started_at: float = 0.0
    backoff: float = 0.0
    restart_at: float = 0.0
    restarts: int = 0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Runs until told to stop; `run` returns the exit status."""

    runtime: Runtime
    children: list[Child] = field(default_factory=list)
    stopping: bool = False

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            for child in self.children:
                self._start(child)
            while not self.stopping:
                self._wait(self._next_restart())
            return self._stop()
        finally:
            for child in self.children:
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)

    def _next_restart(self) -> float:
        now = time.monotonic()
        due = [child.restart_at - now for child in self.children if not child.pid]
        return max(0.0, min(due, default=60.0))

    def _wait(self, seconds: float) -> None:
        got = signal.sigtimedwait(WATCHED, seconds)
        if got is not None and got.si_signo in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True
            return
        if got is not None and got.si_signo == signal.SIGHUP:
            log.warning(
                "SIGHUP: services and limits are read at start only in this version; rules reload by the API"
            )
        self._reap()
        now = time.monotonic()
        for child in self.children:
            if not child.pid and child.restart_at <= now and not self.stopping:
                child.restarts += 1
                self._start(child)

    def _start(self, child: Child) -> None:
        child.started_at = time.monotonic()
        _flush()
        try:
            pid = os.fork()
        except OSError as error:
            child.restart_at = child.started_at + MOST_BACKOFF_SECONDS
            log.error("%s cannot be started: %s", child.name, error)
            return
        if pid == 0:
            _become(child.run)
        child.pid = pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in self.children:
                if child.pid == pid:
                    self._died(child, os.waitstatus_to_exitcode(status))

    def _died(self, child: Child, code: int) -> None:
        child.pid = 0
        now = time.monotonic()
        if self.stopping:
            return
        quick = now - child.started_at < QUICK_SECONDS
        child.backoff = min(MOST_BACKOFF_SECONDS, max(0.1, child.backoff * 2)) if quick else 0.0
        child.restart_at = now + child.backoff
        how = f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"status {code}"
        log.error("%s ended by %s; starting it again", child.name, how)

    def _stop(self) -> int:
        """Workers first, so that their last evidence still finds the control process.

        The listeners are closed here too: else new connections would wait for a worker that is leaving.
        """
        for bound in self.runtime.listeners():
            bound.close()
        deadline = time.monotonic() + self.runtime.settings.limits.drain_timeout + GRACE_SECONDS
        workers = [child for child in self.children if child.name != "control"]
        rest = [child for child in self.children if child.name == "control"]
        clean = self._end(workers, deadline) & self._end(rest, deadline)
        return 0 if clean else 1

    def _end(self, children: list[Child], deadline: float) -> bool:
        for child in children:
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        while any(child.pid for child in children):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            signal.sigtimedwait([signal.SIGCHLD], min(left, 0.2))
            self._reap()
        return True


def _become(run: Callable[[], int]) -> None:
    """In the child: never return into the supervisor's code."""
    code = 70
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides what Ctrl-C means
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        code = run()
    except BaseException:
        logging.getLogger("understudy").exception("a process could not go on")
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    """What is buffered would be written twice, by two processes; nobody may be reading any more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def serve(settings: Settings, *, config_path: Path | None = None) -> int:
    """Run the proxy in the foreground until SIGTERM or SIGINT; the exit status.

    Raises `ListenError` before anything is started when an address cannot be bound.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    tell_resources(settings)
    admin = bind(settings.admin.listen, shared=False)
    workers = bind_workers(settings.listen, settings.workers)
    folder = _folder()
    lifeline, held = os.pipe()
    os.set_inheritable(held, False)
    try:
        runtime = Runtime(
            settings=settings,
            link_path=folder / "link",
            link_socket=bind_unix(folder / "link"),
            admin_socket=admin,
            worker_sockets=workers,
            lifeline=lifeline,
            via_id=b"understudy-" + secrets.token_hex(4).encode("ascii"),
        )
        log.info(
            "understudy serves %s from %s, admin at http://%s",
            ", ".join(f"http://{address_of(bound)}" for bound in workers[0]),
            config_path or "settings",
            address_of(admin),
        )
        supervisor = Supervisor(runtime=runtime)
        supervisor.children = _children(runtime, held)
        return supervisor.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new folder for the link's socket, whose path must be short. Raises `ListenError`."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="understudy-"))
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="understudy-", dir="/tmp"))
    except OSError as error:
        raise ListenError(f"no folder for temporary files: {error}") from None
    return folder


def _children(runtime: Runtime, held: int) -> list[Child]:
    def keep(*own: socket.socket) -> None:
        """Close what is not this child's: a listener that any process holds open is not closed."""
        os.close(held)
        for bound in (*runtime.listeners(), runtime.admin_socket, runtime.link_socket):
            if bound not in own:
                bound.close()

    def control() -> int:
        keep(runtime.admin_socket, runtime.link_socket)
        from understudy.app.control import run

        return run(runtime)

    def worker(index: int) -> Callable[[], int]:
        def start() -> int:
            keep(*runtime.worker_sockets[index])
            from understudy.app.worker import run

            return run(runtime, index)

        return start

    # Imported before the fork, so that every worker shares the memory; the control process's heavier
    # imports (admin, store) stay its own.
    import understudy.app.worker  # noqa: F401

    return [
        Child(name="control", run=control),
        *(Child(name=f"worker {index}", run=worker(index)) for index in range(runtime.settings.workers)),
    ]
