"""The four roles, each of which may do what the one before it may, and more."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """viewer reads; operator kills, reloads and forgets; editor changes rules; admin gives tokens."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        """Whether who holds this role may do what needs *needed*."""
        return _RANK[self] >= _RANK[needed]


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: ``name`` for the history, ``role``, and the address that it came from."""

    name: str
    role: Role
    origin: str = ""
