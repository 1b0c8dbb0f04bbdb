"""Whatever shadows, clients and applications do, the application's answers are its own."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from middleware_world import configured, rules, served, until_told
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import App
from understudy.testing import End, Receive, Script, ScriptedServer, answer

OK: Script = [Receive(), answer(200, b"ok", [("Content-Type", "text/plain; charset=utf-8")])]


FLOOD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % bytes(65536) * 80


async def ok(_request: Request) -> Response:
    """The answer of every application here."""
    return PlainTextResponse("ok")


def dark(url: str, **shadow: Any) -> Understudy:
    """Everybody's requests are rehearsed at *url*, POST too, without controls."""
    told = rules({"dark": {"mirror": ["v2"]}}, serves="dark", mirror_methods=["GET", "POST"])
    return Understudy(configured({"v2": url}, **told, shadow={"control": 0, **shadow}))


async def until(is_so: Callable[[], Any]) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "script",
    [
        [Receive(), End.HANG],
        [End.RESET],
        [
            Receive(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n%b\r\n" % (b"x" * 65536) * 80,
        ],
        [Receive(), b"\0garbage\r\n\r\n"],
    ],
    ids=["hung", "reset", "flooding", "garbage"],
)
async def test_a_shadow_is_never_felt(script: Script) -> None:
    """Every answer comes, and soon; the books balance; nothing is held in the end."""
    async with ScriptedServer(script) as shadow:
        understudy = dark(shadow.url, timeout="0.5s", in_flight=8)
        app = UnderstudyMiddleware(Starlette(routes=[Route("/", ok)]), understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            await client.get("/")
            began = time.monotonic()
            for _ in range(50):
                assert (await client.get("/")).text == "ok"
            took = time.monotonic() - began
            stage = understudy.stage
            assert stage is not None
            await until(lambda: not stage.mirror.running)
            target = stage.mirror.targets["mirror", "v2"]
            held = stage.mirror.held

    assert target.is_settled
    assert target.eligible == 51
    assert held == 0
    assert took < 50 * 0.5 / 2  # had each waited for its copy's end, it were twice as much


async def test_it_stops_in_time_with_a_hung_shadow() -> None:
    """Copies under way have a moment, then they are ended and counted."""
    async with ScriptedServer([Receive(), End.HANG]) as shadow:
        understudy = dark(shadow.url, timeout="10m")
        app = UnderstudyMiddleware(Starlette(routes=[Route("/", ok)]), understudy=understudy)
        async with served(app) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                await client.get("/")
            stage = understudy.stage
            assert stage is not None
            began = time.monotonic()

    assert time.monotonic() - began < 60, "a tenth of the copy's time"
    assert stage.mirror.targets["mirror", "v2"].reasons["failed", "shutdown"] == 1


async def reads_before(request: Request) -> Response:
    """Reads, then answers."""
    await request.body()
    return PlainTextResponse("ok")


async def reads_while(_scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it reads as it reads it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    has_more = True
    while has_more:
        message = await receive()
        has_more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": has_more})


async def answers_first(request: Request) -> Response:
    """Never reads."""
    return PlainTextResponse("ok")


def posted_to(endpoint: Callable[[Request], Awaitable[Response]]) -> App:
    """An application of one endpoint."""
    return Starlette(routes=[Route("/", endpoint, methods=["POST"])])


@pytest.mark.parametrize(
    ("application", "outcome"),
    [
        (posted_to(reads_before), ("sent", "")),
        (reads_while, ("sent", "")),
        (posted_to(answers_first), ("skipped", "request_incomplete")),
    ],
    ids=["before", "while", "never"],
)
async def test_a_body_is_copied_as_it_is_read(application: App, outcome: tuple[str, str]) -> None:
    """Whole when the application reads it, whenever it does; nothing is read for a copy's sake."""
    body = bytes(range(256)) * 400
    async with ScriptedServer(OK, forever=True) as shadow:
        understudy = dark(shadow.url)
        app = UnderstudyMiddleware(application, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.post("/", content=body)).status_code == 200
            stage = understudy.stage
            assert stage is not None
            target = stage.mirror.targets["mirror", "v2"]
            await until(lambda: target.outcomes[outcome])
            await until(lambda: not stage.mirror.running)

    if outcome[0] == "sent":
        assert bytes(shadow.connections[0].received).endswith(b"\r\n\r\n" + body)
    else:
        assert not shadow.connections
    assert stage.mirror.held == 0


async def test_background_tasks_run_after_the_answer_is_told() -> None:
    """A background task that takes long keeps no copy waiting."""
    finished = asyncio.Event()

    async def later(_request: Request) -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(finished.wait))

    async with ScriptedServer(OK, forever=True) as shadow:
        understudy = dark(shadow.url)
        app = UnderstudyMiddleware(Starlette(routes=[Route("/", later)]), understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/")).text == "ok"
            report = await until_told(understudy, "exchanges")
            finished.set()

    assert report["matched"] == 1


async def test_a_client_that_leaves_is_no_evidence() -> None:
    """Its exchange is unpaired; the application is told as ever."""
    left = asyncio.Event()

    async def endless(_request: Request) -> Response:
        async def pieces() -> Any:
            try:
                while True:
                    yield b"x" * 1000
                    await asyncio.sleep(0.01)
            finally:
                left.set()

        return StreamingResponse(pieces())

    async with ScriptedServer(OK, forever=True) as shadow:
        understudy = dark(shadow.url)
        app = UnderstudyMiddleware(Starlette(routes=[Route("/", endless)]), understudy=understudy)
        async with served(app) as url:
            async with (
                httpx.AsyncClient(base_url=url, timeout=60) as client,
                client.stream("GET", "/") as got,
            ):
                await anext(got.aiter_raw())
            await asyncio.wait_for(left.wait(), 60)
            async with asyncio.timeout(60):
                while not (report := await understudy.report())["unpaired"]:
                    await asyncio.sleep(0.02)

    assert report["exchanges"] == 0


async def test_an_exception_of_the_application_is_its_own() -> None:
    """The client gets the server's 500; the exchange is no evidence."""

    async def breaks(_request: Request) -> Response:
        raise RuntimeError("mine")

    app = Starlette(routes=[Route("/", breaks)])
    async with ScriptedServer(OK, forever=True) as shadow:
        understudy = dark(shadow.url)
        app.add_middleware(UnderstudyMiddleware, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/")).status_code == 500
            stage = understudy.stage
            assert stage is not None
            target = stage.mirror.targets["mirror", "v2"]
            await until(lambda: target.is_settled)

    assert stage.metrics.mirror_errors == 0


@pytest.mark.patched
async def test_an_exception_of_ours_never_reaches_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deciding and mirroring may break: counted, and the application answers."""
    understudy = dark("http://127.0.0.1:9")
    app = UnderstudyMiddleware(Starlette(routes=[Route("/", ok)]), understudy=understudy)

    def breaks(*_given: object, **_named: object) -> Any:
        raise RuntimeError("ours")

    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        stage = understudy.stage
        assert stage is not None
        monkeypatch.setattr(stage, "rehearse", breaks)
        assert (await client.get("/")).text == "ok"
        monkeypatch.setattr(stage.engine, "plan", breaks)
        assert (await client.get("/")).text == "ok"

    assert stage.metrics.mirror_errors == 1
    assert stage.metrics.errors["internal"] == 1


async def test_a_fault_that_every_request_meets_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Counted each time, with one trace in the log for a while; also when the middleware is off."""
    passed = 0

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        nonlocal passed
        passed += 1

    understudy = dark("http://127.0.0.1:9")
    middleware = UnderstudyMiddleware(app, understudy=understudy)
    await understudy.start()
    stage = understudy.stage
    assert stage is not None
    for _ in range(50):
        await middleware({"type": "http", "method": "GET", "path": "/"}, nothing, nothing)
    await understudy.stop()
    understudy.failure = "off"
    for _ in range(50):
        await middleware({"type": "http", "method": "GET", "path": "/"}, nothing, nothing)

    assert (passed, stage.metrics.errors["internal"]) == (100, 50)
    told = [record for record in caplog.records if "could not be decided" in record.message]
    assert len(told) == 1
    assert all(record.exc_info is not None for record in told)


async def nothing(*_given: Any) -> Any:
    """Nobody sends, nobody receives."""


async def test_extensions_pass() -> None:
    """Trailers and early hints go through; a file that the server sends is not compared."""
    sent: list[dict[str, Any]] = []
    messages = [
        {"type": "http.response.early_hint", "links": [b"</a.css>"]},
        {"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x")], "trailers": True},
        {"type": "http.response.pathsend", "path": "/etc/hostname"},
        {"type": "http.response.trailers", "headers": [(b"x", b"1")], "more_trailers": False},
    ]

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async def send(message: Any) -> None:
        sent.append(message)

    async with ScriptedServer(OK, forever=True) as shadow:
        understudy = dark(shadow.url)
        scope = {"type": "http", "method": "GET", "path": "/ü x", "headers": [[b"host", b"a"]]}
        await UnderstudyMiddleware(application, understudy=understudy)(scope, breaks_off, send)
        stage = understudy.stage
        assert stage is not None
        await until(lambda: stage.mirror.targets["mirror", "v2"].is_settled)
        await understudy.stop()

    assert sent == messages
    assert stage.metrics.mirror_errors == 0


async def breaks_off() -> Any:
    """A client that sends nothing and leaves."""
    return {"type": "http.disconnect"}


async def test_a_streaming_canary_comes_as_it_comes() -> None:
    """Each piece of an answer passes when it is there, and a client that leaves ends the service's work."""
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    left = asyncio.Event()

    async def events(_request: Request) -> Response:
        async def told() -> Any:
            try:
                while True:
                    yield await pieces.get()
            finally:
                left.set()

        return StreamingResponse(told(), media_type="text/event-stream")

    config = configured({}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
    async with served(Starlette(routes=[Route("/", events)])) as service:
        config["services"] = {"v2": {"url": service}}
        async with served(UnderstudyMiddleware(Starlette(), config)) as url:
            async with (
                httpx.AsyncClient(base_url=url, timeout=60) as client,
                client.stream("GET", "/") as got,
            ):
                received = got.aiter_raw()
                for piece in (b"data: 1\n\n", b"data: 2\n\n"):
                    pieces.put_nowait(piece)
                    assert await asyncio.wait_for(anext(received), 60) == piece
            await asyncio.wait_for(left.wait(), 60)


async def test_a_canary_that_breaks_off_cuts_the_client() -> None:
    """A short answer is never padded."""
    script: Script = [Receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", End.CLOSE]
    async with ScriptedServer(script) as service:
        config = configured({"v2": service.url}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
        async with (
            served(UnderstudyMiddleware(Starlette(), config)) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/")


async def test_a_large_answer_of_a_canary_waits_for_its_client() -> None:
    """What the client does not take yet is left with the service: little is held here."""
    script: Script = [Receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000]
    async with ScriptedServer(script) as service:
        config = configured({"v2": service.url}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
        app = UnderstudyMiddleware(Starlette(), config)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            size = 0
            async with client.stream("GET", "/") as got:
                await asyncio.sleep(0)
                async for piece in got.aiter_raw():
                    size += len(piece)

    assert size == 30_000_000


async def test_rules_turn_while_it_runs(tmp_path: Path) -> None:
    """What somebody else stores is in force within a second; requests keep their version."""
    store = f"sqlite:///{tmp_path / 'rules.db'}"

    async def who(request: Request) -> Response:
        return JSONResponse(request.state.understudy.variant)

    config = {**configured({}, **rules({"a": {}, "b": {}}, serves="a")), "store": store}
    first, second = Understudy(config), Understudy(config)
    app = UnderstudyMiddleware(Starlette(routes=[Route("/", who)]), understudy=first)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/")).json() == "a"
        await second.start()
        stage = second.stage
        assert stage is not None
        await stage.put_rules(rules({"a": {}, "b": {}}, serves="b"), author="ann", reason="b is ready")
        await until(lambda: first.in_force.version == 2)
        assert (await client.get("/")).json() == "b"
        await second.stop()


def test_other_loops_and_a_fork(tmp_path: Path) -> None:
    """One middleware serves in one event loop after another, in uvloop's, and in a child of a fork."""
    (tmp_path / "script.py").write_text(FORKS)
    ran = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.stdout, ran.stderr, ran.returncode) == ("asyncio 1\nuvloop 1\nchild 1\nparent 1\n", "", 0)


FORKS = """
import asyncio, os, sys
import uvloop
from understudy.middleware import Understudy, UnderstudyMiddleware

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["understudy"].variant.encode()})

understudy = Understudy({
    "store": "memory://",
    "services": {"v2": {"url": "http://127.0.0.1:9"}},
    "flags": {"f": {"state": "ENABLED", "variants": {"v": {"mirror": ["v2"]}}, "defaultVariant": "v"}},
    "routes": [{"path": "/", "flag": "f"}],
    "shadow": {"control": 0},
})
middleware = UnderstudyMiddleware(app, understudy=understudy)

async def ask(name, *, stops=True):
    sent = []
    async def send(message): sent.append(message)
    async def receive(): return {"type": "http.request", "body": b"", "more_body": False}
    await middleware({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    target = understudy.stage.mirror.targets["mirror", "v2"]
    async with asyncio.timeout(60):
        while not target.is_settled: await asyncio.sleep(0.01)
    assert sent[1]["body"] == b"v", sent
    print(name, target.sent, flush=True)
    if stops: await understudy.stop()

asyncio.run(ask("asyncio"))
uvloop.run(ask("uvloop"))
loop = asyncio.new_event_loop()
loop.run_until_complete(understudy.start())
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
    loop.run_until_complete(ask("parent"))
    loop.close()
else:
    asyncio.set_event_loop(None)
    asyncio._set_running_loop(None)
    asyncio.run(ask("child"))
    os._exit(0)
"""
