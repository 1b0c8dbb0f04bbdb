"""How a path is told to be a flag's own, or an action's below it.

An action is set apart from the key by a slash that is written as one: the flag ``a/kill`` is read at
``/api/v1/flags/a%2Fkill``, and killed at ``/api/v1/flags/a%2Fkill/kill``.
"""

from typing import Final

from starlette.routing import Match, Route
from starlette.types import Scope

PREFIX: Final = "/api/v1/flags/"
ACTIONS: Final = frozenset({"kill", "revive", "weights", "restore", "history"})


class ActionRoute(Route):
    """``/api/v1/flags/{key}/ACTION``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a route does, if the action stands in the path as it was sent."""
        return super().matches(scope) if _action(scope) == self.path.rpartition("/")[2] else (Match.NONE, {})


class FlagRoute(Route):
    """``/api/v1/flags/{key}``, but for paths that end in one of ``ACTIONS``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a route does, if no action stands in the path as it was sent."""
        return (Match.NONE, {}) if _action(scope) in ACTIONS else super().matches(scope)


def _action(scope: Scope) -> str:
    """The last part of the path as it was sent, below a key; empty when there is none."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    key, _, action = raw.decode("latin-1").removeprefix(PREFIX).rpartition("/")
    return action if key else ""
