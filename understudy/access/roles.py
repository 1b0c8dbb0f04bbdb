"""The roles, each of which may do what the one before it may, and more."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """evaluator asks for flags; viewer reads; operator kills, reloads and forgets; editor changes rules;
    admin gives tokens.

    An evaluator learns no rule, no report and no other flag than it asks for: a web page may carry its token,
    which everybody who reads the page has then.
    """

    EVALUATOR = "evaluator"
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
    """Who asks: ``name`` for the history, ``role``, and the address that it came from.

    ``selector`` is that of the token, ``session`` the key of the session; ``ends_at`` is when it is let in no
    more (Unix seconds; 0: not foreseen).
    """

    name: str
    role: Role
    origin: str = ""
    selector: str = field(default="", compare=False)
    session: str = field(default="", compare=False)
    ends_at: float = field(default=0.0, compare=False)
