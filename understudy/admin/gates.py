"""Every route gets its gate, HTTP and WebSocket alike."""

import re
from collections.abc import Iterable

from starlette.routing import Route, WebSocketRoute

from understudy.admin.gate import Gate, Paces
from understudy.admin.keyring import Keyring
from understudy.admin.socket_gate import SocketGate

Guarded = Route | WebSocketRoute


def guard_routes(routes: Iterable[Guarded], keyring: Keyring) -> list[Guarded]:
    """*routes*, each behind a gate of its own: one that is forgotten in the table lets nobody through."""
    paces = Paces()
    guarded = list(routes)
    for route in guarded:
        route.path_regex = _whole(route.path_regex)
        if isinstance(route, WebSocketRoute):
            route.app = SocketGate(route.app, path=route.path, keyring=keyring, paces=paces)
        else:
            route.app = Gate(route.app, path=route.path, keyring=keyring, paces=paces)
    return guarded


def _whole(path: re.Pattern[str]) -> re.Pattern[str]:
    """*path* for the path as it was sent: starlette's ends before a last line feed, and knows none within."""
    return re.compile(path.pattern.removesuffix("$") + r"\Z", re.DOTALL)
