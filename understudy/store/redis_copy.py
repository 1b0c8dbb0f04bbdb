"""The fast copy of rules that are stored elsewhere, and the bell that tells of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from understudy.config import DEFAULT_ENVIRONMENT
from understudy.errors import StoreError
from understudy.store.redis_link import RedisLink
from understudy.store.redis_rules import rung
from understudy.store.rules import StoredRules, document_text, row_rules, row_text

Ring = Callable[[float], Awaitable[None]]
Outcome = Literal["written", "same", "newer", "foreign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """There is a copy, and it cannot be used."""


class RedisCopy:
    """The copy behind *link*: one version, with the mark of the store that it comes from."""

    def __init__(self, link: RedisLink, environment: str = DEFAULT_ENVIRONMENT) -> None:
        self.name = link.name
        self._link = link
        self._rules = link.within(environment, "rules")
        self._bell = link.within(environment, "bell")
        self._is_owner = True

    def of(self, environment: str) -> "RedisCopy":
        """The copy of the rules of *environment*, over the same connection, which it leaves open."""
        other = RedisCopy(self._link, environment)
        other._is_owner = False
        return other

    async def open(self) -> None:
        """Connect. May be called again. Raises StoreError."""
        await self._link.open()

    async def close(self) -> None:
        """Close all connections. Raises StoreError."""
        if self._is_owner:
            await self._link.close()

    async def write(self, rules: StoredRules, origin: str, *, is_damaged: bool = False) -> Outcome:
        """Make *rules* of the store *origin* the copy, and ring the bell, unless the copy is newer.

        If it *is_damaged* it is replaced whatever version it claims to be. ``same`` when it was the copy
        already, ``foreign`` when there is a copy of another store, which is left alone. Raises StoreError.
        """
        row = row_text(rules, document_text(rules.document))
        arguments = (rules.version, row, origin, self._link.key(self._bell), int(is_damaged))
        word = await self._link.run("copy_rules", [self._rules], *arguments)
        return cast("Outcome", word.decode())

    async def read(self) -> tuple[StoredRules, str] | Damaged | None:
        """The copy and the mark of its store; None without one. Raises StoreError."""
        found = await self._link.run("newest_copy", [self._rules])
        if not found:
            return None
        try:
            return row_rules(int(found[0]), found[1]), found[2].decode()
        except (StoreError, ValueError):
            return Damaged()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Ring]:
        """What waits for the bell, and hears whatever rang since, so many seconds. Raises StoreError."""
        async with self._link.listening(self._bell) as bell:
            yield partial(rung, bell)
