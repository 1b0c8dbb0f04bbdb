"""One shop as an application of Starlette, Django and Bottle, with the middleware, as servers load it.

SHOP says which, UNDERSTUDY_CONFIG names the configuration, CLOSED a file for the lengths of closed streams.
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import bottle
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from understudy.middleware import UnderstudyMiddleware, UnderstudyWSGIMiddleware
from understudy.middleware.request import App as AsgiApp

LINE = b"x" * 16383 + b"\n"


class Lines:
    """So many lines, which tell that they are closed."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._count):
            yield LINE

    def close(self) -> None:
        if place := os.environ.get("CLOSED"):
            file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, b"%d\n" % self._count)
            os.close(file)


def order(number: str, body: bytes, price: str = "1") -> dict[str, Any]:
    """What is answered; another version of the shop has another price."""
    return {"order": number, "read": len(body), "price": price}


# -- ASGI ------------------------------------------------------------------------------------------------


def starlette() -> AsgiApp:
    """The shop of Starlette."""

    async def orders(request: Request) -> Response:
        told = order(request.path_params["number"], await request.body())
        return JSONResponse(told, headers={"X-Variant": request.state.understudy.variant, "X-Shop": "1"})

    async def lines(request: Request) -> Response:
        count = int(request.path_params["count"])
        return StreamingResponse(later(count), media_type="application/octet-stream")

    async def later(count: int) -> AsyncIterator[bytes]:
        with contextlib.closing(Lines(count)) as given:
            for line in given:
                yield line

    routes = [Route("/orders/{number}", orders, methods=["GET", "POST"]), Route("/lines/{count}", lines)]
    return UnderstudyMiddleware(Starlette(routes=routes), config=os.environ["UNDERSTUDY_CONFIG"])


# -- WSGI ------------------------------------------------------------------------------------------------


def bottle_shop(version: str, variant: Callable[[], str]) -> bottle.Bottle:
    """A *version* of the shop of Bottle, which says by *variant* what was decided."""
    app = bottle.Bottle()

    @app.route("/orders/<number>", method=["GET", "POST"])  # type: ignore[untyped-decorator]
    def orders(number: str) -> str:
        bottle.response.headers.update({"X-Variant": variant(), "X-Shop": version})
        bottle.response.content_type = "application/json"
        return json.dumps(order(number, body(), version), separators=(",", ":"))

    def body() -> bytes:
        environ = bottle.request.environ  # Bottle reads none that tells no length
        is_open = environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH")
        told: bytes = environ["wsgi.input"].read() if is_open else bottle.request.body.read()
        return told

    @app.route("/lines/<count:int>")  # type: ignore[untyped-decorator]
    def lines(count: int) -> Lines:
        bottle.response.content_type = "application/octet-stream"
        return Lines(count)

    return app


def second() -> bottle.Bottle:
    """The other version, which believes what it is told."""
    return bottle_shop("2", lambda: str(bottle.request.headers.get("X-Understudy-Variant", "")))


def with_bottle() -> UnderstudyWSGIMiddleware:
    """The shop of Bottle."""
    app = bottle_shop("1", lambda: str(bottle.request.environ["understudy"].variant))
    return UnderstudyWSGIMiddleware(app, config=os.environ["UNDERSTUDY_CONFIG"])


def with_django() -> UnderstudyWSGIMiddleware:
    """The shop of Django."""
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def orders(request: HttpRequest, number: str) -> HttpResponse:
        told = json.dumps(order(number, request.body), separators=(",", ":"))
        fields = {"X-Variant": request.META["understudy"].variant, "X-Shop": "1"}
        return HttpResponse(told, headers=fields, content_type="application/json")

    def lines(_request: HttpRequest, count: int) -> StreamingHttpResponse:
        return StreamingHttpResponse(Lines(count), content_type="application/octet-stream")

    pages = [path("orders/<str:number>", orders), path("lines/<int:count>", lines)]
    settings.configure(
        SECRET_KEY="for tests", ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(pages), USE_TZ=True, MIDDLEWARE=[]
    )
    return UnderstudyWSGIMiddleware(get_wsgi_application(), config=os.environ["UNDERSTUDY_CONFIG"])


MAKERS: dict[str, Callable[[], Any]] = {
    "starlette": starlette,
    "bottle": with_bottle,
    "django": with_django,
}


if "SHOP" in os.environ:
    app = MAKERS[os.environ["SHOP"]]()
    """What servers load."""
