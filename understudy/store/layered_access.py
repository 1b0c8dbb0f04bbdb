"""API tokens and the audit chain of a store in layers: in SQL alone, as what is revoked must not come back
from a copy."""

from collections.abc import Mapping
from typing import Protocol

from understudy.access import Deed, Entry, Head, Token
from understudy.store.access import AccessStore


class Truth(Protocol):
    """What a store in layers asks of itself."""

    async def truth(self) -> AccessStore:
        """The layer that is right, once it can be asked. Raises StoreError."""


class LayeredAccess:
    """The part of a store in layers that `AccessStore` names."""

    async def tokens(self: Truth) -> list[Token]:
        """See AccessStore.tokens."""
        return await (await self.truth()).tokens()

    async def add_token(self: Truth, token: Token, *, deed: Deed) -> None:
        """See AccessStore.add_token."""
        await (await self.truth()).add_token(token, deed=deed)

    async def revoke_token(self: Truth, selector: str, *, deed: Deed) -> Token | None:
        """See AccessStore.revoke_token."""
        return await (await self.truth()).revoke_token(selector, deed=deed)

    async def note_used(self: Truth, used: Mapping[str, float]) -> None:
        """See AccessStore.note_used."""
        await (await self.truth()).note_used(used)

    async def record(self: Truth, deed: Deed) -> Entry:
        """See AccessStore.record."""
        return await (await self.truth()).record(deed)

    async def audit(self: Truth, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See AccessStore.audit."""
        return await (await self.truth()).audit(after=after, limit=limit)

    async def audit_head(self: Truth) -> Head:
        """See AccessStore.audit_head."""
        return await (await self.truth()).audit_head()
