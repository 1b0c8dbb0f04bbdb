"""The middleware that stands before every endpoint: whom we answer, and with which safety headers.

Decides on the raw scope only; a URL rebuilt from the Host field could be made to lie about the path.
"""

from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.admin.problems import problem
from understudy.admin.safety import (
    PROBES,
    SAFE_HEADERS,
    SAFE_METHODS,
    is_cross_site,
    is_trusted_host,
    values,
)


class Guard:
    """Refuses rebound hosts (421), cross-site writes, WebSockets (403); adds ``SAFE_HEADERS`` to the rest."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["path"] in PROBES:
            return None
        hosts = values(scope["headers"], b"host")
        if len(hosts) != 1:
            return problem(400, "a request needs exactly one Host field")
        if not is_trusted_host(hosts[0], self._hosts):
            return problem(421, "this name is not one of the admin server's: use localhost or its address")
        is_socket = scope["type"] == "websocket"
        # No same-origin policy keeps what a WebSocket tells from a page of another origin (RFC 6455, 10.2).
        if (is_socket or scope["method"] not in SAFE_METHODS) and is_cross_site(scope["headers"], hosts[0]):
            return problem(
                403, f"a page of another origin may not {'listen' if is_socket else 'change anything'} here"
            )
        return None
