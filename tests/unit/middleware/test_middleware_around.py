"""Other middleware, exceptions, sessions and odd messages of an application: no difference, and no harm."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from middleware_world import configured, rules, served, until_told
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from understudy.metrics import WorkerMetrics
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.testing import End, Receive, Script, ScriptedServer, answer

BODY = b"x" * 5000
SAME: Script = [Receive(), answer(200, BODY, [("Content-Type", "text/plain; charset=utf-8")])]
GZIP: tuple[Any, dict[str, Any]] = (GZipMiddleware, {})
SESSION = (SessionMiddleware, {"secret_key": "a"})


def dark(url: str, *, control: float = 0) -> Understudy:
    """Everybody's requests are rehearsed at *url*."""
    told = rules({"dark": {"mirror": ["v2"]}}, serves="dark", mirror_methods=["GET", "POST"])
    return Understudy(configured({"v2": url}, **told, shadow={"control": control}))


def decided() -> Understudy:
    """Everybody has the variant ``on``, and the application answers."""
    return Understudy(configured({}, **rules({"on": {}}, serves="on")))


async def page(request: Request) -> Response:
    """5000 bytes; in a session, one that is modified."""
    if "session" in request.scope:
        request.session["seen"] = True
    return PlainTextResponse(BODY)


async def stream(_request: Request) -> Response:
    """The same in pieces."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield BODY[:1000]

    return StreamingResponse(pieces(), media_type="text/plain")


Next = Callable[[Request], Awaitable[Response]]


class Outer(BaseHTTPMiddleware):
    """Adds a field to every answer."""

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        reply = await call_next(request)
        reply.headers["x-outer"] = "1"
        return reply


@pytest.mark.parametrize("view", [page, stream])
@pytest.mark.parametrize("outer", [GZIP, SESSION, (Outer, {})], ids=["gzip", "session", "base"])
async def test_what_outer_middleware_makes_of_an_answer_is_not_compared(
    outer: tuple[Any, dict[str, Any]], view: Any
) -> None:
    """It compresses, signs and adds in place, in the very messages that the application sent."""
    async with ScriptedServer(SAME, forever=True) as shadow:
        understudy = dark(shadow.url)
        app = Starlette(routes=[Route("/", view)])
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        app.add_middleware(outer[0], **outer[1])
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).content == BODY
            report = await until_told(understudy, "exchanges")
    endpoint = report["endpoints"][0]
    assert endpoint["matched"] == 1, json.dumps(endpoint)


def canary(url: str) -> Understudy:
    """Everybody is served by *url*."""
    return Understudy(configured({"v2": url}, **rules({"canary": {"serve": "v2"}}, serves="canary")))


OUTER: list[Any] = [pytest.param([], id="none")] + [
    pytest.param([outer], id=name)
    for outer, name in ((GZIP, "gzip"), (SESSION, "session"), ((Outer, {}), "base"))
]


@pytest.mark.parametrize("outer", OUTER)
async def test_a_client_that_leaves_a_canary_raises_nothing(
    outer: list[tuple[Any, dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    """Middleware that waits for an answer gets one, though nobody will read it."""
    caplog.set_level(logging.WARNING)  # frameworks set the root's when they are imported
    async with ScriptedServer([Receive(), End.HANG]) as service:
        understudy = canary(service.url)
        app = Starlette()
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        for one, given in outer:
            app.add_middleware(one, **given)
        async with served(app) as url:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            stage = understudy.stage
            assert stage is not None
            async with asyncio.timeout(60):
                while not any(connection.received for connection in service.connections):
                    await asyncio.sleep(0.005)
                writer.close()
                while not codes(stage.metrics):
                    await asyncio.sleep(0.005)
    assert codes(stage.metrics) == {4: 1}
    assert not caplog.records


async def test_a_control_has_a_session_of_its_own() -> None:
    """What it changes there is not stored as the client's."""
    again = asyncio.Event()

    async def visits(request: Request) -> Response:
        request.session.setdefault("seen", []).append(1)
        if request.headers.get("x-understudy-shadow") == "control":
            again.set()
        else:
            await asyncio.wait_for(again.wait(), 60)
        return JSONResponse(request.session)

    async with ScriptedServer(SAME, forever=True) as shadow:
        understudy = dark(shadow.url, control=1)
        app = Starlette(routes=[Route("/", visits)])
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        app.add_middleware(SessionMiddleware, secret_key="a")
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            for visit in (1, 2):
                again.clear()
                assert (await client.get(url)).json() == {"seen": [1] * visit}


