"""One process to keep alive: how it is forked, and what the forked copy does first."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from understudy.app.inheritance import Given
from understudy.app.runtime import Runtime

log = logging.getLogger("understudy")

WATCHED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGIO,
    signal.SIGRTMIN,
)
"""What the supervisor waits for; blocked in it, so that none is lost while its image is replaced."""

QUICK_SECONDS: Final = 2.0
"""A child that lived shorter is started again more slowly."""

MOST_BACKOFF_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True)
class Child:
    """A place for one process: the control process, or worker *index*."""

    role: str
    index: int = 0
    pid: int = 0
    is_ready: bool = False
    started_at: float = 0.0
    backoff: float = 0.0
    restart_at: float = 0.0

    @property
    def name(self) -> str:
        return self.role if self.role == "control" else f"{self.role} {self.index}"

    def start(self, runtime: Runtime, dropped: Iterable[Given] = ()) -> None:
        """Fork it, without the *dropped* listeners; when that fails, it is due again after a while."""
        self.started_at = time.monotonic()
        self.is_ready = False
        flush()
        try:
            pid = os.fork()
        except OSError as error:
            self.restart_at = self.started_at + MOST_BACKOFF_SECONDS
            log.error("%s cannot be started: %s", self.name, error)
            return
        if pid == 0:
            _become(lambda: _run(self, runtime, dropped))
        self.pid = pid

    def died(self, now: float) -> None:
        """It is gone: it is due again, at once unless it lived a short time only."""
        self.pid = 0
        self.is_ready = False
        quick = now - self.started_at < QUICK_SECONDS
        self.backoff = min(MOST_BACKOFF_SECONDS, max(0.1, self.backoff * 2)) if quick else 0.0
        self.restart_at = now + self.backoff

    def adopt(self, other: "Child") -> None:
        """Hold the process of *other* from now on."""
        self.pid, self.is_ready, self.started_at = other.pid, other.is_ready, other.started_at
        self.backoff = 0.0


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"status {code}"


def _run(child: Child, runtime: Runtime, dropped: Iterable[Given]) -> int:
    """In the child: keep what is its own, do its work."""
    os.close(runtime.held)
    os.close(runtime.hearing)
    own = {runtime.admin.socket, runtime.link_socket} if child.role == "control" else set()
    if child.role == "worker":
        own = {bound.socket for bound in runtime.worker_sockets[child.index]}
    listening = {bound.socket for bound in runtime.listeners()} | {given.socket for given in dropped}
    for bound in {*listening, runtime.admin.socket, runtime.link_socket} - own:
        bound.close()  # a listener that any process holds open is not closed
    if child.role == "control":
        # Its heavier imports (admin, store) stay its own.
        from understudy.app import control

        return control.run(runtime)
    from understudy.app import worker

    return worker.run(runtime, child.index)


def _become(run: Callable[[], int]) -> None:
    """In the child: never return into the supervisor's code."""
    code = 70
    try:
        for number in WATCHED:
            signal.signal(number, signal.SIG_DFL)
        for number in set(WATCHED) - {signal.SIGTERM, signal.SIGCHLD}:
            signal.signal(number, signal.SIG_IGN)  # the supervisor decides what Ctrl-C and the rest mean
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        code = run()
    except BaseException:
        logging.getLogger("understudy").exception("a process could not go on")
    finally:
        flush()
        os._exit(code)


def flush() -> None:
    """What is buffered would be written twice, by two processes; nobody may be reading any more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
