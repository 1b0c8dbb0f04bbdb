"""Pages of other origins may evaluate flags, where the configuration names them (Fetch standard, CORS).

They may ask for flags, listen to changes and tell of exposures. Everything else of the admin server stays
closed to them, and without a named origin this does too: any page that somebody on this machine visits could
read the flags otherwise.
"""

from collections.abc import Collection
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.admin.safety import values

_SHARED: Final = ("/ofrep/", "/api/v1/stream", "/api/v1/decide/", "/api/v1/exposures")
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
_ANY: Final = "*"
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": (
        "Authorization, Cache-Control, Content-Type, Flagd-Selector, If-None-Match, Last-Event-ID,"
        " Traceparent, Tracestate, X-API-Key"
    ),
    "Access-Control-Max-Age": "600",
}
_HIDDEN: Final = frozenset({b"origin", b"sec-fetch-site", b"cookie"})


class SharedOrigins:
    """Stands before `Guard`: a request that *origins* allow passes it as one that no browser sent.

    *origins* are like ``https://app.example.com``; ``*`` is every one. Cookies are left behind.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = self._allowed(scope)
        if origin is None:
            await self._app(scope, receive, send)
            return
        fields = [field for field in scope["headers"] if field[0] not in _HIDDEN]
        if scope["type"] == "websocket":
            await self._app({**scope, "headers": fields}, receive, send)
            return
        sharing = {"Access-Control-Allow-Origin": origin}
        if scope["method"] == "OPTIONS" and values(scope["headers"], b"access-control-request-method"):
            headers = {**sharing, **_PREFLIGHT, "Vary": "Origin"}
            if values(scope["headers"], b"access-control-request-private-network"):
                headers["Access-Control-Allow-Private-Network"] = "true"
            await Response(status_code=204, headers=headers)(scope, receive, send)
            return

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**sharing, "Access-Control-Expose-Headers": "ETag, Retry-After"})
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
                headers.add_vary_header("Origin")
            await send(message)

        await self._app({**scope, "headers": fields}, receive, send_shared)

    def _allowed(self, scope: Scope) -> str | None:
        """The Origin of a request that may pass; None where there is nothing to share."""
        if not self._origins or "path" not in scope or not scope["path"].startswith(_SHARED):
            return None
        if scope.get("method", "GET") not in _METHODS:
            return None
        origins = values(scope["headers"], b"origin")
        if len(origins) != 1:
            return None
        return origins[0] if _ANY in self._origins or origins[0].lower() in self._origins else None
