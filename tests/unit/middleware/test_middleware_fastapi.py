"""FastAPI's dependencies tell what the middleware decided."""

import subprocess
import sys
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from middleware_world import configured, rules
from starlette.routing import Mount

from understudy.errors import DecisionMissing
from understudy.middleware import UnderstudyMiddleware
from understudy.middleware.fastapi import CurrentDecision, enabled, value, variant

CONFIG = configured({}, **rules({"stable": {}, "new": {}}, serves="stable", unit="header:x-user"))
CONFIG["flags"]["colour"] = {
    "state": "ENABLED",
    "variants": {"red": "#f00", "blue": "#00f"},
    "defaultVariant": "red",
    "targeting": {"if": [{"==": [{"var": "targetingKey"}, "ann"]}, "blue", None]},
}
CONFIG["flags"]["banner"] = {
    "state": "ENABLED",
    "variants": {"on": True, "off": False},
    "defaultVariant": "on",
}


def application() -> FastAPI:
    """Tells what it was given."""
    app = FastAPI()

    @app.get("/")
    async def home(
        decision: CurrentDecision,
        shop: Annotated[str, variant("shop")],
        colour: Annotated[str, variant("colour")],
        code: Annotated[str, value("colour")],
        banner: Annotated[bool, enabled("banner")],
        unknown: Annotated[str, value("unknown", "mine")],
    ) -> list[Any]:
        return [decision.flag, shop, colour, code, banner, unknown]

    @app.websocket("/socket")
    async def socket(websocket: WebSocket, decision: CurrentDecision) -> None:
        await websocket.accept()

    return app


def test_dependencies_tell_the_decision() -> None:
    """The route's flag and others, for the same unit; what is not known is the default."""
    app = application()
    app.add_middleware(UnderstudyMiddleware, config=CONFIG)
    with TestClient(app) as client:
        ann = client.get("/", headers={"X-User": "ann"}).json()
        bob = client.get("/", headers={"X-User": "bob"}).json()
        assert client.get("/openapi.json").json()["paths"]["/"]["get"].get("parameters") is None

    assert ann == ["shop", "stable", "blue", "#00f", True, "mine"]
    assert bob == ["shop", "stable", "red", "#f00", True, "mine"]


def test_they_work_in_a_mounted_application() -> None:
    """The middleware of the outer application is that of the inner one."""
    outer = FastAPI(routes=[Mount("/inner", application())])
    outer.add_middleware(UnderstudyMiddleware, config=CONFIG)
    with TestClient(outer) as client:
        assert client.get("/inner/", headers={"X-User": "ann"}).json()[2] == "blue"


async def test_without_the_middleware_the_mend_is_named() -> None:
    """It is an error of the application, not a variant that nobody chose."""
    transport = httpx.ASGITransport(application())
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        with pytest.raises(DecisionMissing, match="UnderstudyMiddleware"):
            await client.get("/")


def test_a_websocket_has_no_decision() -> None:
    """The middleware leaves it alone, and a dependency says so."""
    app = application()
    app.add_middleware(UnderstudyMiddleware, config=CONFIG)
    with (
        TestClient(app) as client,
        pytest.raises(DecisionMissing, match="HTTP requests"),
        client.websocket_connect("/socket"),
    ):
        pass


@pytest.mark.parametrize("framework", ["fastapi", "litestar", "django", "flask"])
def test_the_missing_framework_is_named(framework: str) -> None:
    """Who has not installed it is told how, and nothing of it is needed elsewhere."""
    program = (
        f"import sys; sys.modules[{framework!r}] = None\n"
        "import understudy.middleware, understudy.testing.pytest\n"
        "try:\n"
        f"    import understudy.middleware.{framework}\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"pip install 'understudy[{framework}]'" in ended.stdout
