"""How the middleware is called: a coroutine function to whoever looks, without a coroutine of its own."""

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine
from copy import copy
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from asgiref.compatibility import guarantee_single_callable
from hypercorn.middleware import ProxyFixMiddleware
from hypercorn.utils import is_asgi
from uvicorn import Config

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import App, Message, Receive, Scope, Send

CONFIG: dict[str, Any] = {
    "store": "memory://",
    "services": {"next": {"url": "http://127.0.0.1:9"}},  # where nothing listens
    "flags": {
        "shop": {"state": "ENABLED", "variants": {"stable": {}}, "defaultVariant": "stable"},
        "dark": {"state": "ENABLED", "variants": {"dark": {"mirror": ["next"]}}, "defaultVariant": "dark"},
        "away": {"state": "ENABLED", "variants": {"next": {"serve": "next"}}, "defaultVariant": "next"},
    },
    "routes": [
        {"path": "/shop", "flag": "shop", "unit": "cookie:uid"},
        {"path": "/dark", "flag": "dark", "unit": "cookie:uid"},
        {"path": "/away", "flag": "away", "unit": "cookie:uid"},
        {"path": "/plain", "serve": "app"},
    ],
}


def scope_of(path: str) -> Scope:
    """What a server hands over."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 5),
        "headers": [(b"host", b"shop")],
        "state": {},
    }


async def receive() -> dict[str, Any]:
    """A request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    """A server that takes everything."""


async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Never mind what it would answer."""


def test_servers_take_it_for_an_asgi_application() -> None:
    """Also as the outermost, and whatever way they look: a WSGI or an ASGI 2 application looks otherwise."""
    app = UnderstudyMiddleware(silent, CONFIG)
    assert inspect.iscoroutinefunction(app.__call__)
    assert asyncio.iscoroutinefunction(app.__call__)
    assert is_asgi(app)
    single: Any = guarantee_single_callable
    assert single(app) is app  # an ASGI 2 application would be wrapped
    config = Config(app, log_config=None, lifespan="off")
    config.load()
    assert config.interface == "asgi3"


async def test_what_it_returns_is_a_coroutine_to_whoever_looks() -> None:
    """Task groups of anyio start nothing else, and debuggers show its frame; also when compiled."""

    async def answering(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(0)

    middleware = UnderstudyMiddleware(answering, CONFIG)
    lifespan = {"type": "lifespan"}
    try:
        for scope in (scope_of("/shop"), scope_of("/shop"), scope_of("/dark"), scope_of("/away"), lifespan):
            waiting = middleware(scope, receive, send)
            assert inspect.iscoroutine(waiting)
            assert inspect.getcoroutinestate(waiting) == inspect.CORO_CREATED
            await waiting
            assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED
            waiting.close()  # is done already
    finally:
        await middleware.understudy.stop()


@pytest.mark.parametrize("path", ["/shop", "/plain", "/dark"])
async def test_middleware_inside_may_copy_the_whole_scope(path: str) -> None:
    """Hypercorn's own does; the decision is the same one, and none of the rules is copied."""
    seen: list[Scope] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    middleware = UnderstudyMiddleware(cast("App", ProxyFixMiddleware(app)), CONFIG)
    given = [scope_of(path), scope_of(path)]
    for scope in given:
        await middleware(scope, receive, send)
    await middleware.understudy.stop()
    for scope, copied in zip(given, seen, strict=True):
        assert copied["headers"] is not scope["headers"]
        assert copied["understudy"] is copied["state"]["understudy"] is scope["understudy"]
        assert copy(copied["understudy"]) is scope["understudy"]


