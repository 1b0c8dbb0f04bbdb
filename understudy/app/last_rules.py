"""The last good rules of this host, on disk for a start while the store is away."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Final

from understudy.config import Layers, Settings
from understudy.store import StoredRules
from understudy.store.last_good import LastGood
from understudy.store.location import last_good

log = logging.getLogger("understudy.control")

AGAIN_SECONDS: Final = 5.0
"""How soon a disk that did not take them is tried again."""


class LastRules:
    """What `keep` was given last is in *file* once `run` gets to it: who stores rules waits for no disk."""

    def __init__(self, file: LastGood | None) -> None:
        self._file = file
        self._wanted: StoredRules | None = None
        self._read_at = 0.0
        self._kept: StoredRules | None = None
        self._is_due = asyncio.Event()
        self.trouble = ""
        """Why the file does not have what is in force; empty when it has."""

    async def read(self) -> StoredRules | None:
        """Those of the run before this one, if there are any."""
        found = None if self._file is None else await asyncio.to_thread(self._file.read)
        if found is None:
            return None
        self._kept = found[0]
        return found[0]

    def keep(self, rules: StoredRules) -> None:
        """These are in force, from the store. Never waits."""
        self._wanted, self._read_at = rules, time.time()
        if self._file is not None and rules != self._kept:
            self._is_due.set()

    async def run(self) -> None:
        """Write what is to be kept, for ever."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            if not await self._is_written():
                await asyncio.sleep(AGAIN_SECONDS)
                self._is_due.set()

    async def _is_written(self) -> bool:
        rules, file, read_at = self._wanted, self._file, self._read_at
        if rules is None or file is None:
            return True
        try:
            await asyncio.to_thread(file.write, rules, file.origin, read_at=read_at)
        except OSError as error:
            if not self.trouble:
                log.error(
                    "%s: the last good rules cannot be kept: %s; without the store this host could start from"
                    " its configuration only. Let Understudy write to that folder",
                    file.path,
                    error.strerror or error,
                )
            self.trouble = str(error)
            return False
        self._kept, self.trouble = rules, ""
        return True


def last_rules(settings: Settings, base: Path) -> LastRules:
    """Those of the store in *settings*. Two layers keep theirs by themselves, and ``memory://`` has none."""
    if isinstance(settings.store, Layers):
        return LastRules(None)
    return LastRules(last_good(settings.store, base, settings.environment))
