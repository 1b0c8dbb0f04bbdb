"""The application that `middleware.py` measures: one answer by Starlette, bare or behind the middleware."""

from middleware_rules import BODY, MODE, configuration
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.middleware import UnderstudyMiddleware


async def answer(_request: Request) -> Response:
    """Always the same."""
    return Response(BODY, media_type="application/json")


app = Starlette(routes=[Route("/", answer)])
if MODE != "bare":
    app.add_middleware(UnderstudyMiddleware, config=configuration())
