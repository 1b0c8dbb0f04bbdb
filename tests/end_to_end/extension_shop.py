"""An application that uses what its server offers beyond ASGI or WSGI, behind the middleware.

UNDERSTUDY_CONFIG names the configuration, SHOP what it is served as. The first part of a path says how it is
decided, the last what is done. In the working directory ``file`` is what is sent as a file, and ``notes``
tells what has been met.
"""

import asyncio
import json
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from understudy.middleware import UnderstudyMiddleware, UnderstudyWSGIMiddleware
from understudy.middleware.request import Message, Receive, Scope, Send

JSON = (b"content-type", b"application/json")
LINK = b"</style.css>; rel=preload"
FILE = os.path.abspath("file")
PIECE = b"x" * 16384


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] == "http":
        offers = scope.get("extensions") or {}
        await DOES[scope["path"].rpartition("/")[2]](offers, receive, send)


async def trailers(offers: Any, _receive: Receive, send: Send) -> None:
    """A body in pieces, then its trailers where the server takes them."""
    has_trailers = "http.response.trailers" in offers
    await send({**start(offers), "trailers": has_trailers})
    for piece in (b'{"from":', b' "app"'):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"}"})
    if has_trailers:
        fields = [(b"x-sum", b"app")]
        await send({"type": "http.response.trailers", "headers": fields, "more_trailers": False})


async def hint(offers: Any, _receive: Receive, send: Send) -> None:
    """Early hints where the server takes them, then the answer."""
    if "http.response.early_hint" in offers:
        await send({"type": "http.response.early_hint", "links": [LINK]})
    await tell(offers, send, {"from": "app"})


async def push(offers: Any, _receive: Receive, send: Send) -> None:
    """The server asks in the client's name for what it will want next."""
    if "http.response.push" in offers:
        await send({"type": "http.response.push", "path": "/dark/pushed", "headers": []})
    await tell(offers, send, {"from": "app"})


async def pushed(offers: Any, _receive: Receive, send: Send) -> None:
    """What was pushed."""
    await tell(offers, send, {"from": "app", "is_pushed": True})


async def file(offers: Any, _receive: Receive, send: Send) -> None:
    """A file, which the server sends where it can."""
    await send(start(offers))
    if "http.response.pathsend" in offers:
        await send({"type": "http.response.pathsend", "path": FILE})
    else:
        with open(FILE, "rb") as content:
            await send({"type": "http.response.body", "body": content.read()})


async def read(offers: Any, receive: Receive, send: Send) -> None:
    """The length of the body; that it has begun is noted, and a client that leaves before its end."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        if not size:
            note("begun")
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            await tell(offers, send, {"from": "app", "read": size})
            return
    note("left")


async def endless(offers: Any, receive: Receive, send: Send) -> None:
    """An answer without end, until its client has left, as servers tell in one way or the other."""

    async def until_left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        async with asyncio.TaskGroup() as tasks:
            left = tasks.create_task(until_left())
            await send(start(offers))
            while not left.done():
                await send({"type": "http.response.body", "body": PIECE, "more_body": True})
                await asyncio.sleep(0)
    except* OSError:
        pass
    note("left")


async def held(offers: Any, _receive: Receive, send: Send) -> None:
    """What the process holds now."""
    await tell(offers, send, holds(tasks=len(asyncio.all_tasks())))


def start(offers: Any) -> Message:
    """The start of an answer, which tells what the server offers."""
    offered = sorted(offer[14:] for offer in offers if offer.startswith("http.response."))
    told = ",".join(offered).encode()
    return {"type": "http.response.start", "status": 200, "headers": [JSON, (b"x-offers", told)]}


def holds(**more: int) -> dict[str, int]:
    """What a process holds, and what more is told."""
    return {"threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd")), **more}


async def tell(offers: Any, send: Send, told: dict[str, Any]) -> None:
    """An answer in JSON."""
    await send(start(offers))
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def note(what: str) -> None:
    """Let the test know."""
    file = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what}\n".encode())
    os.close(file)


DOES = {does.__name__: does for does in (trailers, hint, push, pushed, file, read, endless, held)}


def wsgi_answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The same for WSGI, with what gunicorn offers there: early hints, and trailers by HTTP/2."""
    what = environ["PATH_INFO"].rpartition("/")[2]
    told: dict[str, Any] = {"from": "app"}
    if what == "hint":
        environ["wsgi.early_hints"]([("Link", LINK.decode())])
    elif what == "trailers":
        environ["gunicorn.http2.send_trailers"]([("x-sum", "app")])
    elif what == "read":
        told["read"] = wsgi_read(environ["wsgi.input"])
    elif what == "held":
        told = holds()
    start_response("200 OK", [("Content-Type", "application/json")])
    return wsgi_endless() if what == "endless" else [json.dumps(told).encode()]


def wsgi_read(body: Any) -> int:
    """As `read`; servers of WSGI raise when a client has left."""
    size = len(body.read(1000))
    note("begun")
    try:
        return size + len(body.read())
    except BaseException:
        note("left")
        raise


def wsgi_endless() -> Iterator[bytes]:
    """As `endless`; servers of WSGI close what they give up."""
    try:
        while True:
            yield PIECE
    finally:
        note("left")


CONFIG = os.environ["UNDERSTUDY_CONFIG"]
app = (
    UnderstudyMiddleware(answer, config=CONFIG)
    if os.environ["SHOP"] == "starlette"
    else UnderstudyWSGIMiddleware(wsgi_answer, config=CONFIG)
)
"""What servers load."""
