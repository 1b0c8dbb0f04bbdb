"""What a WSGI server can do beside an answer: early hints of the service that gives it."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from middleware_world import configured, rules
from wsgi_world import Environ

from understudy.middleware import UnderstudyWSGIMiddleware
from understudy.testing import Receive, ScriptedServer, answer

LINKS = ("</a.css>; rel=preload", "</b.js>; rel=preload")
HINTS = answer(103, headers=[("Link", LINKS[0]), ("X-Other", "1"), ("Link", LINKS[1])])


@pytest.fixture
async def service() -> AsyncIterator[ScriptedServer]:
    """One that hints twice, then answers."""
    script = (Receive(), HINTS + HINTS + answer(200, b"ok"))
    async with ScriptedServer(script, forever=True) as running:
        yield running


def application(_environ: Environ, _start: Any) -> Any:
    """Is never asked."""
    raise AssertionError


def asked(url: str, told: list[Any], **server: Any) -> bytes:
    """The body of a canary's answer; in *told* what the *server* was told, in order."""
    config = configured({"v2": url}, **rules({"c": {"serve": "v2"}}, serves="c"))
    middleware = UnderstudyWSGIMiddleware(application, config)
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "HTTP_HOST": "h",
        "wsgi.input": io.BytesIO(),
        **server,
    }

    def start(status: str, _fields: Any) -> Any:
        told.append(status)

    try:
        given = middleware(environ, start)
        body = b"".join(given)
        given.close()  # type: ignore[attr-defined]
        return body
    finally:
        middleware.stop()


async def test_hints_of_a_service_are_handed_on(service: ScriptedServer) -> None:
    """Each with its links, before the answer."""
    told: list[Any] = []
    server = {"wsgi.early_hints": told.append}
    assert await asyncio.to_thread(asked, service.url, told, **server) == b"ok"
    hints = [("Link", link) for link in LINKS]
    assert told == [hints, hints, "200 OK"]


async def test_hints_are_left_out_where_no_server_takes_them(service: ScriptedServer) -> None:
    """The answer is the same."""
    told: list[Any] = []
    assert await asyncio.to_thread(asked, service.url, told) == b"ok"
    assert told == ["200 OK"]


async def test_a_server_that_takes_no_more_hints_ends_the_request(service: ScriptedServer) -> None:
    """Its client is gone: it gets its exception back, and the service is left."""

    def gone(_hints: Any) -> None:
        raise BrokenPipeError

    told: list[Any] = []
    with pytest.raises(BrokenPipeError):
        await asyncio.to_thread(asked, service.url, told, **{"wsgi.early_hints": gone})
    await service.until(lambda: service.connections[0].is_closed)
    assert told == []


async def test_a_hint_that_the_server_refuses_costs_no_answer(service: ScriptedServer) -> None:
    """Such as gunicorn's, to which a field has a character that it never sends, or a stream that is reset."""

    def refuse(_hints: Any) -> None:
        raise ValueError("no such hint")

    told: list[Any] = []
    assert await asyncio.to_thread(asked, service.url, told, **{"wsgi.early_hints": refuse}) == b"ok"
    assert told == ["200 OK"]
