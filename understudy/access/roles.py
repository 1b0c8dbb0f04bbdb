"""The roles, each of which may do what the one before it may, and more."""

from collections.abc import Mapping
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


def lowest(role: Role | None, roles: Mapping[str, Role]) -> Role | None:
    """What is held in every environment by who holds *roles* in those named, and *role* in all others."""
    return None if role is None else min((role, *roles.values()), key=_RANK.__getitem__)


def words(role: Role | None, roles: Mapping[str, Role]) -> str:
    """For people: ``viewer``, or ``dev: editor, prod: viewer``, or both."""
    named = [f"{environment}: {given}" for environment, given in sorted(roles.items())]
    return ", ".join([str(role)] * (role is not None) + named) or "no role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: ``name`` for the history, and the address that it came from.

    ``role`` is held in every environment that ``roles`` does not name; None: there the caller may do nothing.
    ``flag_set`` is the one whose flags it may evaluate; empty: all.
    ``selector`` is that of the token, ``session`` the key of the session; ``ends_at`` is when it is let in no
    more (Unix seconds; 0: not foreseen).
    """

    name: str
    role: Role | None
    origin: str = ""
    flag_set: str = ""
    selector: str = field(default="", compare=False)
    session: str = field(default="", compare=False)
    ends_at: float = field(default=0.0, compare=False)
    roles: Mapping[str, Role] = field(default_factory=dict)

    def role_in(self, environment: str) -> Role | None:
        """What the caller holds in *environment*; None: nothing."""
        return self.roles.get(environment, self.role)

    @property
    def role_everywhere(self) -> Role | None:
        """What the caller holds in every environment, those to come included; None: nothing in some."""
        return lowest(self.role, self.roles)
