"""The application that `middleware.py` measures: one answer by Starlette, bare or behind the middleware.

Its environment says how: MODE (bare, plain, decided, mirrored), SHADOW (the port of the service that
rehearses), BODY (a file with the answer).
"""

import os
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.middleware import UnderstudyMiddleware

BODY = Path(os.environ["BODY"]).read_bytes()
MODES = ("bare", "plain", "decided", "mirrored")


async def answer(_request: Request) -> Response:
    """Always the same."""
    return Response(BODY, media_type="application/json")


def configuration(mode: str, shadow: str) -> dict[str, Any]:
    """Everybody meets the one variant that *mode* is about, by a rule that hashes a cookie."""
    split = [["dark", 100], ["stable", 0]] if mode == "mirrored" else [["dark", 0], ["stable", 100]]
    return {
        "store": "memory://",
        "services": {"v2": {"url": f"http://127.0.0.1:{shadow}"}},
        "flags": {
            "shop": {
                "state": "ENABLED",
                "variants": {"stable": {}, "dark": {"mirror": ["v2"]}},
                "defaultVariant": "stable",
                "targeting": {"fractional": split},
            }
        },
        "routes": [{"path": "/elsewhere" if mode == "plain" else "/", "flag": "shop", "unit": "cookie:uid"}],
        "shadow": {"control": 0},
    }


app = Starlette(routes=[Route("/", answer)])
if os.environ["MODE"] != "bare":
    app.add_middleware(UnderstudyMiddleware, config=configuration(os.environ["MODE"], os.environ["SHADOW"]))
