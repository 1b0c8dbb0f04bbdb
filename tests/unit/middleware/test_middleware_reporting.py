"""The report of an application: it waits for the evidence that the store has, within a bound."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from middleware_world import configured, rules, served, until_told
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from wsgi_world import Environ, Start

from understudy.app.intake import Intake
from understudy.errors import StoreError
from understudy.middleware import Understudy, UnderstudyMiddleware, UnderstudyWSGIMiddleware
from understudy.testing import Receive, Script, ScriptedServer, answer

SAME: Script = [Receive(), answer(200, b"hi", [("Content-Type", "text/plain; charset=utf-8")])]


async def hello(_request: Request) -> PlainTextResponse:
    """What the shadow says too."""
    return PlainTextResponse("hi")


APP = Starlette(routes=[Route("/a", hello)])


class Gate:
    """Holds up every reading of evidence until it is ``open``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.is_met = asyncio.Event()
        load = Intake.load

        async def held(intake: Intake) -> None:
            self.is_met.set()
            await self.open.wait()
            await load(intake)

        monkeypatch.setattr(Intake, "load", held)


@pytest.fixture
async def left(tmp_path: Path) -> dict[str, Any]:
    """A configuration in whose SQLite store an application has left the evidence of three exchanges."""
    url = f"sqlite:///{tmp_path}/understudy.db"
    async with ScriptedServer(SAME, forever=True) as v2:
        config = configured({"v2": f"http://127.0.0.1:{v2.port}"}, shadow={"control": 0})
        config |= {**rules({"dark": {"mirror": ["v2"]}}, serves="dark"), "store": url}
        understudy = Understudy(config)
        app = UnderstudyMiddleware(APP, understudy=understudy)
        async with served(app) as at, httpx.AsyncClient(base_url=at, timeout=60) as client:
            for _ in range(3):
                assert (await client.get("/a")).text == "hi"
            await until_told(understudy, "exchanges", at_least=3)
    return config


async def test_a_report_at_the_start_waits_for_the_evidence(
    left: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules are in force before the evidence is read; the report is on the evidence all the same."""
    gate = Gate(monkeypatch)
    understudy = Understudy(left)
    await understudy.start()
    try:
        assert "shop" in understudy.in_force.rules.flags
        async with asyncio.TaskGroup() as tasks:
            report = tasks.create_task(understudy.report())
            await gate.is_met.wait()
            await asyncio.wait([report], timeout=0.05)
            assert not report.done()
            gate.open.set()
        assert report.result()["exchanges"] == 3
    finally:
        await understudy.stop()


async def test_evidence_that_does_not_come_is_an_error(
    left: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No report on nothing: it says that the evidence could not be read."""
    Gate(monkeypatch)
    monkeypatch.setattr("understudy.middleware.reporting.EVIDENCE_SECONDS", 0.05)
    monkeypatch.setattr("understudy.middleware.stage.LAST_BATCHES_SECONDS", 0.1)  # what hangs is cut off
    understudy = Understudy(left)
    await understudy.start()
    try:
        with pytest.raises(StoreError, match=r"no evidence was read from the store in 0\.05 s"):
            await understudy.report()
    finally:
        await understudy.stop()


async def test_the_first_report_of_a_wsgi_application_is_whole(left: dict[str, Any]) -> None:
    """Its thread is begun by the question itself."""

    def app(_environ: Environ, _start: Start) -> list[bytes]:
        raise AssertionError("nobody asks")

    middleware = UnderstudyWSGIMiddleware(app, left)
    try:
        assert (await asyncio.to_thread(middleware.report))["exchanges"] == 3
    finally:
        await asyncio.to_thread(middleware.stop)
