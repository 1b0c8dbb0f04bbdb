"""How a path is told to be a flag's own, or an action's below it."""

from collections.abc import Callable
from typing import Any

from starlette.routing import Match, Route
from starlette.types import Scope


class ActionRoute(Route):
    """``/api/v1/flags/{key}/ACTION``, which only a slash that is written as one sets apart from the key.

    So the flag ``a/kill`` is read at ``/api/v1/flags/a%2Fkill``, and killed at ``…/a%2Fkill/kill``.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods)
        self._action = path[path.rindex("/") :].encode()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As a route does, on the path as it was sent too."""
        raw = scope.get("raw_path") or scope["path"].encode()
        return super().matches(scope) if raw.endswith(self._action) else (Match.NONE, {})
