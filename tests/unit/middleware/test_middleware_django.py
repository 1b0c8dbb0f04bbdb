"""Django's template tags and decorator tell what the middleware decided."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.template import Context, Template, TemplateSyntaxError
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.views.decorators.csrf import csrf_exempt
from django_site import colours
from test_middleware_fastapi import CONFIG

from understudy.errors import DecisionMissing
from understudy.middleware import Understudy, UnderstudyMiddleware, UnderstudyWSGIMiddleware
from understudy.middleware.django import variants
from understudy.testing.pytest import ForceVariant, force_variant

__all__ = ["force_variant"]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Asks the project, with the middleware around it."""
    understudy = Understudy(CONFIG)
    app = UnderstudyMiddleware(get_asgi_application(), understudy=understudy)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as asking:
        yield asking
    await understudy.stop()


async def test_templates_tell_the_variant(client: httpx.AsyncClient) -> None:
    """A variant by name, one of several, else the other part; a flag that is on."""
    assert (await client.get("/", headers={"X-User": "ann"})).text == "blue cold !"
    assert (await client.get("/", headers={"X-User": "bob"})).text == "red warm named!"


async def test_a_variant_has_its_view(client: httpx.AsyncClient) -> None:
    """Every other one has the decorated view; arguments are the URL's; coroutines alike."""
    ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
    assert (await client.get("/colours/7", headers=ann)).text == "blue 7"
    assert (await client.get("/colours/7", headers=bob)).text == "not blue 7 but red"
    assert (await client.get("/later", headers=ann)).text == "blue later"
    assert (await client.get("/later", headers=bob)).text == "not blue later"
    assert colours.__name__ == "colours"


def test_it_is_the_same_under_wsgi() -> None:
    """The decision stands in the environment there."""
    app = UnderstudyWSGIMiddleware(get_wsgi_application(), config=CONFIG)
    with httpx.Client(transport=httpx.WSGITransport(app), base_url="http://shop") as client:
        assert client.get("/", headers={"X-User": "ann"}).text == "blue cold !"
        assert client.get("/colours/7", headers={"X-User": "bob"}).text == "not blue 7 but red"
    app.stop()


async def test_the_test_client_of_django_is_decided_too(force_variant: ForceVariant) -> None:
    """It comes past the middleware, so ``settings.UNDERSTUDY`` decides; a variant can be forced there."""
    with override_settings(UNDERSTUDY=Understudy(CONFIG)):
        asking = AsyncClient()
        assert (await asking.get("/", headers={"X-User": "ann"})).content == b"blue cold !"
        force_variant("colour", "red")
        assert (await asking.get("/colours/7", headers={"X-User": "ann"})).content == b"not blue 7 but red"
        assert await asyncio.to_thread(asked, "/", "ann") == b"red warm named!"


async def test_whatever_the_test_clients_of_django_are_given_is_decided() -> None:
    """A query in any letters, a header that is a number."""
    targeting = {
        "if": [
            {"or": [{"==": [{"var": "query.city"}, "東京"]}, {"==": [{"var": "headers.x-n"}, "7"]}]},
            "blue",
            "red",
        ]
    }
    flags = {**CONFIG["flags"], "colour": {**CONFIG["flags"]["colour"], "targeting": targeting}}
    with override_settings(UNDERSTUDY=Understudy({**CONFIG, "flags": flags})):
        assert (await AsyncClient().get("/colours/7?city=東京")).content == b"blue 7"
        assert (await AsyncClient().get("/colours/7?city=京")).content == b"not blue 7 but red"
        odd = RequestFactory().get("/colours/7", headers={"X-N": 7})
        assert colours(odd, 7).content == b"blue 7"


def asked(path: str, user: str) -> bytes:
    """What Django's other test client is answered."""
    body: bytes = Client().get(path, headers={"X-User": user}).content
    return body


def test_without_the_middleware_the_mend_is_named() -> None:
    """It is an error of the project, not a variant that nobody chose."""
    with pytest.raises(DecisionMissing, match=r"asgi\.py"):
        colours(RequestFactory().get("/colours/7"), 7)
    with pytest.raises(DecisionMissing, match="no request"):
        Template("{% load understudy %}{% variant 'colour' %}").render(Context())


def plain(request: Any) -> None:
    """A view."""


async def later(request: Any) -> None:
    """A view that is a coroutine."""


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (later, "'a' is a coroutine, and the decorated view is not so"),
        (csrf_exempt(plain), "'a' is exempt from CSRF, and the decorated view is not so"),
    ],
)
def test_views_that_django_would_treat_alike_must_be_alike(other: Any, words: str) -> None:
    """Else a variant would be protected by what the decorated view is."""
    with pytest.raises(TypeError, match=words):
        variants("colour", {"a": other})(plain)


@pytest.mark.parametrize("arguments", ["", "'colour'"])
def test_a_tag_says_what_it_takes(arguments: str) -> None:
    """A condition without a variant would never hold."""
    with pytest.raises(TemplateSyntaxError, match="takes a flag and its variants"):
        Template("{% load understudy %}{% ifvariant " + arguments + " %}{% endifvariant %}")
