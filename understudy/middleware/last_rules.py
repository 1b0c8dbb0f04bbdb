"""The last good rules of an application's host, for processes that start while the store is away."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from understudy.app.last_rules import LastRules, last_rules
from understudy.app.rulebook import Rulebook
from understudy.config import Settings
from understudy.errors import UnderstudyError
from understudy.store import StoredRules
from understudy.store.last_good import LastGood
from understudy.store.location import last_good_path

log = logging.getLogger("understudy.middleware")

START_SECONDS: Final = 0.5
"""How long a start waits for the store when there are last good rules, as long as the control process does:
traffic waits meanwhile, and a whole start shall take less than 2 s."""

ADMIN_FILE: Final = "understudy-admin-rules.json"
"""Beside the configuration, where `understudy serve` may keep those of a store."""


class Heard:
    """What the store said last, to this process or the one that it was forked from."""

    __slots__ = ("rules",)

    def __init__(self) -> None:
        self.rules: StoredRules | None = None


class HostRules:
    """The last good rules for one event loop; *heard* is the process's, for its next loop, and its children.

    With *yields* they are those of a control process: what it says counts, be it older.
    """

    def __init__(self, kept: LastRules, heard: Heard, *, yields: bool = False) -> None:
        self._kept = kept
        self._heard = heard
        self._yields = yields
        self._is_tried = asyncio.Event()

    def tried(self) -> None:
        """The store was asked, and did not answer: nobody needs to wait for it."""
        self._is_tried.set()

    def keep(self, rules: StoredRules) -> None:
        """These came into force, from the store. Never waits."""
        self._is_tried.set()
        self._heard.rules = rules
        self._kept.keep(rules)

    async def run(self, book: Rulebook, turn: Callable[[], None]) -> None:
        """Let *book* begin with them, and *turn* put it in force, unless the store answers at once.

        Then write what is to be kept, for ever; where that is not possible it is logged, and tried again.
        """
        found = await self._newest()
        if found is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_SECONDS):
                    await self._is_tried.wait()
            if not book.is_loaded:
                self._begin(found, book, turn)
        await self._kept.run()

    def _begin(self, found: StoredRules, book: Rulebook, turn: Callable[[], None]) -> None:
        book.begin_with(found, yields=self._yields)
        try:
            turn()
        except UnderstudyError as error:
            log.error("the last good rules, version %d, do not compile: %s", found.version, error)

    async def _newest(self) -> StoredRules | None:
        """What this process heard last, or another one of the host, which may have heard more."""
        heard, kept = self._heard.rules, await self._kept.read()
        if heard is None or (kept is not None and kept.version > heard.version):
            return kept
        return heard


def host_rules(settings: Settings, base: Path, heard: Heard, admin: str = "") -> HostRules:
    """Those of the store that *settings* name, or of the control process at *admin*; in the folder *base*,
    unless the store has one of its own. Two layers keep theirs by themselves, and ``memory://`` has none.
    """
    if not admin:
        return HostRules(last_rules(settings, base), heard)
    path = last_good_path(base.absolute() / ADMIN_FILE, settings.environment)
    file = LastGood(path, origin=sha256(admin.encode("utf-8", "replace")).hexdigest()[:16])
    return HostRules(LastRules(file), heard, yields=True)
