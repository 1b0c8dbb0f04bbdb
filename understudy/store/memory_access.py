"""API tokens and the audit chain in memory."""

from collections.abc import Mapping
from dataclasses import replace

from understudy.access import Deed, Entry, Head, Token, chain
from understudy.errors import StoreError
from understudy.store.access import stored_deed


class MemoryAccess:
    """The part of a store in memory that `AccessStore` names."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._entries: list[Entry] = []

    async def tokens(self) -> list[Token]:
        """See AccessStore.tokens."""
        return sorted(self._tokens.values(), key=lambda token: (token.created_at, token.selector))

    async def add_token(self, token: Token, *, deed: Deed) -> None:
        """See AccessStore.add_token."""
        if token.selector in self._tokens:
            raise StoreError(f"token {token.selector}: there is one already")
        self._tokens[token.selector] = token
        self._append(deed)

    async def revoke_token(self, selector: str, *, deed: Deed) -> Token | None:
        """See AccessStore.revoke_token."""
        token = self._tokens.get(selector)
        if token is None or token.revoked_at:
            return None
        self._tokens[selector] = revoked = replace(token, revoked_at=deed.at)
        self._append(deed)
        return revoked

    async def note_used(self, used: Mapping[str, float]) -> None:
        """See AccessStore.note_used."""
        for selector, at in used.items():
            token = self._tokens.get(selector)
            if token is not None and token.used_at < at:
                self._tokens[selector] = replace(token, used_at=at)

    async def record(self, deed: Deed) -> Entry:
        """See AccessStore.record."""
        return self._append(deed)

    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See AccessStore.audit."""
        return self._entries[max(after, 0) :][: max(limit, 0)]

    async def audit_head(self) -> Head:
        """See AccessStore.audit_head."""
        last = self._entries[-1] if self._entries else None
        return Head(number=last.number, hash=last.hash) if last else Head()

    def _append(self, deed: Deed) -> Entry:
        last = self._entries[-1] if self._entries else None
        head = Head(number=last.number, hash=last.hash) if last else Head()
        entry = chain(head, stored_deed(deed))
        self._entries.append(entry)
        return entry
