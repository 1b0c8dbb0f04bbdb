"""Rules in Redis: versions in one hash, changed by compare-and-set, with a bell."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from understudy.access import Deed
from understudy.config import DEFAULT_ENVIRONMENT
from understudy.errors import StoreError, VersionConflict
from understudy.store.access import rules_deed
from understudy.store.redis_access import TRIES, audited
from understudy.store.redis_link import RedisLink
from understudy.store.rules import StoredRules, document_text, row_rules, row_text, stored_rules

MOST_VERSIONS: Final = 1_000
"""Redis holds everything in memory, so only the last versions are kept: years of changes made by people."""

AT_ONCE: Final = 20
"""So many versions are read to look for one: a document may have megabytes."""

POLL_SECONDS: Final = 3.0
"""How often the version is asked for although the bell is silent: it rings once, and may be missed; a kill is
still in force everywhere within 5 s."""


class RedisRules:
    """The rules behind *link*."""

    def __init__(self, link: RedisLink, environment: str) -> None:
        self._link = link
        self._environment = environment
        self._name = link.within(environment, "rules")
        self._bell = link.within(environment, "bell")

    async def version(self) -> int:
        """The newest version; 0 while there is none."""
        async with self._link.asking() as client:
            return int(await client.hget(self._link.key(self._name), "newest") or 0)

    async def newest(self) -> StoredRules | None:
        """The newest version; None while there is none. Raises StoreError when it is damaged."""
        found = await self._link.run("newest_rules", [self._name])
        return self._stored(int(found[0]), found[1]) if found else None

    async def history(self, *, limit: int, is_brief: bool) -> list[StoredRules]:
        """See Store.history. Looks at a few at a time."""
        newest, found = await self.version(), list[StoredRules]()
        last = max(0, newest - min(limit, MOST_VERSIONS))
        for first in range(newest, last, -AT_ONCE):
            some = await self._some(range(first, max(last, first - AT_ONCE), -1))
            found += [replace(rules, document={}) for rules in some] if is_brief else some
        return found

    async def at(self, at: float) -> StoredRules | None:
        """See Store.rules_at. Looks from the newest back, a few at a time."""
        newest = await self.version()
        for first in range(newest, max(0, newest - MOST_VERSIONS), -AT_ONCE):
            for rules in await self._some(range(first, max(0, first - AT_ONCE), -1)):
                if rules.at <= at:
                    return rules
        return None

    async def _some(self, versions: Sequence[int]) -> list[StoredRules]:
        """Those of *versions* that are kept, in this order."""
        if not versions:
            return []
        async with self._link.asking() as client:
            rows = await client.hmget(self._link.key(self._name), [str(version) for version in versions])
        found = zip(versions, rows, strict=True)
        return [self._stored(version, row) for version, row in found if row is not None]

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        async with self._link.asking() as client:
            row = await client.hget(self._link.key(self._name), str(version))
        return None if row is None else self._stored(version, row)

    async def put(
        self,
        document: Mapping[str, Any],
        *,
        expected: int | None,
        author: str,
        reason: str,
        at: float,
        deed: Deed | None = None,
        after: int = 0,
    ) -> StoredRules:
        """See Store.put_rules."""
        text = await asyncio.to_thread(document_text, document)
        fresh = await asyncio.to_thread(
            stored_rules, version=0, text=text, author=author, reason=reason, at=at
        )
        for _ in range(TRIES):
            newest = await self.version()
            actual = max(newest, after)
            if expected is not None and expected != actual:
                raise VersionConflict(expected=expected, actual=actual)
            told = rules_deed(
                deed, author=author, reason=reason, at=at, before=actual, environment=self._environment
            )
            if not await self._put(newest, actual + 1, row_text(fresh, text), told):
                return replace(fresh, version=actual + 1)
        raise StoreError(f"store {self._link.name}: the rules kept changing meanwhile; try again")

    async def _put(self, newest: int, version: int, row: str, deed: Deed) -> int:
        """Store *row* as *version* after *newest*, ring the bell, tell the audit; not 0 if one is newer."""
        rules = self._link.key(self._name)
        named = [] if self._environment == DEFAULT_ENVIRONMENT else ["environments"]
        return await audited(
            self._link,
            deed,
            keys=[self._name, *named],
            guards=[("HGET", rules, "newest", newest or "")],
            commands=[
                ("HSET", rules, version, row, "newest", version),
                ("HDEL", rules, version - MOST_VERSIONS),
                # Services are noted elsewhere: the first rules of an environment only name it.
                *(("HSETNX", self._link.key(name), self._environment, "") for name in named),
                ("PUBLISH", self._link.key(self._bell), version),
            ],
        )

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer. The bell is a hint: what counts is the version."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        async with self._link.listening(self._bell) as bell:
            while True:
                if await self.version() > than:
                    return await self.newest()
                left = until - clock()
                if left <= 0:
                    return None
                await rung(bell, min(left, POLL_SECONDS))

    def _stored(self, version: int, row: bytes | None) -> StoredRules:
        try:
            return row_rules(version, row)
        except StoreError as error:
            raise StoreError(f"store {self._link.name}: {error}") from error


async def rung(bell: Any, seconds: float) -> None:
    """Wait until *bell*, a subscription, has a message, at most *seconds*."""
    until = asyncio.get_running_loop().time() + seconds
    while (left := until - asyncio.get_running_loop().time()) > 0:
        # What confirms the subscription comes first, and is swallowed: None before the time is over.
        if await bell.get_message(ignore_subscribe_messages=True, timeout=left) is not None:
            return