async def test_its_application_may_be_another_for_a_while() -> None:
    """As whoever tests one patches what is around it."""
    answered: list[str] = []

    async def one(_scope: Scope, _receive: Receive, _send: Send) -> None:
        answered.append("one")

    async def other(_scope: Scope, _receive: Receive, _send: Send) -> None:
        answered.append("other")

    middleware = UnderstudyMiddleware(one, CONFIG)
    with mock.patch.object(middleware, "app", other):
        await middleware(scope_of("/shop"), receive, send)
        await middleware(scope_of("/plain"), receive, send)
    await middleware(scope_of("/shop"), receive, send)
    await middleware.understudy.stop()
    assert answered == ["other", "other", "one"]


@pytest.mark.parametrize("kind", [None, 5, b"http", "websocket"])
async def test_what_is_no_request_passes(kind: object) -> None:
    """Whatever it is: the application says what it makes of it."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    await UnderstudyMiddleware(app, CONFIG)({"type": kind}, receive, send)
    assert seen == [{"type": kind}]


def test_it_answers_from_outside_an_event_loop() -> None:
    """It may be called before the loop runs that will await what it returns; and as ``__call__`` itself."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["understudy"].variant)

    middleware = UnderstudyMiddleware(app, CONFIG)
    for path in ("/shop", "/plain", "/plain", "/shop"):
        waiting = middleware(scope_of(path), receive, send)
        assert isinstance(waiting, Coroutine)
        asyncio.run(waiting)
    async_call: Any = middleware.__call__
    asyncio.run(async_call(scope_of("/shop"), receive, send))
    assert seen == ["stable", "", "", "stable", "stable"]


def test_where_no_loop_of_asyncios_runs_it_says_so() -> None:
    """Trio's coroutines are run by a loop of its own; with *fail_open* requests pass there."""
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["understudy"].reason)

    def run(middleware: UnderstudyMiddleware) -> None:
        answering: Any = middleware(scope_of("/plain"), receive, send)
        answering.send(None)

    with pytest.raises(RuntimeError, match="not by trio's"):
        run(UnderstudyMiddleware(app, CONFIG))
    with pytest.raises(StopIteration):
        run(UnderstudyMiddleware(app, CONFIG, fail_open=True))
    assert seen == ["NO_ROUTE"]


def test_where_no_loop_of_asyncios_runs_the_lifespan_says_so() -> None:
    """And nothing else; with *fail_open* it begins and ends as ever."""
    told: list[str] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Has no lifespan."""

    def run(middleware: UnderstudyMiddleware) -> None:
        heard: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Message:
            return heard.pop(0)

        async def send(message: Message) -> None:
            told.append(message["type"])

        living: Any = middleware({"type": "lifespan"}, receive, send)
        living.send(None)

    with pytest.raises(RuntimeError, match="not by trio's"):
        run(UnderstudyMiddleware(app, CONFIG))
    assert not told
    with pytest.raises(StopIteration):
        run(UnderstudyMiddleware(app, CONFIG, fail_open=True))
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("path", ["/plain", "/nowhere"])
async def test_what_the_application_returns_is_returned(path: str) -> None:
    """No coroutine of ours stands between, where no flag decides; the decision is there all the same."""

    class Answer(Awaitable[None]):
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()

    answers: list[Answer] = []
    scopes: list[Scope] = []

    def app(scope: Scope, _receive: Receive, _send: Send) -> Awaitable[None]:
        scopes.append(scope)
        answers.append(Answer())
        return answers[-1]

    understudy = Understudy(CONFIG)
    middleware = UnderstudyMiddleware(app, understudy=understudy)
    try:
        await middleware(scope_of(path), receive, send)  # starts, and is decided in full
        for _ in range(2):
            waiting = middleware(scope_of(path), receive, send)
            assert waiting is answers[-1]
            await waiting
        counted = middleware(scope_of("/shop"), receive, send)
        assert counted is not answers[-1]
        await counted
    finally:
        await understudy.stop()
    plain = scopes[:3]
    assert [scope["understudy"].flag for scope in scopes] == ["", "", "", "shop"]
    assert {scope["understudy"].reason for scope in plain} == {"ROUTE" if path == "/plain" else "NO_ROUTE"}
    assert all(scope["state"]["understudy"] is scope["understudy"] for scope in scopes)


def test_each_loop_decides_by_what_it_follows(tmp_path: Path) -> None:
    """What one remembers of a path without a flag is not the next one's, which sees the kill file."""
    shop = {**CONFIG["flags"]["shop"], "variants": {"stable": {}, "next": {}}, "defaultVariant": "next"}
    shop["metadata"] = {"safeVariant": "stable"}
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["understudy"].variant_of("shop"))

    middleware = UnderstudyMiddleware(
        app, {**CONFIG, "flags": {**CONFIG["flags"], "shop": shop}, "kill_file": str(tmp_path / "kill")}
    )

    async def ask() -> None:
        await middleware(scope_of("/plain"), receive, send)

    asyncio.run(ask())
    (tmp_path / "kill").write_text("shop\n")
    for _ in range(2):
        asyncio.run(ask())
    assert seen == ["next", "stable", "stable"]


