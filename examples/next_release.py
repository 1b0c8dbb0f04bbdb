"""The next release of the shop in these examples. It answers prices as text: the fault to be found.

uvicorn --app-dir examples --port 9002 next_release:app
"""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def product(request: Request) -> Response:
    """One product, with when it was answered, which differs by itself."""
    number = request.path_params["number"]
    return JSONResponse(
        {
            "id": number,
            "name": f"Lantern {number}",
            "price": f"{10 + number % 7}.90",
            "served_at": time.time_ns(),
        },
        headers={"X-Release": "2"},
    )


app = Starlette(routes=[Route("/products/{number:int}", product)])
