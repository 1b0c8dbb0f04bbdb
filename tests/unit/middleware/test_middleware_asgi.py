"""The middleware under uvicorn: who answers, what is decided, what is rehearsed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from middleware_world import configured, rules, served, until_told
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from understudy.errors import ConfigError
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.testing import Receive, Script, ScriptedServer, answer


def shop(version: int) -> Starlette:
    """Answers alike in every version, but for /price."""

    async def orders(request: StarletteRequest) -> Response:
        total = version if request.url.path == "/price" else 1
        return JSONResponse({"total": total, "read": len(await request.body())})

    return Starlette(routes=[Route("/{rest:path}", orders, methods=["GET", "POST"])])


def told(request: StarletteRequest) -> dict[str, Any]:
    """What the application can see of the decision."""
    decision = request.state.understudy
    assert request.scope["understudy"] is decision
    return {
        "flag": decision.flag,
        "variant": decision.variant,
        "reason": decision.reason,
        "unit": decision.unit,
        "new_cart": decision.is_enabled("new_cart"),
        "colour": decision.value("colour", "grey"),
        "colour_variant": decision.variant_of("colour"),
        "unknown": decision.value("unknown", "mine"),
    }


FLAGS = {
    "new_cart": {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"==": [{"var": "targetingKey"}, "ann"]}, "on", "off"]},
    },
    "colour": {"state": "ENABLED", "variants": {"red": "#f00"}, "defaultVariant": "red"},
}


async def test_the_application_sees_its_decision() -> None:
    """A FastAPI application branches on its own flag and on others, for the same unit, under uvicorn."""
    config = configured({}, **rules({"stable": {}}, serves="stable", unit="header:x-user"))
    config["flags"].update(FLAGS)
    app = FastAPI()
    app.add_middleware(UnderstudyMiddleware, config=config)

    @app.get("/who")
    async def who(request: Request) -> dict[str, Any]:
        return told(request)

    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        ann = (await client.get("/who", headers={"X-User": "ann"})).json()
        nobody = (await client.get("/who")).json()

    assert ann == {
        "flag": "shop",
        "variant": "stable",
        "reason": "STATIC",
        "unit": "ann",
        "new_cart": True,
        "colour": "#f00",
        "colour_variant": "red",
        "unknown": "mine",
    }
    assert nobody["new_cart"] is False
    assert nobody["unit"] == ""


async def test_a_dark_variant_is_rehearsed() -> None:
    """The application answers; equal answers match, others are differences, and the books balance."""
    async with served(shop(2)) as shadow:
        variants = {"dark": {"mirror": ["v2"]}}
        understudy = Understudy(
            configured({"v2": shadow}, **rules(variants, serves="dark"), shadow={"control": 0})
        )
        middleware = UnderstudyMiddleware(shop(1), understudy=understudy)
        async with served(middleware) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            for _ in range(5):
                assert (await client.get("/same?a=%20b")).json() == {"total": 1, "read": 0}
                assert (await client.get("/price")).json() == {"total": 1, "read": 0}
            report = await until_told(understudy, "exchanges", at_least=10)

    assert report["matched"] == 5
    (finding,) = [found for endpoint in report["endpoints"] for found in endpoint["findings"]]
    assert (finding["path"], finding["kind"], finding["differing"]) == ("/body/total", "value", 5)
    mirror = report["mirror"]
    assert mirror["eligible"] == mirror["sent"] == mirror["answered"] == 10


async def test_the_control_is_the_application_once_more() -> None:
    """What the application answers differently by itself is seen in its control answers too."""
    numbers = iter(range(1000))

    async def count(request: StarletteRequest) -> Response:
        return JSONResponse({"n": next(numbers), "user": request.scope["user"]})

    class Outer:
        """Puts into the scope what the application needs."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["user"] = "ann"
            await self.app(scope, receive, send)

    app = Starlette(routes=[Route("/n", count)])
    async with served(Outer(app)) as shadow:
        variants = {"dark": {"mirror": ["v2"]}}
        config = configured({"v2": shadow}, **rules(variants, serves="dark"), shadow={"control": 1.0})
        understudy = Understudy(config)
        async with (
            served(Outer(UnderstudyMiddleware(app, understudy=understudy))) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            for _ in range(10):
                await client.get("/n")
            report = await until_told(understudy, "with_control", at_least=10)

    (finding,) = report["endpoints"][0]["findings"]
    assert finding["path"] == "/body/n"
    assert finding["control_differing"] == 10
    assert report["control"]["answered"] == 10


async def test_a_canary_is_served_by_the_service() -> None:
    """Request and answer pass byte for byte but for the forwarding fields, bodies too."""
    fields = [("X-Own", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    script: Script = [Receive(), answer(200, b"from v2", fields)]
    async with ScriptedServer(script) as service:
        config = configured({"v2": service.url}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
        app = UnderstudyMiddleware(shop(1), config)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            given = {"X-Understudy-Variant": "mine", "Te": "gzip"}
            got = await client.post("/a%2Fb/ä?q=%41", content=b"x" * 10_000, headers=given)
        seen = bytes(service.connections[0].received)

    assert (got.status_code, got.content) == (200, b"from v2")
    assert got.headers.get_list("set-cookie") == ["a=1", "b=2"]
    head, _, body = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /a%2Fb/%C3%A4?q=%41 HTTP/1.1\r\n")
    assert b"\r\nX-Understudy-Flag: shop\r\nX-Understudy-Variant: canary\r\n" in head
    assert b"mine" not in head
    assert b"gzip\r\nte" not in head.lower()
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
    assert b"Via: 1.1 understudy-" in head
    assert body == b"x" * 10_000


async def test_the_application_stands_in_for_a_dead_service() -> None:
    """A canary without origin falls back to the default variant: the application, which reads the body."""
    dead = "http://127.0.0.1:9"
    variants = {"stable": {}, "canary": {"serve": "v2"}}
    config = configured({"v2": dead}, **rules(variants, serves="stable"))
    config["flags"]["shop"]["targeting"] = {"if": [True, "canary"]}
    app = UnderstudyMiddleware(shop(1), config)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        got = await client.post("/x", content=b"12345")

    assert got.json() == {"total": 1, "read": 5}


async def test_a_dead_service_without_fallback_is_a_502() -> None:
    """As the proxy says it: problem+json with the reason."""
    config = configured({"v2": "http://127.0.0.1:9"}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
    async with (
        served(UnderstudyMiddleware(shop(1), config)) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        got = await client.get("/x")

    assert got.status_code == 502
    assert got.json()["reason"] == "connect_refused"


async def test_a_hung_service_is_a_504() -> None:
    """The first byte has its deadline."""
    async with ScriptedServer([Receive()]) as service:
        config = configured({}, **rules({"canary": {"serve": "v2"}}, serves="canary"))
        config["services"] = {"v2": {"url": service.url, "first_byte_timeout": "0.2s"}}
        async with (
            served(UnderstudyMiddleware(shop(1), config)) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            got = await client.get("/x")

    assert got.status_code == 504
    assert got.json()["reason"] == "answer_timeout"


async def test_other_scopes_pass() -> None:
    """A WebSocket reaches the application untouched; where no route matches, flags can still be asked."""

    async def echo(websocket: WebSocket) -> None:
        assert "understudy" not in websocket.scope
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    async def plain(request: StarletteRequest) -> Response:
        decision = request.state.understudy
        return JSONResponse([decision.flag, decision.reason, decision.value("colour")])

    config = configured({}, **rules({"stable": {}}, serves="stable"))
    config["routes"][0]["path"] = "/shop"
    config["flags"].update(FLAGS)
    inner = Starlette(routes=[WebSocketRoute("/ws", echo), Mount("/deep", routes=[Route("/plain", plain)])])
    async with served(UnderstudyMiddleware(inner, config)) as url:
        import websockets

        async with websockets.connect(url.replace("http", "ws") + "/ws") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            for _ in range(2):  # the second from memory
                assert (await client.get("/deep/plain")).json() == ["", "NO_ROUTE", "#f00"]


async def test_metrics_stand_in_the_registry_given() -> None:
    """Requests by flag, variant and service, and what became of copies."""
    registry = CollectorRegistry()
    understudy = Understudy(configured({}, **rules({"stable": {}}, serves="stable")), registry=registry)
    async with (
        served(UnderstudyMiddleware(shop(1), understudy=understudy)) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        await client.get("/x")
        text = generate_latest(registry).decode()

    row = 'understudy_requests_total{code="2xx",flag="shop",route="/",service="app",variant="stable"} 1.0'
    assert row in text


async def test_two_stand_in_one_registry() -> None:
    """Two applications of a process may share it: no series comes twice, and both are counted."""
    registry = CollectorRegistry()
    apps = [shop_with(registry), shop_with(registry)]
    async with served(apps[0]) as one, served(apps[1]) as two, httpx.AsyncClient(timeout=60) as client:
        for url in (one, two, two):
            assert (await client.get(url)).status_code == 200
        shown = generate_latest(registry).decode().splitlines()
    assert [line for line in shown if line.startswith("understudy_requests_total{")] == [
        'understudy_requests_total{code="2xx",flag="shop",route="/",service="app",variant="on"} 3.0'
    ]
    assert len(set(shown)) == len(shown)


def shop_with(registry: CollectorRegistry) -> UnderstudyMiddleware:
    """An application that answers everybody itself, counted in *registry*."""
    told = configured({}, **rules({"on": {}}, serves="on"))
    return UnderstudyMiddleware(shop(1), told, registry=registry)


def test_a_mistake_fails_the_start(tmp_path: Path) -> None:
    """With the place and the mend, though uvicorn lets add_middleware make the middleware inside its loop."""
    (tmp_path / "understudy.yaml").write_text("services: {v2: {url: 'http://127.0.0.1:9'}}\nlissten: 1\n")
    (tmp_path / "shop.py").write_text(
        "from starlette.applications import Starlette\n"
        "from understudy.middleware import UnderstudyMiddleware\n"
        "app = Starlette()\n"
        "app.add_middleware(UnderstudyMiddleware, config='understudy.yaml')\n"
    )
    started = subprocess.run(
        [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert started.returncode == 3
    assert "lissten: unknown key (did you mean listen?)" in started.stderr
    assert "Application startup failed" in started.stderr


def test_a_mistake_is_raised_outside_a_loop() -> None:
    """Where it can be caught."""
    with pytest.raises(ConfigError, match=r"flags.shop.variants.a.mirror\[0\]: app gets no copies"):
        UnderstudyMiddleware(shop(1), configured({}, **rules({"a": {"mirror": ["app"]}}, serves="a")))


MISTAKEN: list[tuple[dict[str, Any], str]] = [
    ({}, "got neither"),
    ({"config": {}, "understudy": Understudy({})}, "got both"),
    ({"understudy": Understudy({}), "fail_open": True}, r"Understudy\(config, fail_open="),
    ({"understudy": Understudy({}), "registry": CollectorRegistry()}, r"Understudy\(config, fail_open="),
]


@pytest.mark.parametrize(("given", "told"), MISTAKEN, ids=[told for _, told in MISTAKEN])
def test_arguments_that_say_nothing_are_refused(given: dict[str, Any], told: str) -> None:
    """What would be ignored is an error, which says where it belongs."""
    with pytest.raises(TypeError, match=told):
        UnderstudyMiddleware(shop(1), **given)


@pytest.mark.parametrize(("given", "told"), MISTAKEN, ids=[told for _, told in MISTAKEN])
async def test_mistaken_arguments_fail_the_start(given: dict[str, Any], told: str) -> None:
    """Not each request, where a framework makes the middleware inside the server's event loop."""
    app = Starlette()
    app.add_middleware(UnderstudyMiddleware, **given)
    with pytest.raises(ExceptionGroup) as failed:
        async with served(app):
            pass
    assert failed.group_contains(RuntimeError, match="did not start")


async def test_a_mistake_that_no_start_told_is_told_by_each_request_alike() -> None:
    """A mounted application has no start-up: its requests fail, and none keeps anything of the others."""
    app = Starlette()
    app.add_middleware(UnderstudyMiddleware, config={"services": 3})
    given = {"type": "http", "method": "GET", "path": "/", "headers": []}
    depths = []
    for _ in range(3):
        with pytest.raises(ConfigError, match="services") as failed:
            await app(dict(given), never, never)
        depths.append(len(failed.traceback))
    assert len(set(depths)) == 1


async def never(*_given: Any) -> Any:
    """A server's side that is not asked."""
    return {"type": "http.request"}


async def test_fail_open_passes_everything() -> None:
    """The application answers as if there were no middleware, and may still ask for its decision."""

    async def ask(request: StarletteRequest) -> Response:
        decision = request.state.understudy
        return JSONResponse([decision.variant, decision.is_enabled("new_cart", default=True)])

    inner = Starlette(routes=[Route("/", ask)])
    app = UnderstudyMiddleware(inner, {"services": 3}, fail_open=True)
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
        got = await client.get("/")

    assert got.json() == ["", True]
    assert "services" in app.understudy.failure


async def test_without_lifespan_it_starts_with_a_request() -> None:
    """Mounted applications see no lifespan; mirroring works all the same."""
    async with served(shop(2)) as shadow:
        config = configured({"v2": shadow}, **rules({"dark": {"mirror": ["v2"]}}, serves="dark"))
        understudy = Understudy(config)
        outer = Starlette(routes=[Mount("/in", UnderstudyMiddleware(shop(1), understudy=understudy))])
        async with (
            served(outer, lifespan="off") as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            await asyncio.gather(*(client.get("/in/same") for _ in range(5)))
            report = await until_told(understudy, "matched", at_least=5)
        await understudy.stop()

    assert [endpoint["endpoint"] for endpoint in report["endpoints"]] == ["GET /in/same"]
