"""Replace the supervisor's image in place: same process, new code and configuration, nothing lost.

First the new image is rehearsed, in a process of its own: it reads the configuration, loads its modules and
tries every address. Only then the supervisor executes it. Listeners, the link and the old generation's
processes are handed over in one environment variable; the old generation serves until the new one does.
"""

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from understudy.app.children import ending, flush
from understudy.app.inheritance import HANDOVER
from understudy.app.runtime import Runtime

log = logging.getLogger("understudy")

REHEARSAL_SECONDS: Final = 60.0
"""Reading a large configuration and loading every module takes a second or two."""


class Handover:
    """At most one rehearsal at a time; ``pid`` is its process, 0 when there is none."""

    def __init__(self) -> None:
        self.pid = 0
        self.deadline = 0.0

    def begin(self, runtime: Runtime, now: float) -> None:
        """Start the rehearsal, unless one runs."""
        if self.pid:
            return
        log.info("handover: rehearsing %s", " ".join(_command()))
        environ = _environ(runtime, is_rehearsal=True)
        nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        _set_inheritable(runtime, True)
        try:
            command = _command()
            self.pid = os.posix_spawn(command[0], command, environ, file_actions=[nowhere], setsigmask=[])
            self.deadline = now + REHEARSAL_SECONDS
        except OSError as error:
            log.error("handover: the new image cannot be started: %s; this one serves on", error)
        finally:
            _set_inheritable(runtime, False)

    def rehearsed(self, code: int) -> bool:
        """The rehearsal ended with *code*: whether to go on."""
        self.pid = 0
        if code:
            log.error("handover refused: the rehearsal ended by %s; this image serves on", ending(code))
        return code == 0

    def execute(self, runtime: Runtime, *, control: int, workers: Sequence[int]) -> None:
        """Become the new image. Returns only when that cannot be: then nothing has changed."""
        log.info("handover: executing the new image")
        command, environ = _command(), _environ(runtime, control=control, workers=list(workers))
        flush()
        _set_inheritable(runtime, True)
        try:
            os.execve(command[0], command, environ)  # noqa: S606 - the command that started this process
        except OSError as error:
            _set_inheritable(runtime, False)
            log.error("handover: the new image cannot be executed: %s; this one serves on", error)


def _command() -> list[str]:
    # By its whole path, because Python finds a virtual environment by the name that it is called.
    return [sys.executable, *sys.orig_argv[1:]]


def _environ(
    runtime: Runtime, *, is_rehearsal: bool = False, control: int = 0, workers: Sequence[int] = ()
) -> dict[str, str]:
    sockets = [
        {"address": bound.listener.address, "fd": bound.socket.fileno(), "is_ours": bound.is_ours}
        for bound in (*runtime.listeners(), runtime.admin)
    ]
    told: dict[str, Any] = {
        "pid": os.getpid(),
        "is_rehearsal": is_rehearsal,
        "sockets": sockets,
        "lifeline": [runtime.lifeline, runtime.held],
        "folder": str(runtime.folder),
        "link": runtime.link_socket.fileno(),
        "control": control,
        "workers": list(workers),
    }
    return {**os.environ, HANDOVER: json.dumps(told)}


def _set_inheritable(runtime: Runtime, inheritable: bool) -> None:
    for bound in (*runtime.listeners(), runtime.admin):
        bound.socket.set_inheritable(inheritable)
    runtime.link_socket.set_inheritable(inheritable)
    for fd in (runtime.lifeline, runtime.held):
        os.set_inheritable(fd, inheritable)
