"""What every back end promises of API tokens and of the audit."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from understudy.access import Deed, Entry, Head, Token
from understudy.store.rules import printable


class AccessStore(Protocol):
    """Tokens by selector, and the audit chain, to which entries are only ever added.

    An operation that takes a *deed* adds its entry in the same transaction: both are there, or neither.
    """

    async def tokens(self) -> list[Token]:
        """Every token that was ever made, oldest first: revoked and expired ones too."""

    async def add_token(self, token: Token, *, deed: Deed) -> None:
        """Keep *token*. Raises StoreError when there is one with its selector."""

    async def revoke_token(self, selector: str, *, deed: Deed) -> Token | None:
        """Revoke the token from ``deed.at`` on; None, and no entry, when there is none or it is revoked."""

    async def note_used(self, used: Mapping[str, float]) -> None:
        """Note when tokens (by selector) were last used, unless something later is known."""

    async def record(self, deed: Deed) -> Entry:
        """Add an entry for what changes nothing in the store."""

    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """The first *limit* entries beyond number *after*, as they are stored."""

    async def audit_head(self) -> Head:
        """The number and hash of the last entry, kept apart from the entries."""


def stored_deed(deed: Deed) -> Deed:
    """*deed* as every back end can keep it, and gives it back."""
    return replace(
        deed,
        at=float(deed.at),
        who=printable(deed.who),
        origin=printable(deed.origin),
        action=printable(deed.action),
        target=printable(deed.target),
        reason=printable(deed.reason),
    )


def rules_deed(deed: Deed | None, *, author: str, reason: str, at: float, before: int) -> Deed:
    """What the audit has of a new version of the rules that follows *before*."""
    told = deed or Deed(at=at, who=author, origin="", action="rules.put", reason=reason)
    return replace(told, before=before, after=before + 1)
