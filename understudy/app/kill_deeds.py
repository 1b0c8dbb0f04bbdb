"""Who put a kill switch on, when and why: read off the end of the audit."""

from collections.abc import Collection, Mapping
from typing import Final

from understudy.access import Deed
from understudy.errors import StoreError
from understudy.store import Store

_AT_ONCE: Final = 1000
_MOST_ENTRIES: Final = 10_000
"""A kill switch that is older than so many changes is told without who and why; the audit has it still."""


class KillDeeds:
    """What the audit in *store* says of flags that are killed; read once for each version of the rules."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version = 0
        self._known: Mapping[str, Deed] = {}

    async def of(self, killed: Collection[str], *, version: int) -> Mapping[str, Deed]:
        """The deed for each of *killed*, the flags that *version* of the rules kills, as far as it is known.

        Never raises: while the store is away, it is what was known before.
        """
        if killed and version != self._version:
            try:
                self._known, self._version = await self._found(killed), version
            except StoreError:
                pass
        return {key: deed for key, deed in self._known.items() if key in killed}

    async def _found(self, killed: Collection[str]) -> dict[str, Deed]:
        end = (await self._store.audit_head()).number
        first, left, found = max(0, end - _MOST_ENTRIES), set(killed), dict[str, Deed]()
        while left and end > first:
            begin = max(first, end - _AT_ONCE)
            for entry in reversed(await self._store.audit(after=begin, limit=end - begin)):
                if entry.deed.environment == self._store.environment:
                    found |= {key: entry.deed for key in left if _is_done(entry.deed, "kill", key)}
                    # One that was revived since was killed again by other means: nobody knows by whom.
                    left -= {key for key in left if key in found or _is_done(entry.deed, "revive", key)}
            end = begin
        return found


def _is_done(deed: Deed, verb: str, key: str) -> bool:
    """Whether *deed* is to *verb* flag *key*, by itself or among others."""
    if deed.action == f"flag.{verb}":
        return deed.target == key
    return deed.action == "bulk" and f"flag.{verb} {key}" in deed.target.split(", ")
