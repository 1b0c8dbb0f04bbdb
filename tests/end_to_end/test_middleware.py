"""An application with the middleware beside a running proxy: one brain, one report."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from serve_world import PATIENCE_SECONDS, wait_until
from servers import Serving, UnderstudyServe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

sys.path.append(str(Path(__file__).parents[1] / "unit" / "middleware"))
from middleware_world import served

from understudy.config import read_file
from understudy.errors import ConfigError
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import AsgiRequest
from understudy.testing import Receive, Script, ScriptedServer, answer

RULES = """
store: sqlite:///understudy.db
services:
  app: {{url: 'http://127.0.0.1:{app}'}}
  v2: {{url: 'http://127.0.0.1:{v2}'}}
flags:
  shop:
    state: ENABLED
    variants: {{stable: {{serve: app}}, canary: {{serve: v2}}, dark: {{serve: app, mirror: [v2]}}}}
    defaultVariant: stable
    targeting: {{fractional: [[canary, 20], [dark, 50], [stable, 30]]}}
routes: [{{path: /, flag: shop, unit: 'header:x-user'}}]
shadow: {{control: 0, timeout: 60s, in_flight: 1024}}
"""


FOUND = [
    ("GET /price", "/body/total", "value"),
    ("GET /price", "/headers/x-served-by", "header"),
    ("GET /same", "/headers/x-served-by", "header"),
]


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications that are configured in place leave the last good rules in the present folder."""
    monkeypatch.chdir(tmp_path)


def shop(version: int) -> Starlette:
    """Every version has its own price at /price, and its name in a field."""

    async def orders(request: Request) -> Response:
        total = version if request.url.path == "/price" else 1
        return JSONResponse({"total": total}, headers={"X-Served-By": "v1" if version == 1 else "v2"})

    return Starlette(routes=[Route("/{rest:path}", orders)])


