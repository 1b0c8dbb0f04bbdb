"""A shop in Litestar that decides by itself who meets its next release."""

import time
from pathlib import Path
from typing import Any

from litestar import Litestar, MediaType, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency

from understudy.middleware import Understudy
from understudy.middleware.litestar import around, variant

understudy = Understudy(Path(__file__).with_name("understudy.yaml"))


@get("/", media_type=MediaType.TEXT, dependencies={"page": variant("front_page")})
async def home(page: NamedDependency[str]) -> str:
    """The page of the user's variant."""
    return "The new shop" if page == "new" else "The shop"


@get("/products/{number:int}", response_headers=[ResponseHeader(name="X-Release", value="1")])
async def product(number: int) -> dict[str, Any]:
    """One product, with when it was answered, which differs by itself."""
    price = float(f"{10 + number % 7}.90")
    return {"id": number, "name": f"Lantern {number}", "price": price, "served_at": time.time_ns()}


@get("/report")
async def report() -> dict[str, Any]:
    """What was found so far; not for everybody, in a shop of your own."""
    return await understudy.report()


app = around(Litestar([home, product, report]), understudy=understudy)
