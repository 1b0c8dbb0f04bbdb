"""What servers offer beyond ASGI itself, through the middleware: trailers, early hints, pushes, files.

And clients of HTTP/2 that reset what they have asked. The other service speaks HTTP/1.1, with hints and
trailers of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from http2_client import Client, Stream, connected
from served_shops import SERVERS, How, Shop, report, shop, until
from servers import ANSWER_SECONDS

from understudy.testing.http1 import answer, chunked

WAYS = ("free", "decided", "dark", "canary")
"""A route without a flag; one that is decided only; one that v2 rehearses; one that v2 serves."""

PLAIN = ("hypercorn-http1", "uvicorn", "gunicorn-asgi")
RESETTABLE = {
    "hypercorn": "client_aborted",
    "granian": "client_aborted",
    "gunicorn-asgi-http2": "client_aborted",
    "gunicorn-bottle-http2": "primary_failed",
}
"""Servers of HTTP/2, and what a request whose body is reset is booked as: in WSGI reading it raises."""
TIMES = 8
"""So many requests of each way are reset: what stays behind for each shows."""
PIECE = b"x" * 0x4000
FILE = bytes(range(256)) * 2000
"""More than goes into one write."""

RULES = """
flags:
  decided: {state: ENABLED, variants: {here: {serve: app}}, defaultVariant: here}
  dark: {state: ENABLED, variants: {dark: {mirror: [v2]}}, defaultVariant: dark}
  canary: {state: ENABLED, variants: {canary: {serve: v2}}, defaultVariant: canary}
routes:
  - {path: /decided/, flag: decided, unit: 'header:x-user'}
  - {path: /dark/, flag: dark, unit: 'header:x-user', mirror_methods: [GET, POST]}
  - {path: /canary/, flag: canary, unit: 'header:x-user'}
"""

OFFERING = {
    "hypercorn": ("early_hint", "push", "trailers"),
    "gunicorn-asgi-http2": ("priority", "trailers"),
}
"""What servers offer on HTTP/2."""

LINK = "</other.css>; rel=preload"
OTHER = answer(103, headers=[("Link", LINK)]) + chunked(
    [b'{"from":', b' "v2"}'], headers=[("Content-Type", "application/json")], trailers=[("X-Sum", "v2")]
)
"""The other service's answer to everything."""


def serving(name: str) -> How:
    """How the server of that *name* serves the application that uses what it offers."""
    how = SERVERS[name]
    command = tuple(part.replace("server_shops:app", "extension_shop:app") for part in how.command)
    return replace(how, command=command)


class Other:
    """Another service, which reads what is sent to ``read``, and answers ``endless`` without end."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1]
                if path in (b"/canary/read", b"/canary/endless"):
                    self.begun += 1
                    try:
                        await (self._read(reader) if path == b"/canary/read" else self._answer(writer))
                    finally:
                        self.ended += 1
                writer.write(OTHER)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n%b\r\n" % PIECE)
            await writer.drain()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A server under which the application runs, and its other service."""

    served: Shop
    other: Other

    def connected(self) -> AbstractAsyncContextManager[Client]:
        """A connection by HTTP/2."""
        return connected(self.served.server.port, tls=self.served.tls)

    def noted(self, what: str) -> int:
        """How often the application has noted that."""
        file = self.served.folder / "notes"
        return file.read_text().split().count(what) if file.exists() else 0


@asynccontextmanager
async def running(folder: Path, name: str) -> AsyncIterator[Asking]:
    """The application under the server of that name, which is ended in order."""
    (folder / "file").write_bytes(FILE)
    other = Other()
    async with await asyncio.start_server(other.serve, "127.0.0.1", 0) as listening:
        with shop(folder, listening.sockets[0].getsockname()[1], serving(name), RULES) as served:
            yield Asking(served=served, other=other)
            assert await asyncio.to_thread(served.server.stop) == served.how.status


async def asked(client: Client, path: str) -> Stream:
    """The answer to a GET from one who takes trailers."""
    return await client.open("GET", path, [("x-user", "someone"), ("te", "trailers")]).whole()


async def told(folder: Path, *, eligible: int) -> dict[str, Any]:
    """The report that the server has left, whose books are whole."""
    found = await asyncio.to_thread(lambda: report(folder, eligible=eligible))
    mirror = found["mirror"]
    books = {key: n if isinstance(n, int) else sum(n.values()) for key, n in mirror.items()}
    assert books["eligible"] == eligible == books["sent"] + books["skipped"] + books["dropped"], mirror
    assert books["sent"] == books["answered"] + books["failed"], mirror
    return found


