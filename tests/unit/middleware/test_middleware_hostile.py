"""What other middleware, servers, event loops and clients hand in that no parser would: bounded and told."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from middleware_world import configured, rules, served, until_told
from prometheus_client import CollectorRegistry

from understudy.errors import ConfigError
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.in_force import LONGEST_PLAIN
from understudy.testing import End, Receive, Script, ScriptedServer, answer

OK: Script = [Receive(), answer(200, b"ok", [("Content-Type", "text/plain")])]
SHUTDOWN_SECONDS = 5.0


def canary(url: str) -> Understudy:
    """Everybody is served by *url*."""
    told = rules({"canary": {"serve": "v2"}}, serves="canary", mirror_methods=["GET", "POST"])
    return Understudy(configured({"v2": url}, **told))


def dark(url: str, *, control: float = 0) -> Understudy:
    """Everybody's requests are rehearsed at *url*."""
    told = rules({"dark": {"mirror": ["v2"]}}, serves="dark", mirror_methods=["GET", "POST"])
    return Understudy(configured({"v2": url}, **told, shadow={"control": control}))


def scope(**more: Any) -> dict[str, Any]:
    """Of a GET, as a server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
        **more,
    }


async def answered(_scope: Any, receive: Any, send: Any) -> None:
    """The application: reads all, says ok."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def asked(app: Any, given: dict[str, Any], *pieces: bytes) -> tuple[int, bytes]:
    """Status and body that *app* answers to *given* with a body of *pieces*; status 0 without an answer."""
    waiting = [
        {"type": "http.request", "body": piece, "more_body": number + 1 < len(pieces)}
        for number, piece in enumerate(pieces or (b"",))
    ]
    status, body, is_over = 0, b"", asyncio.Event()

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        body += message.get("body", b"")

    async with asyncio.timeout(60):
        await app(given, receive, send)
    is_over.set()
    return status, body


HOSTILE = [
    {"headers": [(b"host", b"a"), (b"x-user", b"ann\r\nx-admin: 1")]},
    {"headers": [(b"host", b"a"), (b"x-user", b"ann\nx-admin: 1")]},
    {"headers": [(b"host", b"a"), (b"x-user", b"ann\0")]},
    {"headers": [(b"host", b"a"), (b"transfer-encoding ", b"chunked")]},
    {"headers": [(b"host", b"a"), (b"x:y", b"z")]},
    {"headers": [(b"host", b"a"), (b"", b"z")]},
    {"headers": [(b"host", b"a"), (b"x\r\ny", b"z")]},
    {"raw_path": b"/a HTTP/1.1\r\nx-admin: 1\r\nx: "},
    {"raw_path": b"/a b"},
    {"raw_path": b"/a\0"},
    {"raw_path": b"http://elsewhere.example/"},
    {"raw_path": b"*"},
    {"raw_path": b"", "path": "admin"},
    {"query_string": b"a=1 HTTP/1.1\r\nx-admin: 1\r\nx: "},
    {"query_string": b"a=\x7f\x01"},
    {"method": "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"},
    {"method": ""},
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
async def test_no_service_is_told_what_is_no_request(hostile: dict[str, Any]) -> None:
    """Outer middleware and HTTP/2 can put anything into a scope: 400, and nothing goes out."""
    async with ScriptedServer(OK, forever=True) as service:
        understudy = canary(service.url)
        app = UnderstudyMiddleware(answered, understudy=understudy)
        status, _ = await asked(app, scope(**hostile))
        await understudy.stop()

    assert status == 400
    assert not any(connection.received for connection in service.connections)


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
async def test_no_shadow_is_told_what_is_no_request(hostile: dict[str, Any]) -> None:
    """The application answers as it would."""
    async with ScriptedServer(OK, forever=True) as service:
        understudy = dark(service.url)
        app = UnderstudyMiddleware(answered, understudy=understudy)
        found = await asked(app, scope(**hostile))
        await understudy.stop()

    assert found == (200, b"ok")
    assert not any(connection.received for connection in service.connections)


@pytest.mark.parametrize(
    ("length", "pieces"),
    [(b"5", (b"hello", b"GET /admin HTTP/1.1\r\n\r\n")), (b"5", (b"hel",)), (b"5", (b"",))],
)
async def test_a_body_is_as_long_as_it_was_said_to_be(length: bytes, pieces: tuple[bytes, ...]) -> None:
    """Middleware that unfolds a body may leave its length: what is more would be another request."""
    headers = [(b"host", b"a"), (b"content-length", length)]
    waits: Script = [End.HANG]
    async with ScriptedServer(waits, OK) as service:
        understudy = canary(service.url)
        app = UnderstudyMiddleware(answered, understudy=understudy)
        status, _ = await asked(app, scope(method="POST", headers=headers), *pieces)
        assert await asked(app, scope()) == (200, b"ok")
        await understudy.stop()

    assert status == 400
    assert len(service.connections) == 2  # the first is not used again
    assert b"admin" not in service.connections[0].received


async def test_a_copy_has_the_length_of_its_body() -> None:
    """Whatever the request said."""
    headers = [(b"host", b"a"), (b"content-length", b"5")]
    async with ScriptedServer(OK, forever=True) as service:
        understudy = dark(service.url)
        app = UnderstudyMiddleware(answered, understudy=understudy)
        assert (await asked(app, scope(method="POST", headers=headers), b"hello", b" world"))[0] == 200
        stage = understudy.stage
        assert stage is not None
        await until(lambda: stage.mirror.targets["mirror", "v2"].is_settled)
        await understudy.stop()

    received = service.connections[0].received
    assert received.endswith(b"\r\n\r\nhello world")
    assert b"content-length: 11\r\n" in received.lower()


async def until(is_so: Callable[[], Any]) -> None:
    """Wait for it. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


def named(name: bytes, asked_again: list[bytes]) -> Any:
    """An application that answers *name*, and notes when it is asked for a control."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if (b"x-understudy-shadow", b"control") in scope["headers"]:
            asked_again.append(name)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name})

    return app


