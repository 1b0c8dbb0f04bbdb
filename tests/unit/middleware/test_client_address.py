"""The client's own address behind a trusted proxy, also on paths without a flag, which are remembered."""

from typing import Any

import pytest

from understudy.middleware import Understudy, UnderstudyMiddleware, UnderstudyWSGIMiddleware
from understudy.middleware.deciding import leave
from understudy.middleware.environ import Environ
from understudy.middleware.request import AsgiRequest, Scope

CLIENT = "9.9.9.9"
BY_ADDRESS: dict[str, Any] = {
    "trusted_proxies": ["127.0.0.1/32"],
    "store": "memory://",
    "flags": {
        "beta": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {"if": [{"==": [{"var": "ip"}, CLIENT]}, "on", "off"]},
        }
    },
    "routes": [{"path": "/", "serve": "app"}],
}


def scope_of_client() -> Scope:
    """A request as a server behind a trusted proxy hands it over."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/x",
        "raw_path": b"/x",
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"a"), (b"x-forwarded-for", CLIENT.encode())],
    }


async def test_asgi_knows_it_each_time() -> None:
    """The second request to a path is told of the same client as the first."""
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        decision = scope["understudy"]
        seen.append((decision.head.client_ip, decision.variant_of("beta")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_message: Any) -> None: ...

    understudy = Understudy(BY_ADDRESS)
    middleware = UnderstudyMiddleware(app, understudy=understudy)
    for _ in range(3):
        await middleware(scope_of_client(), receive, send)
    await understudy.stop()
    assert seen == [(CLIENT, "on")] * 3


def test_wsgi_knows_it_each_time(request: pytest.FixtureRequest) -> None:
    """As above."""
    seen: list[tuple[str, str]] = []

    def app(environ: Environ, start: Any) -> list[bytes]:
        decision = environ["understudy"]
        seen.append((decision.head.client_ip, decision.variant_of("beta")))
        start("200 OK", [])
        return [b""]

    middleware = UnderstudyWSGIMiddleware(app, BY_ADDRESS)
    request.addfinalizer(middleware.stop)
    for _ in range(3):
        environ: Environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/x",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "a",
            "HTTP_X_FORWARDED_FOR": CLIENT,
            "REMOTE_ADDR": "127.0.0.1",
        }
        assert list(middleware(environ, lambda *_: lambda _: None)) == [b""]
    assert seen == [(CLIENT, "on")] * 3


async def test_it_is_that_of_the_request_as_it_came() -> None:
    """Also when it is asked late, and the application has changed its scope and the list of fields."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["client"] = ("5.5.5.5", 5)
        scope["headers"][:] = [(b"host", b"a"), (b"x-forwarded-for", b"7.7.7.7")]
        seen.append(scope["understudy"].head.client_ip)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(_message: Any) -> None: ...

    understudy = Understudy(BY_ADDRESS)
    middleware = UnderstudyMiddleware(app, understudy=understudy)
    for _ in range(2):
        await middleware(scope_of_client(), receive, send)
    await understudy.stop()
    assert seen == [CLIENT] * 2


def test_it_is_known_while_the_middleware_is_off() -> None:
    """Flags may be asked then, too."""
    understudy = Understudy(BY_ADDRESS)
    scope = scope_of_client()
    leave(understudy.in_force, understudy.hop, scope)
    assert scope["understudy"].variant_of("beta") == "on"


def test_threads_that_ask_at_once_know_it() -> None:
    """One asks while another is finding it."""
    request = AsgiRequest(scope_of_client())
    others: list[str] = []

    def find(request: AsgiRequest) -> str:
        if not others:
            others.append("")
            others[0] = request.client_ip
        return CLIENT

    request.way = find
    assert (request.client_ip, others) == (CLIENT, [CLIENT])


@pytest.mark.parametrize(
    "odd",
    [{"scheme": None}, {"headers": [("host", "a")]}, {"headers": None}, {"client": ("testclient", 1)}],
    ids=["scheme", "text", "none", "name"],
)
def test_what_cannot_be_read_is_not_believed(odd: dict[str, Any]) -> None:
    """Whoever asks for the client of a scope that no server makes is told the peer, as of one not trusted."""
    understudy = Understudy(BY_ADDRESS)
    scope = {**scope_of_client(), **odd}
    request = AsgiRequest(scope)
    understudy.hop.believe(request, scope)
    assert [request.client_ip for _ in range(2)] == [scope["client"][0]] * 2