def findings(found: dict[str, Any]) -> set[str]:
    """The paths at which answers differ."""
    return {finding["path"] for endpoint in found["endpoints"] for finding in endpoint["findings"]}


@pytest.mark.parametrize("name", OFFERING)
async def test_trailers_come_after_the_body(tmp_path: Path, name: str) -> None:
    """An application's trailers reach its client, mirrored or not; those of a canary's service do not."""
    async with running(tmp_path, name) as asking, asking.connected() as client:
        streams = {way: await asked(client, f"/{way}/trailers") for way in WAYS}
    found = await told(tmp_path, eligible=1)

    canary = streams.pop("canary")
    assert (json.loads(canary.body), canary.trailers) == ({"from": "v2"}, {})
    for stream in streams.values():
        assert stream.fields["x-offers"] == ",".join(OFFERING[name])
        assert json.loads(stream.body) == {"from": "app"}
        assert stream.trailers == {"x-sum": "app"}
    assert found["exchanges"] == 1
    assert findings(found) == {"/body/from", "/headers/x-offers"}


async def test_early_hints_come_before_the_answer(tmp_path: Path) -> None:
    """The application's hints and those of a canary's service reach the client, each once."""
    async with running(tmp_path, "hypercorn") as asking, asking.connected() as client:
        streams = {way: await asked(client, f"/{way}/hint") for way in WAYS}
    found = await told(tmp_path, eligible=1)

    app = "</style.css>; rel=preload"
    links = {way: [hint.get("link") for hint in stream.hints] for way, stream in streams.items()}
    assert links == {"free": [app], "decided": [app], "dark": [app], "canary": [LINK]}
    assert {way: json.loads(stream.body)["from"] for way, stream in streams.items()} == {
        **dict.fromkeys(WAYS, "app"),
        "canary": "v2",
    }
    assert found["exchanges"] == 1
    assert findings(found) == {"/body/from", "/headers/x-offers"}


async def test_a_pushed_request_is_one_as_any(tmp_path: Path) -> None:
    """What a server asks itself, for a push, is decided and mirrored by its own path."""
    async with running(tmp_path, "hypercorn") as asking, asking.connected() as client:
        first = [await asked(client, f"/{way}/push") for way in ("free", "dark")]
        pushed = [await stream.whole() for asker in first for stream in asker.pushed]
    found = await told(tmp_path, eligible=3)

    assert [json.loads(stream.body) for stream in first] == [{"from": "app"}] * 2
    assert [json.loads(stream.body) for stream in pushed] == [{"from": "app", "is_pushed": True}] * 2
    exchanges = {endpoint["endpoint"]: endpoint["exchanges"] for endpoint in found["endpoints"]}
    assert exchanges == {"GET /dark/push": 1, "GET /dark/pushed": 2}


@pytest.mark.parametrize("speaks", [1, 2])
async def test_a_file_that_the_server_sends_comes_whole(tmp_path: Path, speaks: int) -> None:
    """The server sends it, mirrored or not; what is not seen here is not compared, and booked so."""
    async with running(tmp_path, "granian") as asking:
        answers = await files(asking, speaks)
    found = await told(tmp_path, eligible=2)

    canary = answers.pop("canary")
    assert json.loads(canary[1]) == {"from": "v2"}
    assert answers == dict.fromkeys(WAYS[:3], ("pathsend", FILE))
    assert found["exchanges"] == 1
    assert {endpoint["endpoint"] for endpoint in found["endpoints"]} == {"GET /dark/hint"}


async def files(asking: Asking, speaks: int) -> dict[str, tuple[str, bytes]]:
    """What the server offers, and the file, by each way; one more request is compared."""
    paths = {way: f"/{way}/file" for way in WAYS} | {"last": "/dark/hint"}
    url = f"http://127.0.0.1:{asking.served.server.port}"
    if speaks == 1:
        async with httpx.AsyncClient(base_url=url, timeout=60) as http1:
            whole = {way: await http1.get(path) for way, path in paths.items()}
        answers = {way: (got.headers.get("x-offers", ""), got.content) for way, got in whole.items()}
    else:
        async with asking.connected() as http2:
            streams = {way: await asked(http2, path) for way, path in paths.items()}
        answers = {way: (got.fields.get("x-offers", ""), got.body) for way, got in streams.items()}
    assert json.loads(answers.pop("last")[1]) == {"from": "app"}
    return answers