async def test_a_control_has_the_fields_that_came_in() -> None:
    """Inner middleware may add to them in place: the first time is not seen by the second."""
    seen: list[list[str]] = []

    class Inner:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                scope["headers"].append((b"x-seen", b"once"))
            await self._app(scope, receive, send)

    async def view(request: Request) -> Response:
        seen.append(request.headers.getlist("x-seen"))
        return PlainTextResponse(BODY)

    async with ScriptedServer(SAME, forever=True) as shadow:
        understudy = dark(shadow.url, control=1)
        app = Starlette(routes=[Route("/", view)])
        app.add_middleware(Inner)
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).content == BODY
            async with asyncio.timeout(60):
                while len(seen) < 2:
                    await asyncio.sleep(0.01)
    assert seen == [["once"], ["once"]]


async def test_a_session_that_cannot_be_copied_is_asked_no_second_time() -> None:
    """The request is rehearsed all the same."""

    class Uncopyable(dict[str, Any]):
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    asked = []

    async def view(request: Request) -> Response:
        asked.append(request.headers.get("x-understudy-shadow"))
        return PlainTextResponse(BODY)

    class Sessions:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self._app({**scope, "session": Uncopyable()}, receive, send)

    async with ScriptedServer(SAME, forever=True) as shadow:
        understudy = dark(shadow.url, control=1)
        app = Starlette(routes=[Route("/", view)])
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        app.add_middleware(Sessions)
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).content == BODY
            report = await until_told(understudy, "exchanges")
            stage = understudy.stage
            assert stage is not None
    assert asked == [None]
    assert report["endpoints"][0]["matched"] == 1
    assert (stage.metrics.errors["uncopyable_scope"], stage.metrics.mirror_errors) == (1, 0)


class Stops(BaseException):
    """As test frameworks and coroutine libraries have them."""


@pytest.mark.parametrize("error", [SystemExit(3), Stops(), asyncio.CancelledError()], ids=repr)
async def test_a_control_that_exits_ends_nothing(error: BaseException) -> None:
    """Servers answer 500 to an application that does, and go on; so does mirroring."""

    async def exits(request: Request) -> Response:
        if request.headers.get("x-understudy-shadow") == "control":
            raise error
        return PlainTextResponse(BODY)

    async with ScriptedServer(SAME, forever=True) as shadow:
        understudy = dark(shadow.url, control=1)
        app = Starlette(routes=[Route("/", exits)])
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            for count in (1, 2):
                assert (await client.get(url)).content == BODY
                await until_told(understudy, "exchanges", at_least=count)
            stage = understudy.stage
            assert stage is not None
            stage.offer_evidence()
    assert stage.metrics.control["app", "failed_raised"] == 2


