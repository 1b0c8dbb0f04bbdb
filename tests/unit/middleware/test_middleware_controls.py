"""An application that asks its decision answers its control as it answered the client."""

import asyncio
from typing import Annotated, Any

import httpx
import pytest
import wsgi_world
from fastapi import FastAPI, Request
from flask import Flask, g
from litestar import Litestar, get
from litestar.di import NamedDependency
from middleware_world import configured, rules, served, until_told
from test_middleware_fastapi import CONFIG

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.fastapi import value, variant
from understudy.middleware.flask import current_variant, init_app
from understudy.middleware.litestar import around
from understudy.middleware.litestar import variant as litestar_variant


def config(shadow: str) -> dict[str, Any]:
    """Everybody's requests are mirrored to *shadow*, and the application is asked once more for each."""
    variants = {"stable": {}, "dark": {"mirror": ["v2"]}}
    chosen = rules(variants, serves="dark", unit="header:x-user")
    chosen["flags"]["colour"] = CONFIG["flags"]["colour"]
    return configured({"v2": shadow}, **chosen, shadow={"control": 1.0})


def fastapi() -> FastAPI:
    """Answers what it was told of a user."""
    app = FastAPI()

    @app.get("/")
    async def home(
        shop: Annotated[str, variant("shop")], code: Annotated[str, value("colour")], request: Request
    ) -> list[str]:
        return [shop, code, request.state.understudy.unit]

    return app


@get("/", dependencies={"shop": litestar_variant("shop"), "colour": litestar_variant("colour")})
async def home(shop: NamedDependency[str], colour: NamedDependency[str]) -> list[str]:
    """Answers what it was told of a user."""
    return [shop, colour]


async def other(scope: Any, receive: Any, send: Any) -> None:
    """A release that answers otherwise, so that every exchange is compared in full."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"[]"})


@pytest.mark.parametrize("framework", ["fastapi", "litestar"])
async def test_under_asgi(framework: str) -> None:
    """No path differs between an answer and its control."""
    async with served(other, lifespan="off") as shadow:
        understudy = Understudy(config(shadow))
        app = (
            UnderstudyMiddleware(fastapi(), understudy=understudy)
            if framework == "fastapi"
            else around(Litestar([home]), understudy=understudy)
        )
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            for user in ("ann", "bob", "ann"):
                (await client.get("/", headers={"X-User": user})).raise_for_status()
            report = await until_told(understudy, "with_control", at_least=3)
    check(report)


def flask() -> Flask:
    """Answers what it was told of a user."""
    app = Flask(__name__)

    @app.get("/")
    def home() -> list[str]:
        return [current_variant("shop"), g.understudy.value("colour"), g.understudy.unit]

    return app


async def test_under_wsgi() -> None:
    """No path differs between an answer and its control."""
    async with served(other, lifespan="off") as shadow:
        app = flask()
        middleware = init_app(app, config=config(shadow))
        report = await asyncio.to_thread(asked, app, middleware)
    check(report)


BY_ADDRESS: dict[str, Any] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "off",
    "targeting": {"if": [{"==": [{"var": "ip"}, "9.9.9.9"]}, "on", "off"]},
}


def behind_proxy(shadow: str) -> dict[str, Any]:
    """As `config`, with a flag by the client's address, which a trusted proxy tells."""
    told = config(shadow)
    told["flags"]["beta"] = BY_ADDRESS
    return {**told, "trusted_proxies": ["127.0.0.1/32"]}


async def test_under_asgi_behind_a_proxy() -> None:
    """The control is the same client's."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        body = scope["understudy"].variant_of("beta").encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with served(other, lifespan="off") as shadow:
        understudy = Understudy(behind_proxy(shadow))
        # Nobody but the middleware believes the proxy.
        around_it = UnderstudyMiddleware(app, understudy=understudy)
        async with (
            served(around_it, proxy_headers=False) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            answers = [await client.get("/", headers={"X-Forwarded-For": "9.9.9.9"}) for _ in range(3)]
            report = await until_told(understudy, "with_control", at_least=3)
    assert [answer.text for answer in answers] == ["on"] * 3
    check(report)


async def test_under_wsgi_behind_a_proxy() -> None:
    """As above."""
    async with served(other, lifespan="off") as shadow:
        app = Flask(__name__)
        middleware = init_app(app, config=behind_proxy(shadow))

        @app.get("/")
        def home() -> str:
            return str(g.understudy.variant_of("beta"))

        report = await asyncio.to_thread(asked, app, middleware, X_Forwarded_For="9.9.9.9")
    check(report)


def asked(app: Flask, middleware: Any, **fields: str) -> dict[str, Any]:
    """The report on three users' requests."""
    with wsgi_world.served(app) as port:
        for user in ("ann", "bob", "ann"):
            assert wsgi_world.ask(port, X_User=user, **fields)[0] == 200
        report = wsgi_world.until_told(middleware, "with_control", at_least=3)
    middleware.stop()
    return report


def check(report: dict[str, Any]) -> None:
    """Every exchange differs from the shadow's answer, and none from the control's."""
    (endpoint,) = report["endpoints"]
    assert endpoint["exchanges"] == endpoint["with_control"] == 3
    assert endpoint["findings"]
    assert {found["control_differing"] for found in endpoint["findings"]} == {0}
