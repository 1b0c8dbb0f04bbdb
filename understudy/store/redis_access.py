"""API tokens and the audit chain in Redis."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from understudy.access import Deed, Entry, Head, Role, Token, chain, read_entry, read_head
from understudy.errors import StoreError
from understudy.store.access import stored_deed
from understudy.store.redis_link import RedisLink
from understudy.store.rules import json_text

TRIES: Final = 50
"""How often a change is tried while others add to the chain: more than there are people who change things."""

Command = Sequence[str | int]


class RedisAccess:
    """The part of a store in Redis that `AccessStore` names. Needs ``_link``."""

    _link: RedisLink

    async def tokens(self) -> list[Token]:
        """See AccessStore.tokens."""
        async with self._link.asking() as client:
            rows = await client.hvals(self._link.key("tokens"))
        return sorted(map(_token, rows), key=lambda token: (token.created_at, token.selector))

    async def add_token(self, token: Token, *, deed: Deed) -> None:
        """See AccessStore.add_token."""
        key = self._link.key("tokens")
        refused = await audited(
            self._link,
            deed,
            keys=["tokens"],
            guards=[("HGET", key, token.selector, "")],
            commands=[("HSET", key, token.selector, _token_text(token))],
        )
        if refused:
            raise StoreError(f"token {token.selector}: there is one already")

    async def revoke_token(self, selector: str, *, deed: Deed) -> Token | None:
        """See AccessStore.revoke_token."""
        for _ in range(TRIES):
            row = await self._row(selector)
            token = _token(row) if row else None
            if token is None or token.revoked_at:
                return None
            revoked = replace(token, revoked_at=deed.at)
            if not await self._put(row, revoked, deed):
                return revoked
        raise StoreError(f"token {selector}: it kept changing; try again")

    async def note_used(self, used: Mapping[str, float]) -> None:
        """See AccessStore.note_used. One that is changed meanwhile is left as it is."""
        for selector, at in used.items():
            row = await self._row(selector)
            token = _token(row) if row else None
            if token is not None and token.used_at < at:
                await self._link.run(
                    "put_token", ["tokens"], selector, row, _token_text(replace(token, used_at=at))
                )

    async def record(self, deed: Deed) -> Entry:
        """See AccessStore.record."""
        entries: list[Entry] = []
        await audited(self._link, deed, added=entries.append)
        return entries[-1]

    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See AccessStore.audit."""
        if limit <= 0:
            return []
        first = max(after, 0)
        async with self._link.asking() as client:
            rows = await client.lrange(self._link.key("audit"), first, first + limit - 1)
        return [self._entry(row) for row in rows]

    async def audit_head(self) -> Head:
        """See AccessStore.audit_head."""
        return _head(await _head_text(self._link))

    async def _row(self, selector: str) -> str:
        async with self._link.asking() as client:
            return (await client.hget(self._link.key("tokens"), selector) or b"").decode()

    async def _put(self, row: str, token: Token, deed: Deed) -> int:
        key = self._link.key("tokens")
        return await audited(
            self._link,
            deed,
            keys=["tokens"],
            guards=[("HGET", key, token.selector, row)],
            commands=[("HSET", key, token.selector, _token_text(token))],
        )

    def _entry(self, row: bytes) -> Entry:
        try:
            return read_entry(json.loads(row))
        except ValueError as error:
            raise StoreError(f"store {self._link.name}: the audit is damaged: {error}") from error


async def audited(
    link: RedisLink,
    deed: Deed,
    *,
    keys: Sequence[str] = (),
    guards: Sequence[Command] = (),
    commands: Sequence[Command] = (),
    added: Callable[[Entry], None] | None = None,
) -> int:
    """Run *commands* and add the entry of *deed*, in one step; 0, or which of *guards* kept all from it."""
    rest = [str(word) for guard in guards for word in guard]
    rest += [str(word) for command in commands for word in (len(command), *command)]
    for _ in range(TRIES):
        before = await _head_text(link)
        entry = chain(_head(before), stored_deed(deed))
        after = str(Head(number=entry.number, hash=entry.hash))
        written = json_text(entry.plain())
        names = ["audit", "audit-head", *keys]
        done = int(await link.run("audited", names, before, written, after, len(guards), *rest))
        if done == 0 and added is not None:
            added(entry)
        if done >= 0:
            return done
    raise StoreError(f"store {link.name}: the audit kept growing meanwhile; try again")


async def _head_text(link: RedisLink) -> str:
    found, has_entries = await link.run("audit_head", ["audit", "audit-head"])
    if not found and has_entries:
        raise StoreError("audit: its head is gone from the store, so entries may be missing at its end")
    return bytes(found).decode()


def _head(text: str) -> Head:
    try:
        return read_head(text) if text else Head()
    except ValueError as error:
        raise StoreError(str(error)) from error


def _token_text(token: Token) -> str:
    """As it was before there were roles by environment, for one that has none: older versions read it."""
    plain = asdict(token)
    if not token.roles:
        del plain["roles"]
    if not token.flag_set:
        del plain["flag_set"]
    return json_text(plain)


def _token(row: bytes | str) -> Token:
    try:
        plain = json.loads(row)
        role = None if plain["role"] is None else Role(plain["role"])
        roles = {name: Role(given) for name, given in plain.get("roles", {}).items()}
        return Token(**{**plain, "role": role, "roles": roles})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"tokens: one of them is damaged: {error}") from error
