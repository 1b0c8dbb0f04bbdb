"""The example applications under real servers: their cohorts, their pages, and the fault that is found."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers import Server, StartServer
from store_servers import free_port

from understudy.config import parse_settings, read_file
from understudy.middleware import Understudy
from understudy.middleware.request import AsgiRequest

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRON = {**os.environ, "COLUMNS": "120"}
USERS = [f"user-{number}" for number in range(120)]

Command = Callable[[int, Path], list[str]]


def uvicorn(port: int, folder: Path, app: str = "app:app") -> list[str]:
    """An ASGI application of *folder* under uvicorn."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return ["uvicorn", *address, "--no-access-log", "--app-dir", str(folder), app]


def gunicorn(port: int, folder: Path) -> list[str]:
    """A WSGI application of *folder* under gunicorn: two processes of four threads."""
    kind = ["--workers", "2", "--threads", "4", "--graceful-timeout", "5"]
    return ["gunicorn", *kind, "--bind", f"127.0.0.1:{port}", "--chdir", str(folder), "app:app"]


APPS: Mapping[str, Command] = {
    "starlette_app": uvicorn,
    "fastapi_app": uvicorn,
    "django_app": uvicorn,
    "litestar_app": uvicorn,
    "flask_app": gunicorn,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A running example."""

    url: str
    understudy: Understudy

    def variant(self, path: str, user: str) -> str:
        """What the rules say of one request, as this process reads them."""
        scope: dict[str, Any] = {
            "method": "GET",
            "path": path,
            "headers": [(b"cookie", f"uid={user}".encode())],
        }
        return self.understudy.decide(AsgiRequest(scope)).variant

    def client(self) -> httpx.AsyncClient:
        """Asks it."""
        return httpx.AsyncClient(base_url=self.url, timeout=60)


@pytest.fixture(scope="module")
def next_release(start_server: StartServer) -> Server:
    """The release with the fault, as the examples tell to start it."""
    port = free_port()
    command = uvicorn(port, EXAMPLES, "next_release:app")
    return start_server([sys.executable, "-m", *command], port=port)


@pytest.fixture(scope="module", params=APPS)
def shop(
    request: pytest.FixtureRequest,
    start_server: StartServer,
    next_release: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    """One example, with its own configuration but for the port of the next release and the store's file."""
    folder = EXAMPLES / request.param
    environ = {
        "UNDERSTUDY_SERVICES__SHOP_V2__URL": f"http://127.0.0.1:{next_release.port}",
        # A copy that is late, because the machine is busy, would be counted as failed.
        "UNDERSTUDY_SHADOW__TIMEOUT": "60s",
        "UNDERSTUDY_STORE": f"sqlite:///{tmp_path_factory.mktemp('store')}/understudy.db",
    }
    port = free_port()
    start_server([sys.executable, "-m", *APPS[request.param](port, folder)], port=port, environ=environ)
    settings = parse_settings(
        read_file(folder / "understudy.yaml"), base=folder, environ=environ, has_app=True
    )
    return Shop(url=f"http://127.0.0.1:{port}", understudy=Understudy(settings))


async def test_every_cohort_meets_its_release(shop: Shop) -> None:
    """Canaries are answered by the next release; who rehearses it, and everybody else, by the application."""
    met: dict[str, set[tuple[str, str]]] = {}
    async with shop.client() as client:
        for user in USERS:
            answer = await client.get("/products/3", headers={"Cookie": f"uid={user}"})
            assert answer.status_code == 200, answer.text
            kind = type(answer.json()["price"]).__name__
            met.setdefault(shop.variant("/products/3", user), set()).add((answer.headers["x-release"], kind))
    assert met == {"stable": {("1", "float")}, "dark": {("1", "float")}, "canary": {("2", "str")}}


async def test_every_user_sees_the_page_of_their_variant(shop: Shop) -> None:
    """The application branches on the same decision."""
    seen: dict[str, set[str]] = {}
    async with shop.client() as client:
        for user in USERS[:30]:
            page = await client.get("/", headers={"Cookie": f"uid={user}"})
            assert page.headers["content-type"].startswith("text/plain")
            seen.setdefault(shop.variant("/", user), set()).add(page.text)
    assert seen == {"classic": {"The shop"}, "new": {"The new shop"}}


async def test_the_report_finds_the_fault_and_no_other(shop: Shop) -> None:
    """A price that became a text is the regression; a time that always differs is none."""
    async with shop.client() as client:
        report = await reported(client)
    assert report["verdict"] == "regression"
    (endpoint,) = [one for one in report["endpoints"] if one["exchanges"]]
    found = {(one["path"], one["kind"]): one["verdict"] for one in endpoint["findings"]}
    assert endpoint["endpoint"] == "GET /products/{id}"
    assert found == {
        ("/body/price", "type"): "regression",
        ("/body/served_at", "value"): "noise",
        ("/headers/x-release", "header"): "ignored",
    }
    assert report["mirror"]["failed"] == {}


async def reported(client: httpx.AsyncClient) -> dict[str, Any]:
    """The report, once there is enough traffic for every verdict, and all of it is accounted for."""
    until = time.monotonic() + 100
    number = 0
    while True:
        for _ in range(100):
            number += 1
            cookie = {"Cookie": f"uid={USERS[number % len(USERS)]}"}
            (await client.get(f"/products/{number}", headers=cookie)).raise_for_status()
        report: dict[str, Any] = (await client.get("/report")).json()
        verdicts = [one["verdict"] for each in report["endpoints"] for one in each["findings"]]
        if len(verdicts) > 1 and "undecided" not in verdicts:
            break
        assert time.monotonic() < until, f"no verdicts: {report}"
        await asyncio.sleep(0.1)
    while not is_settled(report):
        assert time.monotonic() < until, f"not settled: {report['mirror']}"
        await asyncio.sleep(0.1)
        report = (await client.get("/report")).json()
    return report


def is_settled(report: Mapping[str, Any]) -> bool:
    """Whether every copy is accounted for, and every answer compared or passed over."""
    mirror = report["mirror"]
    left_out = sum((*mirror["skipped"].values(), *mirror["dropped"].values()))
    failed = sum(mirror["failed"].values())
    compared = report["exchanges"] + report["passed_over"]
    is_whole: bool = mirror["eligible"] == mirror["sent"] + left_out == mirror["answered"] + failed + left_out
    return is_whole and compared == mirror["answered"]


def test_a_function_written_anew_is_told_from_the_old() -> None:
    """Where its answers differ, where it raises, and what differs by itself."""
    command = [sys.executable, str(EXAMPLES / "scientist" / "invoice.py"), "400"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, env=ENVIRON)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout
    assert "new-invoice is not ready" in told
    assert "/__main__.invoice /body/tax  value regression" in told
    assert "ZeroDivisionError" in told
    assert "Quiet: 1 noise" in told
    assert "400 eligible" in told
    assert ended.stderr == ""