async def test_a_control_that_ignores_being_cancelled_holds_up_no_end() -> None:
    """Within the time that ending may take, connections and store are closed; it is left behind."""
    goes = asyncio.Event()

    async def stubborn(request: Request) -> Response:
        while request.headers.get("x-understudy-shadow") == "control" and not goes.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await goes.wait()
        return PlainTextResponse(BODY)

    async with ScriptedServer(SAME, forever=True) as shadow:
        told = rules({"dark": {"mirror": ["v2"]}}, serves="dark")
        limits = {"drain_timeout": "0.4s"}
        config = configured(
            {"v2": shadow.url}, **told, shadow={"control": 1, "timeout": "0.1s"}, limits=limits
        )
        understudy = Understudy(config)
        app = Starlette(routes=[Route("/", stubborn)])
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).content == BODY
            stage = understudy.stage
            assert stage is not None
            async with asyncio.timeout(60):
                while stage.mirror.running:
                    await asyncio.sleep(0.01)
            async with asyncio.timeout(60):
                await understudy.stop()
            async with asyncio.timeout(60):
                while not shadow.connections[0].ending:
                    await asyncio.sleep(0.01)
        goes.set()


def codes(metrics: WorkerMetrics) -> dict[int, int]:
    """How many answers of which class there were."""
    rows = list(metrics.requests.values())
    return {at: n for at in range(6) if (n := sum(row.codes[at] for row in rows))}


@pytest.mark.parametrize("make", [decided, lambda: dark("http://127.0.0.1:9")], ids=["decided", "mirrored"])
async def test_a_request_is_counted_when_its_answer_is_whole(make: Callable[[], Understudy]) -> None:
    """Background tasks are no part of the answer, nor of the time that it took."""
    goes_on = asyncio.Event()

    async def view(_request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(goes_on.wait))

    understudy = make()
    app = Starlette(routes=[Route("/", view)])
    app.add_middleware(UnderstudyMiddleware, understudy=understudy)
    async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(url)).text == "ok"
        stage = understudy.stage
        assert stage is not None
        try:
            assert codes(stage.metrics) == {2: 1}
        finally:
            goes_on.set()
    assert codes(stage.metrics) == {2: 1}


@pytest.mark.parametrize("make", [decided, lambda: dark("http://127.0.0.1:9")], ids=["decided", "mirrored"])
async def test_an_exception_of_the_application_is_counted_as_what_is_answered(
    make: Callable[[], Understudy],
) -> None:
    """500, as the server or Starlette's outermost middleware says; the evidence of a rollout needs it."""

    async def breaks(_request: Request) -> Response:
        raise RuntimeError("mine")

    understudy = make()
    app = Starlette(routes=[Route("/", breaks)])
    app.add_middleware(UnderstudyMiddleware, understudy=understudy)
    async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(url)).status_code == 500
        stage = understudy.stage
        assert stage is not None
    assert codes(stage.metrics) == {5: 1}


@pytest.mark.parametrize("make", [decided, lambda: dark("http://127.0.0.1:9")], ids=["decided", "mirrored"])
@pytest.mark.parametrize("status", [200.0, "200", None, -1000])
async def test_a_status_that_is_none_is_the_servers_to_judge(
    status: Any, make: Callable[[], Understudy]
) -> None:
    """The server judges of it; nothing is raised here."""
    sent = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    understudy = make()
    app = UnderstudyMiddleware(application, understudy=understudy)
    given = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a")]}
    await app(given, receive, send)
    stage = understudy.stage
    assert stage is not None
    await understudy.stop()
    assert sent[0]["status"] == status
    assert codes(stage.metrics) == {0: 1}
    assert stage.metrics.mirror_errors == 0


@pytest.mark.parametrize("body", ["text", None, 7], ids=repr)
async def test_a_body_that_is_none_is_the_applications_to_judge(
    body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Outer middleware may hand in anything: no copy is sent then."""
    got = []

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        got.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_message: Any) -> None:
        pass

    understudy = dark("http://127.0.0.1:9")
    app = UnderstudyMiddleware(application, understudy=understudy)
    headers = [(b"host", b"a"), (b"content-length", b"4")]
    with caplog.at_level(logging.ERROR):
        await app({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
    stage = understudy.stage
    assert stage is not None
    await understudy.stop()
    assert got == [body]
    assert stage.metrics.mirror["v2", "skipped_unreadable_request"] == 1
    assert not caplog.records