def findings(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Where the versions differ."""
    return sorted(
        (endpoint["endpoint"], found["path"], found["kind"])
        for endpoint in report["endpoints"]
        for found in endpoint["findings"]
    )


async def answers(client: httpx.AsyncClient, users: int) -> list[tuple[int, str, bytes]]:
    """What each user gets: status, which version it was, the body."""
    got = []
    for user in range(users):
        one = await client.get("/price" if user % 2 else "/same", headers={"X-User": f"user-{user}"})
        got.append((one.status_code, one.headers["x-served-by"], one.content))
    return got


def start(understudy_serve: UnderstudyServe, app: str, v2: str) -> Serving:
    """A proxy between the two."""
    ports = {name: url.rpartition(":")[2] for name, url in (("app", app), ("v2", v2))}
    return understudy_serve(RULES.format(**ports))


async def test_proxy_and_middleware_decide_alike(understudy_serve: UnderstudyServe) -> None:
    """The same users meet the same versions, and the same is found, through either front door."""
    async with served(shop(1)) as plain, served(shop(2)) as v2:
        serving = await asyncio.to_thread(start, understudy_serve, plain, v2)
        understudy = Understudy({**configuration_of(serving), "store": "memory://"})
        async with served(UnderstudyMiddleware(shop(1), understudy=understudy)) as url:
            async with (
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{serving.proxy_port}", timeout=60) as proxied,
                httpx.AsyncClient(base_url=url, timeout=60) as inside,
            ):
                assert await answers(inside, 200) == await answers(proxied, 200)
            copies = sum(is_rehearsed(user, understudy) for user in range(200))
            assert copies > 50
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    mine, theirs = await understudy.report(), await asyncio.to_thread(serving.report)
                    if is_settled(mine, copies) and is_settled(theirs, copies):
                        break
                    await asyncio.sleep(0.1)

    assert findings(mine) == findings(theirs) == FOUND
    assert (mine["matched"], mine["mirror"]["sent"]) == (theirs["matched"], theirs["mirror"]["sent"])


def is_rehearsed(user: int, understudy: Understudy) -> bool:
    """Whether requests of *user* are mirrored."""
    scope = {"method": "GET", "path": "/", "headers": [(b"x-user", f"user-{user}".encode())]}
    return understudy.decide(AsgiRequest(scope)).variant == "dark"


def is_settled(report: dict[str, Any], copies: int) -> bool:
    """Whether so many copies were due, and all are compared."""
    mirror = report["mirror"]
    return bool(mirror["eligible"] == mirror["answered"] == report["exchanges"] == copies)


WIRE = (
    "POST /a%2Fb//~c?q=%41&x=+ HTTP/1.1\r\nHost: shop.example\r\n"
    "X-User: ann\r\nX-A: 1\r\nX_A: 2\r\nX-A: 3\r\nX-Latin: \u00fc\r\n"
    "Cookie: a=b\r\nAuthorization: Bearer t\r\nX-Understudy-Variant: mine\r\nForwarded: for=1.2.3.4\r\n"
    "X-Request-Id: 7\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    "Te: trailers\r\nContent-Length: 3000\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n"
).encode("latin-1") + bytes(range(250)) * 12


async def test_copies_are_the_same_bytes(understudy_serve: UnderstudyServe) -> None:
    """Through either front door, but for the case of names, the hop's own name and the span of the trace."""

    async def read(request: Request) -> Response:
        return Response(await request.body())

    inner = Starlette(routes=[Route("/{rest:path}", read, methods=["POST"])])
    script: Script = [Receive(), answer(200, b"no")]
    async with ScriptedServer(script, forever=True) as shadow, served(inner) as plain:
        config = RULES.format(app=plain.rpartition(":")[2], v2=shadow.port)
        config = config.replace("stable: {serve: app}", "stable: {serve: app, mirror: [v2]}")
        config = config.replace("[canary, 20], [dark, 50], [stable, 30]", "[stable, 1], [dark, 0]")
        config = config.replace("'header:x-user'", "'header:x-user', mirror_methods: [POST]")
        serving = await asyncio.to_thread(understudy_serve, config)
        understudy = Understudy({**configuration_of(serving), "store": "memory://"})
        async with served(UnderstudyMiddleware(inner, understudy=understudy)) as url:
            for port in (int(url.rpartition(":")[2]), serving.proxy_port):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(WIRE)
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await reader.read()
                writer.close()
                await shadow.until(lambda: taken(shadow))
            await shadow.until(lambda: len(taken(shadow)) == 2)

    mine, theirs = [comparable(copy) for copy in taken(shadow)]
    assert mine == theirs
    assert any(line.startswith(b"x-understudy-shadow") for line in mine[1])


def taken(shadow: ScriptedServer) -> list[bytes]:
    """Every copy."""
    return [copy for connection in shadow.connections for copy in connection.taken]


def comparable(copy: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Its line, its fields in order, its body; without what names the hop or the span."""
    head, _, body = copy.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    fields = [(line.partition(b":")[0].lower(), line.partition(b":")[2]) for line in lines]
    cut = {b"via": b" 1.1 understudy-", b"traceparent": b" 00-0af7651916cd43dd8448eb211c80319c-"}
    for name, value in fields:
        assert value.startswith(cut.get(name, b""))
    return start, [name + cut.get(name, value) for name, value in fields], body


def configuration_of(serving: Serving) -> dict[str, Any]:
    """What *serving* runs by, but for its addresses."""
    found = read_file(serving.folder / "understudy.yaml")
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if key not in ("listen", "admin")}


async def test_a_control_process_is_followed_and_told(understudy_serve: UnderstudyServe) -> None:
    """Its kill switch is in force in the application; the application's evidence stands in its report."""
    async with served(shop(1)) as plain, served(shop(2)) as v2:
        serving = await asyncio.to_thread(start, understudy_serve, plain, v2)
        admin = f"http://127.0.0.1:{serving.admin_port}"
        config = {
            "services": {"v2": {"url": v2}},
            "shadow": {"control": 0, "timeout": "60s", "in_flight": 1024},
        }
        understudy = Understudy(config, admin=admin)
        async with (
            served(UnderstudyMiddleware(shop(1), understudy=understudy)) as url,
            httpx.AsyncClient(base_url=url, timeout=60) as client,
        ):
            assert {served_by for _, served_by, _ in await answers(client, 100)} == {"v1", "v2"}
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    mine, report = await understudy.report(), await asyncio.to_thread(serving.report)
                    if report["exchanges"] == mine["exchanges"] == mine["mirror"]["eligible"] > 20:
                        break
                    await asyncio.sleep(0.1)
            killed = await asyncio.to_thread(
                lambda: serving.admin("/api/v1/flags/shop/kill", method="POST", body={"reason": "a drill"})
            )
            assert killed.status == 200
            async with asyncio.timeout(PATIENCE_SECONDS):
                while understudy.in_force.version != 2:
                    await asyncio.sleep(0.05)
            assert {served_by for _, served_by, _ in await answers(client, 100)} == {"v1"}

    assert findings(report) == FOUND
    found = [found for endpoint in report["endpoints"] for found in endpoint["findings"]]
    samples = [sample for one in found for sample in one["samples"]]
    assert samples
    deleted = await asyncio.to_thread(lambda: forget(serving, units()))
    assert deleted == len(samples)


def units() -> list[str]:
    """Whoever asked."""
    return [f"user-{user}" for user in range(100)]


def forget(serving: Serving, names: list[str]) -> int:
    """How many samples of these units there were: samples of the application are named as the proxy's are."""
    return sum(
        serving.admin(f"/api/v1/samples?unit={name}", method="DELETE").json()["deleted"] for name in names
    )


def test_evidence_is_added_once_and_only_if_it_is_some(understudy_serve: UnderstudyServe) -> None:
    """A batch that is sent again adds nothing; a mistaken one is refused with its place."""
    serving = start(understudy_serve, "http://127.0.0.1:9", "http://127.0.0.1:9")
    counts = [["exchange", "v2", "GET /x", "exchanges", 3], ["exchange", "v2", "GET /x", "matched", 3]]
    batch: dict[str, Any] = {"source": "asgi-1", "sequence": 1, "counts": counts, "samples": []}

    def post(**changed: Any) -> tuple[int, Any]:
        answer = serving.admin("/api/v1/evidence", method="POST", body={**batch, **changed})
        body = answer.json()
        return answer.status, body.get("added", body.get("detail"))

    assert post() == (200, True)
    assert post() == (200, False)
    wait_until(lambda: serving.report()["exchanges"] == 3, "it is counted")
    mistakes: list[tuple[dict[str, object], str]] = [
        ({"sequence": 0}, "sequence: a whole number"),
        ({"counts": [["exchange", "v2", 3]]}, "counts[0]: 'exchange' with 2 words"),
        ({"counts": [["exchange", "v2", "GET /x", "exchanges", -1]]}, "counts[0]: the number is whole"),
        ({"samples": [{}]}, "samples[0]: an object of"),
        ({"source": ""}, "source: 1 to 200"),
    ]
    for changed, words in mistakes:
        status, detail = post(**changed)
        assert (status, words in detail) == (400, True), detail
    assert serving.report()["exchanges"] == 3


@pytest.mark.parametrize(
    ("admin", "words"),
    [
        ("http://10.0.0.1:9090", "in the clear"),
        ("127.0.0.1:9090", "no admin API"),
        ("http://a/b", "no admin API"),
    ],
)
def test_a_token_goes_to_nobody_else(admin: str, words: str) -> None:
    """An address that is none, or would be reached in the clear, is refused at once."""
    with pytest.raises(ConfigError, match=words):
        Understudy({}, admin=admin, token="secret")