def test_loops_beside_each_other_decide_each_by_its_own_rules() -> None:
    """Which turn in one before they turn in the other."""
    flags: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        flags.append(scope["understudy"].flag)

    understudy = Understudy(CONFIG)
    middleware = UnderstudyMiddleware(app, understudy=understudy)

    async def ask() -> None:
        await middleware(scope_of("/plain"), receive, send)

    async def turn() -> None:
        stage = understudy.stage
        assert stage is not None
        told = {"flags": CONFIG["flags"], "routes": [{"path": "/", "flag": "shop"}]}
        await stage.put_rules(told, author="ann", reason="")

    async def lay_out() -> None:
        stage = understudy.stage
        assert stage is not None
        stage.lay_out()
        await ask()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(ask())
        other.run(ask())
        one.run(turn())
        other.run(lay_out())
        one.run(ask())
        for runner in (one, other):
            runner.run(understudy.stop())
    assert flags == ["", "", "", "shop"]


def test_what_ended_in_one_loop_is_no_more_in_force() -> None:
    """Who asks beside requests is answered by what another loop follows, and counted there."""
    understudy = Understudy(CONFIG)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        for runner in (one, other):
            runner.run(understudy.start())
        first, _ = understudy.stages
        other.run(understudy.stop())
        assert understudy.in_force is first.in_force
        one.run(understudy.stop())
        assert understudy.in_force is first.in_force


def test_what_a_closed_loop_had_does_not_come_into_force_again() -> None:
    """Nobody follows rules there any more, though it was left without being stopped."""
    understudy = Understudy(CONFIG)

    async def turn() -> None:
        stage = understudy.stage
        assert stage is not None
        await stage.put_rules({"flags": CONFIG["flags"], "routes": []}, author="ann", reason="")

    with asyncio.Runner() as one:
        one.run(understudy.start())
        asyncio.run(understudy.start())
        one.run(turn())
        version = understudy.in_force.version
        one.run(understudy.stop())
    assert understudy.in_force.version == version


async def test_other_scopes_are_the_applications_own() -> None:
    """A WebSocket is handed on as it is: what the application returns is returned."""
    calls: list[Any] = []

    def app(*call: Any) -> Any:
        calls.append(call)
        return silent(*call)

    middleware = UnderstudyMiddleware(app, CONFIG)
    scope: Scope = {"type": "websocket", "path": "/shop", "headers": []}
    await middleware(scope, receive, send)
    assert calls == [(scope, receive, send)]
    assert "understudy" not in scope


async def test_subclasses_may_wrap_the_call() -> None:
    """Whoever overrides ``__call__`` is called, however the server calls."""
    called: list[str] = []

    class Mine(UnderstudyMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            called.append(scope["path"])
            await super().__call__(scope, receive, send)

    async def run(app: App) -> None:
        await app(scope_of("/shop"), receive, send)

    middleware = Mine(silent, CONFIG)
    await run(middleware)
    await run(middleware.__call__)
    await middleware.understudy.stop()
    assert called == ["/shop", "/shop"]
