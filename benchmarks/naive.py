"""The proxy one writes in an afternoon: Starlette in front, aiohttp behind, a background task for the copy.

What the documentation of both suggests, without tricks: one pooled session, whole bodies, uvicorn with uvloop
and httptools. It is the baseline of the bench, run as ``uvicorn naive:app``. Environment: PRIMARY and SHADOW,
each ``http://host:port`` (no SHADOW, no mirroring), and SHADOW_SECONDS, the life of a copy.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PRIMARY = os.environ.get("PRIMARY", "")
SHADOW = os.environ.get("SHADOW", "")
SHADOW_SECONDS = float(os.environ.get("SHADOW_SECONDS", "5"))
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One session for the life of the process; cookies are the clients' business, and bytes stay encoded."""
    connector = TCPConnector(limit=1024)
    jar = DummyCookieJar()
    async with ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False) as session:
        app.state.session = session
        yield


async def forward(request: Request) -> Response:
    """The primary's answer; the copy goes out once the client has it."""
    session: ClientSession = request.app.state.session
    body = await request.body()
    fields = [(name, value) for name, value in request.headers.items() if name not in HOP_BY_HOP]
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    try:
        async with session.request(
            request.method, PRIMARY + path, headers=fields, data=body or None, allow_redirects=False
        ) as answer:
            answered = Response(
                await answer.read(),
                answer.status,
                {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP},
            )
    except ClientError:
        return Response("bad gateway", 502)
    if SHADOW:
        answered.background = BackgroundTask(mirror, session, request.method, path, fields, body)
    return answered


async def mirror(
    session: ClientSession, method: str, path: str, fields: list[tuple[str, str]], body: bytes
) -> None:
    """Send the copy and throw its answer away."""
    try:
        async with session.request(
            method,
            SHADOW + path,
            headers=fields,
            data=body or None,
            allow_redirects=False,
            timeout=ClientTimeout(total=SHADOW_SECONDS),
        ) as answer:
            await answer.read()
    except (ClientError, TimeoutError):
        pass


app = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=lifespan)
