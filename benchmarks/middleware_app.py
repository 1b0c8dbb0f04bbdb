"""The application that `middleware.py` measures: one answer by Starlette, bare or behind a middleware."""

from asyncio import _get_running_loop
from collections.abc import Awaitable
from typing import Any

from middleware_rules import BODY, MODES, configuration
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.middleware import UnderstudyMiddleware
from understudy.middleware.decision import KEY


class Idle:
    """A middleware that does nothing, as most are written."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class LookedUp:
    """A middleware that leaves in the scope what it knows of the path in this event loop, and does no more.

    It is written as those are that cost least: nothing is made for a request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._by_loop: dict[Any, dict[bytes, object]] = {}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        known = self._by_loop.get(_get_running_loop())
        if known is None:
            known = self._by_loop[_get_running_loop()] = {b"/looked_up": object()}
        path = scope["raw_path"]
        if path in known:
            scope[KEY] = scope["state"][KEY] = known[path]
        return self.app(scope, receive, send)


async def answer(_request: Request) -> Response:
    """Always the same."""
    return Response(BODY, media_type="application/json")


BESIDE: dict[str, Any] = {"idle": Idle, "looked_up": LookedUp}


def behind(mode: str) -> Starlette:
    """The application as *mode* serves it."""
    made = Starlette(routes=[Route(f"/{mode}", answer)])
    if mode in BESIDE:
        made.add_middleware(BESIDE[mode])
    elif mode != "bare":
        made.add_middleware(UnderstudyMiddleware, config=configuration(mode))
    return made


APPS = {f"/{mode}": behind(mode) for mode in MODES}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """All modes in one process, since processes differ by more than what is measured."""
    await APPS[scope["path"]](scope, receive, send)
