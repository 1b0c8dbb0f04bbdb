"""Litestar's dependencies tell what the middleware decided."""

from typing import Any, cast

from litestar import Litestar, asgi, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from litestar.types import ASGIApp
from test_middleware_fastapi import CONFIG

from understudy.middleware import Decision, UnderstudyMiddleware
from understudy.middleware.litestar import around, decision, enabled, value, variant
from understudy.middleware.request import Receive, Scope, Send


@get(
    "/",
    dependencies={
        "decision": decision(),
        "colour": variant("colour"),
        "code": value("colour"),
        "banner": enabled("banner"),
    },
)
async def home(
    decision: NamedDependency[Decision],
    colour: NamedDependency[str],
    code: NamedDependency[str],
    banner: NamedDependency[bool],
) -> list[Any]:
    """What it was given."""
    return [decision.flag, decision.variant, colour, code, banner]


def test_dependencies_tell_the_decision() -> None:
    """The route's flag and others, for the same unit."""
    app = around(Litestar([home]), config=CONFIG)
    with TestClient(app) as client:  # type: ignore[type-var]  # it takes any application
        assert client.get("/", headers={"X-User": "ann"}).json() == ["shop", "stable", "blue", "#00f", True]
        assert client.get("/", headers={"X-User": "bob"}).json() == ["shop", "stable", "red", "#f00", True]


def test_it_may_be_mounted() -> None:
    """With what it is around: Litestar looks at its parameters and types, also when it is compiled."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["understudy"].flag.encode()})

    handler = asgi("/mounted", is_mount=True, copy_scope=True)
    mounted = UnderstudyMiddleware(app, {**CONFIG, "routes": [{"path": "/", "flag": "shop"}]})
    with TestClient(Litestar([handler(cast("ASGIApp", mounted))])) as client:
        assert client.get("/mounted/basket").text == "shop"


def test_without_the_middleware_the_mend_is_named() -> None:
    """It is an error of the application, not a variant that nobody chose."""
    with TestClient(Litestar([home], debug=True)) as client:
        answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.status_code == 500
    assert "nothing was decided for this request: around(" in answer.text
