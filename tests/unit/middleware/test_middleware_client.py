"""aiohttp carries copies as the proxy's own client does."""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from middleware_world import configured, rules, served, until_told
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.testing import Receive, Script, ScriptedServer, answer


async def five(request: Request) -> Response:
    """The answer of every application here."""
    await request.body()
    return Response(b"5", headers={"X-Same": "1"}, media_type="text/plain")


APP = Starlette(routes=[Route("/{rest:path}", five, methods=["GET", "POST"])])
PLAIN = ("Content-Type", "text/plain; charset=utf-8")
FIELDS = "X-B: \u00fc\r\nAccept: */*\r\nX-A: 1\r\nX-A: 2\r\n"
PATH = "/a%2Fb//%7Ec/../d?q=%41+%20&q=;x"


def dark(url: str, **more: Any) -> dict[str, Any]:
    """Everybody's requests are rehearsed at *url*, POST too."""
    told = rules({"dark": {"mirror": ["v2"]}}, serves="dark", mirror_methods=["GET", "POST"])
    return {**configured({"v2": url}, **told), "request_id": "off", "shadow": {"control": 0}, **more}


async def copies(client: str, script: Script) -> tuple[list[bytes], Mapping[str, Any]]:
    """What the shadow is sent of two requests when *client* carries them, and the report."""
    async with ScriptedServer(script, forever=True) as shadow:
        understudy = Understudy(dark(shadow.url), client=client)
        app = UnderstudyMiddleware(APP, understudy=understudy)
        async with served(app) as url:
            host, port = url.removeprefix("http://").split(":")
            for method, body in (("GET", b""), ("POST", b"x" * 3000)):
                reader, writer = await asyncio.open_connection(host, int(port))
                head = f"{method} {PATH} HTTP/1.1\r\nHost: shop\r\n{FIELDS}"
                head += f"Content-Length: {len(body)}\r\n" if body else ""
                writer.write(head.encode() + b"Cookie: a=b\r\nConnection: close\r\n\r\n" + body)
                assert b"200" in await reader.readline()
                await reader.read()
                writer.close()
            report = await until_told(understudy, "exchanges", at_least=2)
        return [taken for connection in shadow.connections for taken in connection.taken], report


def comparable(copy: bytes, via: bytes = b"understudy-") -> tuple[bytes, list[bytes], bytes]:
    """Its line, its fields in order without the name of the hop, its body."""
    head, _, body = copy.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    return start, [line.partition(via)[0].lower() for line in lines], body


async def test_aiohttp_sends_what_the_own_client_sends() -> None:
    """Path and query as they are, fields in their order and none added, the body."""
    script: Script = [
        Receive(),
        answer(200, b"5", [("X-Same", "1"), PLAIN, ("Set-Cookie", "s=1")]),
    ]
    own, first = await copies("understudy", script)
    theirs, second = await copies("aiohttp", script)

    assert [comparable(copy) for copy in theirs] == [comparable(copy) for copy in own]
    assert own[0].startswith(f"GET {PATH} HTTP/1.1\r\n".encode())
    assert not any(b"cookie" in copy.lower() for copy in theirs)
    for report in (first, second):
        (finding,) = [found for endpoint in report["endpoints"] for found in endpoint["findings"]][:1]
        assert finding["path"] == "/headers/set-cookie/s"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([Receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n5", *[]], "failed"),
        ([Receive(), b"no HTTP at all\r\n\r\n"], "failed"),
    ],
    ids=["hung", "garbage"],
)
async def test_what_fails_is_counted(script: Script, reason: str) -> None:
    """Sent is answered and failed, whatever the shadow does."""
    async with ScriptedServer(script) as shadow:
        understudy = Understudy(dark(shadow.url, shadow={"timeout": "0.3s", "control": 0}), client="aiohttp")
        app = UnderstudyMiddleware(APP, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/x")).text == "5"
            async with asyncio.timeout(60):
                while not (mirror := (await understudy.report())["mirror"])[reason]:
                    await asyncio.sleep(0.02)

    assert mirror["eligible"] == mirror["sent"] == 1
    assert sum(mirror["failed"].values()) == 1


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies go to the configured address, as they do for the own client."""
    monkeypatch.setitem(os.environ, "HTTP_PROXY", "http://127.0.0.1:9")
    script: Script = [Receive(), answer(200, b"5", [("Location", "/elsewhere")])]
    async with ScriptedServer(script, forever=True) as shadow:
        understudy = Understudy(dark(shadow.url), client="aiohttp")
        app = UnderstudyMiddleware(APP, understudy=understudy)
        async with served(app) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            await client.get("/x")
            await until_told(understudy, "exchanges")

    assert len(shadow.connections) == 1


def test_an_unknown_client_is_refused() -> None:
    """With the names of those that are known."""
    with pytest.raises(ValueError, match="'curl' is not one of understudy, aiohttp"):
        Understudy(dark("http://127.0.0.1:9"), client="curl")
