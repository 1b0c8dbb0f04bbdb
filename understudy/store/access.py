"""What every back end promises of API tokens and of the audit."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from understudy.access import Deed, Entry, Head, Role, Token
from understudy.errors import StoreError
from understudy.store.rules import json_text, printable


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


def roles_text(roles: Mapping[str, Role]) -> str:
    """The roles of a token by environment, as they are stored; empty when there are none."""
    return json_text(roles, sort_keys=True) if roles else ""


def read_roles(text: str) -> dict[str, Role]:
    """What `roles_text` wrote. Raises StoreError when it is damaged: a guess could give rights."""
    try:
        return {name: Role(role) for name, role in json.loads(text).items()} if text else {}
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"tokens: the roles of one of them are damaged: {error}") from error


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


def rules_deed(
    deed: Deed | None, *, author: str, reason: str, at: float, before: int, environment: str
) -> Deed:
    """What the audit has of a new version of the rules of *environment* that follows *before*."""
    told = deed or Deed(at=at, who=author, origin="", action="rules.put", reason=reason)
    return replace(told, before=before, after=before + 1, environment=environment)
