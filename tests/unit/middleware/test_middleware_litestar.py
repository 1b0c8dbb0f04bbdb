"""Litestar's dependencies tell what the middleware decided."""

from typing import Any

from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from test_middleware_fastapi import CONFIG

from understudy.middleware import Decision
from understudy.middleware.litestar import around, decision, enabled, value, variant


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


def test_without_the_middleware_the_mend_is_named() -> None:
    """It is an error of the application, not a variant that nobody chose."""
    with TestClient(Litestar([home], debug=True)) as client:
        answer = client.get("/", headers={"Accept": "application/json"})
    assert answer.status_code == 500
    assert "nothing was decided for this request: around(" in answer.text
