"""Flask's ``g`` and `current_variant` tell what the middleware decided."""

from collections.abc import Iterator

import pytest
from flask import Flask, render_template_string
from test_middleware_fastapi import CONFIG

from understudy.errors import DecisionMissing
from understudy.middleware.flask import current_decision, current_variant, init_app
from understudy.testing.pytest import ForceVariant, force_variant

__all__ = ["force_variant"]

PAGE = "{{ g.understudy.variant_of('colour') }} {{ g.understudy.is_enabled('banner') }}"


@pytest.fixture
def bare() -> Flask:
    """Tells what it was told; without the middleware."""
    app = Flask(__name__)
    app.testing = True

    @app.get("/")
    def home() -> str:
        return f"{current_decision().flag} {current_variant('colour')} {render_template_string(PAGE)}"

    return app


@pytest.fixture
def app(bare: Flask) -> Iterator[Flask]:
    """The same with it."""
    middleware = init_app(bare, config=CONFIG)
    yield bare
    middleware.stop()


def test_views_and_templates_tell_the_decision(app: Flask) -> None:
    """The route's flag and others, for the same unit."""
    client = app.test_client()
    assert client.get("/", headers={"X-User": "ann"}).text == "shop blue blue True"
    assert client.get("/", headers={"X-User": "bob"}).text == "shop red red True"


def test_a_variant_is_forced_in_the_test_client(app: Flask, force_variant: ForceVariant) -> None:
    """While the middleware's own thread runs, and before it does."""
    client = app.test_client()
    force_variant("colour", "blue")
    assert client.get("/", headers={"X-User": "bob"}).text == "shop blue blue True"
    force_variant("colour", "red")
    assert client.get("/", headers={"X-User": "ann"}).text == "shop red red True"


def test_without_the_middleware_the_mend_is_named(bare: Flask) -> None:
    """It is an error of the application, not a variant that nobody chose."""
    with pytest.raises(DecisionMissing, match="init_app"):
        bare.test_client().get("/")


def test_there_is_one_middleware(app: Flask) -> None:
    """A second one would decide, and mirror, every request twice."""
    with pytest.raises(RuntimeError, match="already"):
        init_app(app, config=CONFIG)