async def test_the_control_is_the_application_that_answered() -> None:
    """Also where two share one Understudy."""
    again: list[bytes] = []
    async with ScriptedServer(OK, forever=True) as service:
        understudy = dark(service.url, control=1)
        one = UnderstudyMiddleware(named(b"one", again), understudy=understudy)
        two = UnderstudyMiddleware(named(b"two", again), understudy=understudy)
        assert (await asked(one, scope()))[1] == b"one"
        await until(lambda: len(again) == 1)
        assert (await asked(two, scope()))[1] == b"two"
        await until(lambda: len(again) == 2)
        await understudy.stop()

    assert again == [b"one", b"two"]


def test_two_event_loops_serve_at_once() -> None:
    """Each has its own stage, once; the metrics are those of both."""
    registry = CollectorRegistry()
    told = rules({"on": {}}, serves="on")
    understudy = Understudy(configured({}, **told), registry=registry)
    app = UnderstudyMiddleware(answered, understudy=understudy)
    turns = threading.Barrier(2)
    stages: list[set[int]] = []

    async def serve() -> None:
        seen = set()
        for _ in range(5):
            await asyncio.to_thread(turns.wait, 60)
            assert await asked(app, scope()) == (200, b"ok")
            seen.add(id(understudy.stage))
        stages.append(seen)
        await asyncio.to_thread(turns.wait, 60)
        count = registry.get_sample_value(
            "understudy_requests_total",
            {"route": "/", "flag": "shop", "variant": "on", "service": "app", "code": "2xx"},
        )
        assert count == 10
        await asyncio.to_thread(turns.wait, 60)
        await understudy.stop()

    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001  told in the test's own thread
            turns.abort()
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert failed == []
    assert [len(seen) for seen in stages] == [1, 1]


async def without_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """As Django is."""
    if scope["type"] != "http":
        raise ValueError("HTTP alone")
    await answered(scope, receive, send)


async def silent_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """As small applications are."""
    if scope["type"] == "http":
        await answered(scope, receive, send)


@pytest.mark.parametrize("application", [without_lifespan, silent_lifespan])
@pytest.mark.parametrize("lifespan", ["auto", "on"])
async def test_an_application_without_lifespan_ends_well(application: Any, lifespan: str) -> None:
    """Mirroring starts and stops with the server all the same."""
    understudy = dark("http://127.0.0.1:9")
    async with served(UnderstudyMiddleware(application, understudy=understudy), lifespan=lifespan) as url:
        stage = understudy.stage
        assert stage is not None
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).text == "ok"
    assert understudy.stages == []
    assert stage.loop is not None


async def failing_lifespan(scope: Any, receive: Any, send: Any) -> None:
    """Its own start-up fails."""
    await receive()
    if scope["asgi"].get("raises"):
        raise RuntimeError("mine")
    await send({"type": "lifespan.startup.failed", "message": "mine"})


@pytest.mark.parametrize("raises", [False, True])
async def test_an_application_that_does_not_start_leaves_nothing(raises: bool) -> None:
    """Its own failure passes unchanged, and mirroring has ended."""
    understudy = dark("http://127.0.0.1:9")
    app = UnderstudyMiddleware(failing_lifespan, understudy=understudy)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"type": "lifespan", "asgi": {"version": "3.0", "raises": raises}}
    if raises:
        with pytest.raises(RuntimeError, match="mine"):
            await app(given, receive, send)
    else:
        await app(given, receive, send)
        assert sent == [{"type": "lifespan.startup.failed", "message": "mine"}]
    assert understudy.stage is None


