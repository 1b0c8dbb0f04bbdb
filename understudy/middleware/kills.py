"""What the kill file of this host kills in an application, before anything is served and from then on."""

import logging
from collections.abc import Callable
from pathlib import Path

from understudy.app.kill_watch import KillWatch
from understudy.config import KillFile, Kills, Settings

log = logging.getLogger("understudy.middleware")


def kill_file(settings: Settings) -> KillFile:
    """The one that *settings* name; none kills nothing."""
    return KillFile([Path(settings.kill_file).absolute()] if settings.kill_file else [])


def kills_now(settings: Settings) -> Kills:
    """What the file says at this moment. Blocks for a look at it."""
    file = kill_file(settings)
    file.look()
    return file.kills


class HostKills:
    """``kills`` is what the file said last; *changed* is called on the event loop when that changes."""

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self._watch = KillWatch(kill_file(settings), self._tell)
        self._changed = changed

    @property
    def kills(self) -> Kills:
        return self._watch.file.kills

    def begin(self) -> None:
        """Look, in the running event loop, and go on looking until `end`."""
        if self._watch.file.paths:
            self._watch.begin()

    def end(self) -> None:
        """Look no more."""
        self._watch.end()

    def _tell(self) -> None:
        log.warning("killed on this host: %s", ", ".join(self.kills.text().split()) or "nothing any more")
        self._changed()
