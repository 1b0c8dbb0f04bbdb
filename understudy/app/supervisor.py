"""Start the control process and the workers, replace what dies or is asked for, end all of them in order.

Single-threaded and without an event loop, so that forking is safe: a child starts with the settings
already validated and the sockets already bound.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import orjson

from understudy.app.board import RESTARTS
from understudy.app.children import WATCHED, Child, ending
from understudy.app.handover import Handover
from understudy.app.inheritance import Former, Given
from understudy.app.notify import Notifier
from understudy.app.reports import Reports, Word
from understudy.app.rolling import Rolling
from understudy.app.runtime import Runtime
from understudy.app.sockets import Bound, refuse_new
from understudy.config import Listener, parse_settings, reloaded
from understudy.config.kill_file import EVERY, add_lines
from understudy.errors import UnderstudyError

log = logging.getLogger("understudy")

GRACE_SECONDS: Final = 5.0
"""What a process gets beyond the drain time before it is killed."""

IDLE_SECONDS: Final = 60.0
BUSY_SECONDS: Final = 0.5
"""How often it looks at deadlines; whatever happens wakes it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A process that was told to end, and until when it has."""

    name: str
    deadline: float


class Supervisor:
    """Runs until told to stop; `run` returns the exit status.

    *former* is the generation before this one, if the image was replaced in place; it goes once this one
    serves. *dropped* are sockets of addresses that only it listens on.
    """

    def __init__(
        self, runtime: Runtime, *, notifier: Notifier, former: Former | None, dropped: Iterable[Given] = ()
    ) -> None:
        self.runtime = runtime
        self.children = [
            Child(role="control"),
            *(Child(role="worker", index=index) for index in range(runtime.settings.workers)),
        ]
        self._notifier = notifier
        self._reports = Reports(runtime.hearing)
        self._rolling = Rolling(self)
        self._handover = Handover()
        self._leaving: dict[int, Leaving] = {}
        self._former_control = former.control if former else 0
        self._former = list(former.workers) if former else []
        self._dropped = list(dropped)
        self._is_stopping = False
        self._is_announced = False
        self._reload_is_due = False

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        try:
            if self._former_control:
                # Two control processes would write to one store; the workers keep what they have to say.
                self._tell_to_leave(self._former_control, "the former control process", signal.SIGTERM, 0.0)
            while not self._is_stopping:
                self._turn()
            return self._stop()
        finally:
            for pid in self._all():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    # -- one turn -----------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if not child.pid and child.restart_at <= now and not self._waits_for_former(child):
                self.start(child)
        self._rolling.step(now)
        self._settle()
        self._kill_late(now)
        got = signal.sigtimedwait(WATCHED, self._patience(now))
        if got is not None:
            self._obey(got.si_signo)
        self._hear()
        self._reap()

    def _obey(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._is_stopping = True
        elif number == signal.SIGHUP:
            self._notifier.reloading()
            self._reload_is_due = True
            self._pass_on_reload()
        elif number == signal.SIGUSR1:
            self._rolling.begin()
        elif number == signal.SIGUSR2:
            self._handover.begin(self.runtime, time.monotonic())
        elif number == signal.SIGRTMIN:
            self._kill_all()

    def _kill_all(self) -> None:
        """Every process sees the file by itself; a folder that is read-only does not keep it from them."""
        for path in self.runtime.kill_paths:
            try:
                add_lines(path, [EVERY])
            except OSError as error:
                log.error("%s: cannot be written: %s", path, error.strerror)
            else:
                log.warning("every flag that a route names is killed on this host, until %s is removed", path)
                return

    def _pass_on_reload(self) -> None:
        """The control process reads the file; one that is not there yet is told once it is."""
        control = self.children[0]
        if self._reload_is_due and control.is_ready:
            self._reload_is_due = False
            os.kill(control.pid, signal.SIGHUP)

    def _patience(self, now: float) -> float:
        absent = [child for child in self.children if not child.pid and not self._waits_for_former(child)]
        due = [max(0.0, child.restart_at - now) for child in absent]
        is_busy = self._leaving or self._former or self._handover.pid or self._rolling.is_busy or due
        return min([BUSY_SECONDS if is_busy else IDLE_SECONDS, *due])

    # -- words of children ----------------------------------------------------------------------------------

    def _hear(self) -> None:
        for word, pid in self._reports.take():
            if word is Word.READY:
                self._is_ready(pid)
            elif word is Word.SETTINGS:
                self._take_settings()
            elif word is Word.RELOADED:
                self._notifier.ready("serving")
            elif word is Word.RESTART:
                self._rolling.begin()

    def _is_ready(self, pid: int) -> None:
        successor = self._rolling.successor
        for child in (*self.children, *([successor] if successor else [])):
            if child.pid == pid:
                child.is_ready = True
        self._pass_on_reload()

    def _take_settings(self) -> None:
        """For children that are started from now on."""
        runtime = self.runtime
        try:
            document = orjson.loads(runtime.settings_path.read_bytes())
            new = parse_settings(document, base=runtime.base, environ={})
        except (OSError, ValueError, UnderstudyError) as error:
            log.error("reloaded settings do not reach processes that are started later: %s", error)
            return
        self.runtime = replace(runtime, settings=reloaded(runtime.settings, new).settings)

    # -- births and deaths ----------------------------------------------------------------------------------

    def start(self, child: Child) -> None:
        child.start(self.runtime, self._dropped)

    def replaced(self, child: Child) -> None:
        self.runtime.board.count(RESTARTS, child.role, "asked")
        self._tell_to_leave(child.pid, child.name, signal.SIGUSR1, self._drain_seconds)

    def is_leaving(self, pid: int) -> bool:
        return pid in self._leaving

    def discard(self, child: Child) -> None:
        self._tell_to_leave(child.pid, child.name, signal.SIGKILL, 0.0)

    @property
    def _drain_seconds(self) -> float:
        return self.runtime.settings.limits.drain_timeout

    def _waits_for_former(self, child: Child) -> bool:
        return child.role == "control" and self._former_control in self._leaving

    def _settle(self) -> None:
        """Everybody serves: let the former generation go, and say so."""
        if not all(child.is_ready for child in self.children):
            return
        if self._former:
            log.info("handover: the new generation serves, the former drains")
            for given in self._dropped:
                listener = Listener(address=given.address, is_unix=given.address.startswith("/"))
                refuse_new(Bound(listener=listener, socket=given.socket, is_ours=given.is_ours))
            # Who waits on an address that is no longer served is still theirs to answer.
            number = signal.SIGTERM if self._dropped else signal.SIGUSR1
            for pid in self._former:
                self._tell_to_leave(pid, "a former worker", number, self._drain_seconds)
            self._former.clear()
        for given in self._dropped:
            given.socket.close()
        self._dropped.clear()
        if not self._is_announced:
            self._is_announced = True
            self._notifier.ready("serving")

    def _tell_to_leave(self, pid: int, name: str, number: int, seconds: float) -> None:
        os.kill(pid, number)
        self._leaving[pid] = Leaving(name=name, deadline=time.monotonic() + seconds + GRACE_SECONDS)

    def _kill_late(self, now: float) -> None:
        for pid, leaving in self._leaving.items():
            if leaving.deadline < now:
                log.error("%s did not end in time and is killed", leaving.name)
                os.kill(pid, signal.SIGKILL)
        if self._handover.pid and self._handover.deadline < now:
            os.kill(self._handover.pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        successor = self._rolling.successor
        if pid == self._handover.pid:
            if self._handover.rehearsed(code) and not self._is_stopping:
                self._hand_over()
        elif self._leaving.pop(pid, None) is not None:
            return
        elif pid in self._former:
            self._former.remove(pid)
        elif successor is not None and pid == successor.pid and not self._is_stopping:
            self._rolling.ended(f"it ended by {ending(code)}")
        for child in self.children:
            if child.pid == pid:
                self._died(child, code)

    def _died(self, child: Child, code: int) -> None:
        if self._is_stopping:
            child.pid = 0
            return
        self.runtime.board.count(RESTARTS, child.role, "died")
        log.error("%s ended by %s; starting it again", child.name, ending(code))
        if child.role == "control" and self._is_announced:
            self._notifier.ready("serving")  # a reload that it was at is over
        if not self._rolling.lost(child):
            child.died(time.monotonic())

    def _hand_over(self) -> None:
        control = self.children[0].pid
        workers = [pid for pid in self._all() if pid not in (control, self._former_control)]
        self._handover.execute(self.runtime, control=control, workers=workers)

    def _all(self) -> list[int]:
        """Every process of ours that has not ended."""
        successor = self._rolling.successor
        pids = [child.pid for child in self.children] + [successor.pid if successor else 0]
        found = dict.fromkeys([*pids, *self._former, *self._leaving, self._handover.pid])
        return [pid for pid in found if pid]

    # -- the end ----------------------------------------------------------------------------------------

    def _stop(self) -> int:
        """Workers first, so that their last evidence still finds the control process.

        The listeners are closed here too: else new connections would wait for a worker that is leaving.
        """
        self._notifier.stopping()
        self._rolling.stop()
        for bound in self.runtime.listeners():
            refuse_new(bound)
            bound.socket.close()
        deadline = time.monotonic() + self._drain_seconds + GRACE_SECONDS
        control = self.children[0].pid
        clean = self._end([pid for pid in self._all() if pid != control], deadline)
        clean &= self._end([control] if control else [], deadline)
        return 0 if clean else 1

    def _end(self, pids: list[int], deadline: float) -> bool:
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        while set(pids) & set(self._all()):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            signal.sigtimedwait([signal.SIGCHLD], min(left, 0.2))
            self._reap()
        return True