async def test_long_paths_are_not_remembered() -> None:
    """So a client cannot fill the memory with them."""
    told = {"flags": {}, "routes": [{"path": "/shop", "serve": "v2"}]}
    understudy = Understudy(configured({"v2": "http://127.0.0.1:9"}, **told))
    app = UnderstudyMiddleware(answered, understudy=understudy)
    await asked(app, scope(raw_path=b"/short", path="/short"))
    await asked(app, scope(raw_path=b"/" + b"x" * LONGEST_PLAIN, path="/x"))
    assert understudy.in_force.plain.keys() == {b"/short"}
    await understudy.stop()


async def test_fields_that_can_be_read_once_reach_both() -> None:
    """An application may give its answer's fields as an iterator: server and comparison see all of them."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        fields = iter([(b"content-type", b"text/plain"), (b"x-kind", b"a")])
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": b"ok"})

    same = answer(200, b"ok", [("Content-Type", "text/plain"), ("X-Kind", "a")])
    async with ScriptedServer([Receive(), same], forever=True) as service:
        understudy = dark(service.url)
        app = UnderstudyMiddleware(application, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(timeout=60) as client:
            assert (await client.get(url)).headers["x-kind"] == "a"
            report = await until_told(understudy, "exchanges")
    assert report["endpoints"][0]["matched"] == 1, json.dumps(report["endpoints"])


def answering(*fields: Any) -> Any:
    """An application that answers with these."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
        await send({"type": "http.response.body", "body": bytearray(b"ok")})

    return application


@pytest.mark.parametrize(
    "field",
    [
        [b"content-type", b"text/plain"],
        (bytearray(b"content-type"), memoryview(b"text/plain")),
        ("content-type", "text/plain"),
        (b"content-type", "text/plain"),
    ],
    ids=["list", "buffers", "text", "half"],
)
async def test_what_a_server_reads_is_compared(field: Any) -> None:
    """Some servers take an answer's fields as text, and of any bytes-like kind."""
    async with ScriptedServer(OK, forever=True) as service:
        understudy = dark(service.url)
        app = UnderstudyMiddleware(answering(field), understudy=understudy)
        assert await asked(app, scope()) == (200, b"ok")
        report = await until_told(understudy, "exchanges")
        stage = understudy.stage
        assert stage is not None
        await understudy.stop()
    assert report["endpoints"][0]["matched"] == 1, json.dumps(report["endpoints"])
    assert not stage.metrics.mirror_errors


@pytest.mark.parametrize("field", [(b"x-a", 1), (b"x-a", None), (b"x-a",), 5], ids=repr)
async def test_what_only_the_server_can_read_is_no_evidence(field: Any) -> None:
    """It goes out as it is, and is counted."""
    async with ScriptedServer(OK, forever=True) as service:
        understudy = dark(service.url)
        app = UnderstudyMiddleware(answering((b"content-type", b"text/plain"), field), understudy=understudy)
        assert await asked(app, scope()) == (200, b"ok")
        stage = understudy.stage
        assert stage is not None
        target = stage.mirror.targets["mirror", "v2"]
        await until(lambda: target.is_settled)
        await understudy.stop()
    assert target.eligible == 1
    assert dict(target.reasons) == {("skipped", "unreadable_answer"): 1}
    assert not stage.metrics.mirror_errors


@pytest.mark.parametrize(
    "broken",
    [
        {"config": "missing.yaml"},
        {"config": "."},
        {"config": "binary.yaml"},
        {"config": "text.yaml"},
        {"config": {"services": {"a": {"url": 5}}}},
        {"config": {"store": "oracle://x"}},
        {"config": {}, "admin": "ftp://a"},
        {"config": {}, "admin": "http://elsewhere.example:9090"},
        {"config": {}, "admin": "http://127.0.0.1:9", "token": "us_secret\n"},
        {"config": {"store": "sqlite:////nowhere/at/all.db"}},
    ],
    ids=str,
)
async def test_fail_open_passes_whatever_is_mistaken(
    broken: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request passes, and the object says why."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\0\x80")
    (tmp_path / "text.yaml").write_text("a: [b\n\tc")
    understudy = Understudy(**broken, fail_open=True)
    monkeypatch.setattr("understudy.middleware.stage.RULES_SECONDS", 0.2)
    app = UnderstudyMiddleware(answered, understudy=understudy)
    assert await asked(app, scope()) == (200, b"ok")
    assert understudy.failure or broken["config"] == {"store": "sqlite:////nowhere/at/all.db"}
    await understudy.stop()