async def test_what_gunicorn_offers_in_wsgi_passes(tmp_path: Path) -> None:
    """An application's hints and trailers reach its client; of a canary's service the hints do."""
    async with running(tmp_path, "gunicorn-bottle-http2") as asking, asking.connected() as client:
        hinted = {way: await asked(client, f"/{way}/hint") for way in WAYS}
        trailed = {way: await asked(client, f"/{way}/trailers") for way in WAYS}
    found = await told(tmp_path, eligible=2)

    links = [[hint["link"] for hint in hinted[way].hints] for way in WAYS]
    assert links == [["</style.css>; rel=preload"]] * 3 + [[LINK]]
    assert [trailed[way].trailers for way in WAYS] == [{"x-sum": "app"}] * 3 + [{}]
    for streams in (hinted, trailed):
        assert [json.loads(streams[way].body)["from"] for way in WAYS] == ["app", "app", "app", "v2"]
    assert found["exchanges"] == 2
    assert findings(found) == {"/body/from"}


@pytest.mark.parametrize("name", PLAIN)
async def test_what_is_not_offered_is_left_out(tmp_path: Path, name: str) -> None:
    """On HTTP/1.1 no server takes hints or trailers: those of a canary's service are left out."""
    async with running(tmp_path, name) as asking, httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
        url = f"http://127.0.0.1:{asking.served.server.port}"
        answers = {way: await client.get(f"{url}/{way}/hint", headers={"te": "trailers"}) for way in WAYS}
    found = await told(tmp_path, eligible=1)

    assert answers.pop("canary").json() == {"from": "v2"}
    assert {way: got.headers["x-offers"] for way, got in answers.items()} == dict.fromkeys(WAYS[:3], "")
    assert [got.json() for got in answers.values()] == [{"from": "app"}] * 3
    assert found["exchanges"] == 1


# -- clients that reset what they have asked --------------------------------------------------------------


async def all_answer(client: Client) -> dict[str, int]:
    """Ask each way for what is answered at once; what the application holds then."""
    answers = {way: json.loads((await asked(client, f"/{way}/hint")).body)["from"] for way in WAYS}
    assert answers == {**dict.fromkeys(WAYS, "app"), "canary": "v2"}
    return await held(client)


async def held(client: Client) -> dict[str, int]:
    """What the application's process holds."""
    told: dict[str, int] = json.loads((await asked(client, "/free/held")).body)
    return told


async def until_so(is_so: Callable[[], object], what: str) -> None:
    """Wait for *is_so* beside this loop."""
    await asyncio.to_thread(until, is_so, what)


async def until_let_go(client: Client, before: dict[str, int]) -> None:
    """Wait until the process holds what it held *before*, and nothing for each request that was reset."""
    limit = asyncio.get_running_loop().time() + ANSWER_SECONDS
    while True:
        now = await held(client)
        if all(now[what] < before[what] + TIMES // 2 for what in before):
            return
        assert asyncio.get_running_loop().time() < limit, (before, now)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", RESETTABLE)
async def test_a_body_that_is_reset_ends_there(tmp_path: Path, name: str) -> None:
    """Application and service are told, nothing is kept, the connection serves on, the books are whole."""
    async with running(tmp_path, name) as asking, asking.connected() as client:
        before = await all_answer(client)
        for at, way in enumerate(WAYS * TIMES):
            stream = client.open("POST", f"/{way}/read", [("x-user", "someone")], has_body=True)
            await client.send(stream, PIECE)
            await until_so(lambda: asking.other.begun + asking.noted("begun") > at, way)  # noqa: B023  over before *at* is another
            client.reset(stream)
        await until_so(lambda: asking.other.ended == TIMES, "the service is left")
        await until_so(lambda: asking.noted("left") == TIMES * 3, "the application is left")
        await all_answer(client)
        await until_let_go(client, before)
    found = await told(tmp_path, eligible=TIMES + 2)

    assert found["mirror"]["skipped"] == {RESETTABLE[name]: TIMES}
    assert found["exchanges"] == 2


@pytest.mark.parametrize("name", RESETTABLE)
async def test_an_answer_that_is_reset_ends_there(tmp_path: Path, name: str) -> None:
    """As a body that is, also while the server waits for a window that its client does not open."""
    async with running(tmp_path, name) as asking, asking.connected() as client:
        before = await all_answer(client)
        for at, way in enumerate(WAYS * TIMES):
            stream = client.open("GET", f"/{way}/endless", [("x-user", "someone")])
            stream.takes = at % 8 < 4
            await stream.until_body(len(PIECE) * 2)
            client.reset(stream)
        await until_so(lambda: asking.other.ended == TIMES, "the service is left")
        await until_so(lambda: asking.noted("left") == TIMES * 3, "the application is left")
        await all_answer(client)
        await until_let_go(client, before)
    found = await told(tmp_path, eligible=TIMES + 2)

    assert found["exchanges"] == 2
