"""The application that `middleware.py` measures: one answer by Starlette, bare or behind a middleware."""

from middleware_rules import BODY, MODES, configuration
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from understudy.middleware import UnderstudyMiddleware


class Idle:
    """A middleware that does nothing, as most are written."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def answer(_request: Request) -> Response:
    """Always the same."""
    return Response(BODY, media_type="application/json")


def behind(mode: str) -> Starlette:
    """The application as *mode* serves it."""
    made = Starlette(routes=[Route(f"/{mode}", answer)])
    if mode == "idle":
        made.add_middleware(Idle)
    elif mode != "bare":
        made.add_middleware(UnderstudyMiddleware, config=configuration(mode))
    return made


APPS = {f"/{mode}": behind(mode) for mode in MODES}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """All modes in one process, since processes differ by more than what is measured."""
    await APPS[scope["path"]](scope, receive, send)