@pytest.mark.parametrize("token", ["us_secret\n", "us_secr\u00e9t"])
def test_a_token_with_a_lines_end_is_refused_without_its_text(token: str) -> None:
    """It was read from a file, mostly."""
    with pytest.raises(ConfigError) as refused:
        Understudy({}, admin="http://127.0.0.1:9090", token=token)
    assert "token" in str(refused.value)
    assert "secr" not in str(refused.value)


@pytest.mark.parametrize("is_there", [True, False], ids=["answered", "refused"])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_server_that_says_that_the_client_is_gone_is_believed(
    at: int, is_there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """ASGI 2.4 lets ``send`` raise OSError: nothing of it is logged as ours, nor raised."""
    sent = 0

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        nonlocal sent
        sent += 1
        if sent >= at:
            raise BrokenPipeError("the client is gone")

    async with ScriptedServer(OK, forever=True) as service:
        understudy = canary(service.url if is_there else "http://127.0.0.1:9")
        app = UnderstudyMiddleware(answered, understudy=understudy)
        await app(scope(), receive, send)
        stage = understudy.stage
        assert stage is not None
        await understudy.stop()
    assert not [reason for reason in stage.metrics.errors if "internal" in reason]
    assert not caplog.records
    assert sent == (at if is_there else min(at, 2))


async def test_a_body_that_breaks_off_is_a_client_that_left(caplog: pytest.LogCaptureFixture) -> None:
    """Servers and outer middleware may raise OSError from ``receive``: no fault of ours."""

    async def receive() -> Any:
        raise ConnectionResetError("the client is gone")

    async def send(_message: Any) -> None:
        raise BrokenPipeError("nobody is there")

    async with ScriptedServer([End.HANG], forever=True) as service:
        understudy = canary(service.url)
        app = UnderstudyMiddleware(answered, understudy=understudy)
        headers = [(b"host", b"a"), (b"content-length", b"5")]
        async with asyncio.timeout(60):
            await app(scope(method="POST", headers=headers), receive, send)
        await understudy.stop()
    assert not caplog.records


async def test_a_server_that_takes_no_more_is_left_once_the_client_is() -> None:
    """One that waits in ``send`` for a client that it has called gone: the service is let go all the same."""
    is_full = asyncio.Event()
    received = 0

    async def receive() -> Any:
        nonlocal received
        received += 1
        if received == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await is_full.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            is_full.set()
            await asyncio.Event().wait()

    script: Script = [Receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000]
    async with ScriptedServer(script) as service:
        understudy = canary(service.url)
        async with asyncio.timeout(60):
            await UnderstudyMiddleware(answered, understudy=understudy)(scope(), receive, send)
        stage = understudy.stage
        assert stage is not None
        await understudy.stop()
    assert stage.metrics.errors["cut_client_gone"] == 1


@pytest.mark.parametrize(("version", "cookies"), [("2", [b"uid=7; b=2"]), ("1.1", [b"uid=7", b"b=2"])])
async def test_cookies_that_http2_has_split_go_on_as_one(version: str, cookies: list[bytes]) -> None:
    """RFC 9113 8.2.3; and what HTTP/1.1 says goes on as it was said."""
    split = [(b"cookie", b"uid=7"), (b"x-a", b"1"), (b"cookie", b"b=2")]
    told = rules({"canary": {"serve": "v2", "mirror": ["v3"]}}, serves="canary", mirror_methods=["GET"])
    async with ScriptedServer(OK, forever=True) as service, ScriptedServer(OK, forever=True) as shadow:
        config = configured({"v2": service.url, "v3": shadow.url}, **told, shadow={"control": 0})
        config["services"]["v3"]["forward_credentials"] = ["cookie"]
        understudy = Understudy(config)
        given = scope(http_version=version, headers=[(b"host", b"shop.example"), *split])
        assert await asked(UnderstudyMiddleware(answered, understudy=understudy), given) == (200, b"ok")
        await until_told(understudy, "exchanges")
        await understudy.stop()
        for asked_one in (service, shadow):
            lines = asked_one.connections[0].taken[0].split(b"\r\n")
            assert [line[8:] for line in lines if line.startswith(b"cookie: ")] == cookies


async def test_an_odd_scope_passes() -> None:
    """What cannot be read of it is not decided: the application gets it as it is."""
    understudy = dark("http://127.0.0.1:9")
    app = UnderstudyMiddleware(answered, understudy=understudy)
    given = scope()
    del given["headers"]
    assert await asked(app, given) == (200, b"ok")
    assert await asked(app, scope(client=(None, None))) == (200, b"ok")
    assert await asked(app, scope(headers=[(b"x", "no bytes"), 5])) == (200, b"ok")
    await understudy.stop()
