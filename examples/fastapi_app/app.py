"""A shop in FastAPI that decides by itself who meets its next release."""

import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.fastapi import variant

understudy = Understudy(Path(__file__).with_name("understudy.yaml"))

app = FastAPI()
app.add_middleware(UnderstudyMiddleware, understudy=understudy)


@app.get("/", response_class=PlainTextResponse)
async def home(page: Annotated[str, variant("front_page")]) -> str:
    """The page of the user's variant."""
    return "The new shop" if page == "new" else "The shop"


@app.get("/products/{number}")
async def product(number: int, response: Response) -> dict[str, Any]:
    """One product, with when it was answered, which differs by itself."""
    response.headers["X-Release"] = "1"
    price = float(f"{10 + number % 7}.90")
    return {"id": number, "name": f"Lantern {number}", "price": price, "served_at": time.time_ns()}


@app.get("/report")
async def report() -> dict[str, Any]:
    """What was found so far; not for everybody, in a shop of your own."""
    return await understudy.report()
