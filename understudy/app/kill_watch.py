"""Looks at the kill file again and again, from a thread of its own: a hung disk is never waited for."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from understudy.config import KillFile

log = logging.getLogger("understudy")

EVERY_SECONDS: Final = 0.2
"""Reading a small file, or finding none, takes 10 µs; a kill shall be seen at the upstream within 1 s."""


class KillWatch:
    """Calls *changed* on the running event loop whenever *file* says something else.

    The first look is taken at once, by `begin`, in the caller's own thread, so that nobody is ever served by
    rules that the file overrules.
    """

    def __init__(self, file: KillFile, changed: Callable[[], None]) -> None:
        self.file = file
        self._changed = changed
        self._ended = threading.Event()

    def begin(self) -> None:
        """Look, tell, and go on looking until `end`, or until the process ends."""
        if self.file.look():
            self._tell()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, args=(loop,), name="kill file", daemon=True).start()

    def end(self) -> None:
        """Look no more. Waits for nothing."""
        self._ended.set()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            if not self.file.look():
                continue
            try:
                loop.call_soon_threadsafe(self._tell)
            except RuntimeError:
                return  # the loop is closed: the process ends

    def _tell(self) -> None:
        if self.file.trouble:
            log.error("%s; what was killed stays killed", self.file.trouble)
        self._changed()
