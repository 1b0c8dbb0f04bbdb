"""A shop in Starlette that decides by itself who meets its next release."""

import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from understudy.middleware import Understudy, UnderstudyMiddleware

understudy = Understudy(Path(__file__).with_name("understudy.yaml"))


async def home(request: Request) -> Response:
    """The page of the user's variant."""
    if request.state.understudy.variant == "new":
        return PlainTextResponse("The new shop")
    return PlainTextResponse("The shop")


async def product(request: Request) -> Response:
    """One product, with when it was answered, which differs by itself."""
    number = request.path_params["number"]
    price = float(f"{10 + number % 7}.90")
    return JSONResponse(
        {"id": number, "name": f"Lantern {number}", "price": price, "served_at": time.time_ns()},
        headers={"X-Release": "1"},
    )


async def report(_: Request) -> Response:
    """What was found so far; not for everybody, in a shop of your own."""
    return JSONResponse(await understudy.report())


app = Starlette(
    routes=[Route("/", home), Route("/products/{number:int}", product), Route("/report", report)],
    middleware=[Middleware(UnderstudyMiddleware, understudy=understudy)],
)
