"""Who met which variant in an ASGI application: counted whole, kept by unit when asked for, in the store."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from met_world import configuration, forget, patient_ends, stored, until_stored
from middleware_world import served, until_told
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from understudy.errors import StoreError
from understudy.messages import RequestHead
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.rehearsing import rehearsing
from understudy.store import Exposures
from understudy.store.sqlite import SqliteStore
from understudy.testing import Receive, Script, ScriptedServer, answer

__all__ = ["patient_ends"]

SAME: Script = [Receive(), answer(200, b"hi", [("Content-Type", "text/plain; charset=utf-8")])]
EVERYBODY = ("ann", "zelda-4711", "carl", "cora", "dan", "dan", "ann")
MET = {("shop", "stable"): 3, ("shop", "canary"): 2, ("shop", "dark"): 2}


async def hello(_request: Request) -> PlainTextResponse:
    """What the service says too."""
    return PlainTextResponse("hi")


def asking(request: Request) -> PlainTextResponse:
    """In a thread of Starlette's: every kind of question, for flags of every kind."""
    decision = request.state.understudy
    assert decision.is_enabled("new_cart") == (decision.unit == "ann")
    assert decision.variant_of("colour") == "blue"
    assert decision.value("colour") == "#00f"
    assert decision.variant_of("shop") == "stable"
    assert decision.evaluate("shop").variant == "stable"
    assert decision.value("none", 1) == 1
    assert decision.value("missing", 2) == 2
    return PlainTextResponse("hi")


async def broken(_request: Request) -> PlainTextResponse:
    """No answer."""
    raise RuntimeError("broken")


def app() -> Starlette:
    """Answers as the service does."""
    return Starlette(routes=[Route("/ask", asking), Route("/broken", broken), Route("/{rest:path}", hello)])


@pytest.fixture
async def service() -> AsyncIterator[ScriptedServer]:
    """The canary, and the shadow."""
    async with ScriptedServer(SAME, forever=True) as server:
        yield server


async def ask(url: str, users: Sequence[str], path: str = "/a") -> list[int]:
    """The statuses that *users* get."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return [(await client.get(path, headers={"X-User": user})).status_code for user in users]


async def after(config: dict[str, Any], users: Sequence[str], path: str = "/a") -> tuple[Any, Any]:
    """What an application has left in the store: evaluations and units."""
    async with served(UnderstudyMiddleware(app(), config)) as url:
        await ask(url, users, path)
    return await stored(config)


async def test_every_decided_request_counts(tmp_path: Path, service: ScriptedServer) -> None:
    """Answered here or by another service, mirrored or not, by the variant that was met; no unit is kept."""
    config = configuration(tmp_path, service.url)
    assert await after(config, EVERYBODY) == (MET, {})


async def test_a_route_without_a_flag_counts_nothing(tmp_path: Path, service: ScriptedServer) -> None:
    """Also the second time, when its decision is remembered."""
    assert await after(configuration(tmp_path, service.url), ["ann", "ann"], "/plain") == ({}, {})


async def test_usage_is_told_while_the_application_runs(
    tmp_path: Path, service: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again and again, not at the end alone."""
    monkeypatch.setattr("understudy.app.exposures.FLUSH_SECONDS", 0.05)
    config = configuration(tmp_path, service.url)
    async with served(UnderstudyMiddleware(app(), config)) as url:
        await ask(url, ["ann"] * 3)
        await until_stored(config, {("shop", "stable"): 3})
        await ask(url, ["ann"] * 2)
        await until_stored(config, {("shop", "stable"): 5})


async def test_a_request_without_an_answer_counts(tmp_path: Path, service: ScriptedServer) -> None:
    """The application raises: whoever asked has met the variant."""
    config = configuration(tmp_path, service.url)
    assert (await after(config, ["ann", "dan"], "/broken"))[0] == {("shop", "stable"): 1, ("shop", "dark"): 1}


async def test_a_fallback_is_met_as_what_it_is(tmp_path: Path) -> None:
    """The canary's service is out: the default variant is met, before and after its origin is ejected."""
    config = configuration(tmp_path, "http://127.0.0.1:9")
    config["services"]["v2"]["eject"] = {"failures": 2}
    async with served(UnderstudyMiddleware(app(), config)) as url:
        assert await ask(url, ["carl"] * 4) == [200] * 4
    assert await stored(config) == ({("shop", "stable"): 4}, {})


async def test_flags_that_the_application_asks_for_are_met(tmp_path: Path, service: ScriptedServer) -> None:
    """Each question that gave a variant, as over OFREP; that of the route was counted with the request."""
    config = configuration(tmp_path, service.url, exposures={"sample": 1.0})
    counts, units = await after(config, ["ann", "ann", "bob", ""], "/ask")
    assert counts == {
        ("shop", "stable"): 4,
        ("new_cart", "on"): 2,
        ("new_cart", "off"): 2,
        ("colour", "blue"): 8,
    }
    assert units == {
        ("shop", "stable"): 2,
        ("new_cart", "on"): 1,
        ("new_cart", "off"): 1,
        ("colour", "blue"): 2,
    }


async def test_units_are_kept_when_asked_for_and_forgotten(tmp_path: Path, service: ScriptedServer) -> None:
    """As keyed hashes, each once for a variant; one is forgotten, the counts stay."""
    config = configuration(tmp_path, service.url, exposures={"sample": 1.0})
    units = {("shop", "stable"): 2, ("shop", "canary"): 2, ("shop", "dark"): 1}
    assert await after(config, EVERYBODY) == (MET, units)
    text = b"".join(path.read_bytes() for path in tmp_path.glob("understudy.db*"))
    assert b"zelda" not in text

    assert await forget(config, "carl") == 1
    assert await stored(config) == (MET, {**units, ("shop", "canary"): 1})


async def test_the_unit_of_a_canary_is_the_one_that_was_decided_by(
    tmp_path: Path, service: ScriptedServer
) -> None:
    """Behind a trusted proxy that is the client's address, not the proxy's."""
    config = configuration(tmp_path, service.url, exposures={"sample": 1.0}, trusted_proxies=["127.0.0.1"])
    config["routes"] = [{"path": "/", "flag": "shop", "unit": "ip"}]
    config["flags"]["shop"] |= {"defaultVariant": "canary", "targeting": None}
    async with (
        served(UnderstudyMiddleware(app(), config)) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        for number in range(3):
            await client.get("/a", headers={"X-Forwarded-For": f"203.0.113.{number}"})
    assert await stored(config) == ({("shop", "canary"): 3}, {("shop", "canary"): 3})


async def test_a_control_has_met_nothing(tmp_path: Path, service: ScriptedServer) -> None:
    """The application is asked once more for it, in the client's name: what it asks then counts no more."""
    config = configuration(tmp_path, service.url, shadow={"control": 1.0})
    config["flags"]["shop"] |= {"defaultVariant": "dark", "targeting": None}
    asked = 0

    async def shop(request: Request) -> PlainTextResponse:
        nonlocal asked
        asked += 1
        return PlainTextResponse(request.state.understudy.value("colour"))

    understudy = Understudy(config)
    inner = Starlette(routes=[Route("/a", shop)])
    async with served(UnderstudyMiddleware(inner, understudy=understudy)) as url:
        await ask(url, ["ann"] * 3)
        await until_told(understudy, "exchanges", at_least=3)
    assert asked >= 6
    assert await stored(config) == ({("shop", "dark"): 3, ("colour", "blue"): 3}, {})


async def test_a_candidate_has_met_nothing(tmp_path: Path, service: ScriptedServer) -> None:
    """What a rehearsing function asks in its caller's name is nobody's."""
    config = configuration(tmp_path, service.url)

    async def shop(request: Request) -> PlainTextResponse:
        rehearsing.set(True)
        return PlainTextResponse(request.state.understudy.value("colour"))

    inner = Starlette(routes=[Route("/a", shop)])
    async with served(UnderstudyMiddleware(inner, config)) as url:
        await ask(url, ["ann"])
    assert await stored(config) == ({("shop", "stable"): 1}, {})


async def test_who_asks_without_a_request_has_met_the_variant(
    tmp_path: Path, service: ScriptedServer
) -> None:
    """`Understudy.decide`, in any thread, once it has started; before that there is nobody to tell."""
    config = configuration(tmp_path, service.url)
    understudy = Understudy(config)
    head = RequestHead(path="/a", host="h", headers=((b"x-user", b"carl"),))
    assert understudy.decide(head).variant == "canary"
    await understudy.start()
    decision = await asyncio.to_thread(understudy.decide, head)
    assert (decision.variant, decision.value("colour")) == ("canary", "#00f")
    await understudy.stop()
    assert await stored(config) == ({("shop", "canary"): 1, ("colour", "blue"): 1}, {})


async def test_a_store_that_is_away_gets_it_all_later(
    tmp_path: Path, service: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and what it took without saying so counts once."""
    add = SqliteStore.add_exposures
    failures = ["away", "late", "away"]

    async def frail(store: SqliteStore, exposures: Exposures, *, batch: str) -> bool:
        failure = failures.pop() if failures else ""
        if failure == "away":
            raise StoreError("store: away")
        is_new = await add(store, exposures, batch=batch)
        if failure:
            raise StoreError("store: no answer")
        return is_new

    monkeypatch.setattr(SqliteStore, "add_exposures", frail)
    monkeypatch.setattr("understudy.app.exposures.FLUSH_SECONDS", 0.05)
    config = configuration(tmp_path, service.url)
    async with served(UnderstudyMiddleware(app(), config)) as url:
        await ask(url, EVERYBODY)
        await until_stored(config, MET)
        await ask(url, EVERYBODY)
        await until_stored(config, {key: 2 * n for key, n in MET.items()})
    assert not failures


async def test_what_finds_no_room_is_counted(
    tmp_path: Path, service: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units do; evaluations need none."""
    monkeypatch.setattr("understudy.app.exposures.MOST_WAITING", 2)
    registry = CollectorRegistry()
    config = configuration(tmp_path, service.url, exposures={"sample": 1.0})
    understudy = Understudy(config, registry=registry)
    await understudy.start()
    for number in range(5):
        head = RequestHead(path="/a", host="h", headers=((b"x-user", b"u%d" % number),))
        understudy.decide(head)
    async with asyncio.timeout(60):
        while registry.get_sample_value("understudy_exposures_dropped_total", {"reason": "full"}) != 3.0:
            await asyncio.sleep(0.02)
    await understudy.stop()
    assert await stored(config) == ({("shop", "stable"): 5}, {("shop", "stable"): 2})


async def test_what_no_store_was_there_for_is_counted_and_told(
    tmp_path: Path,
    service: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It was away from the start to the end."""
    monkeypatch.setattr("understudy.middleware.stage.RULES_SECONDS", 0.3)
    config = configuration(tmp_path, service.url, store="redis://127.0.0.1:1", exposures={"sample": 1.0})
    understudy = Understudy(config)
    await understudy.start()
    stage = understudy.stage
    assert stage is not None
    for user in (b"u1", b"u2", b"u3"):
        understudy.decide(RequestHead(path="/a", host="h", headers=((b"x-user", user),)))
    await understudy.stop()

    assert stage.metrics.exposures_dropped == {"full": 0, "unstored": 3}
    assert "usage does not tell of the last 3 evaluations, which were not stored: store" in caplog.text


async def test_a_scope_that_cannot_be_read_does_no_harm(tmp_path: Path, service: ScriptedServer) -> None:
    """Without fields: the application answers, the request counts, its unit is dropped."""
    config = configuration(tmp_path, service.url, exposures={"sample": 1.0})
    config["flags"]["shop"] |= {"targeting": None}
    understudy = Understudy(config)
    middleware = UnderstudyMiddleware(app(), understudy=understudy)
    await understudy.start()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/a",
        "query_string": b"",
        "headers": None,
    }
    await middleware(scope, receive, send)
    await understudy.stop()
    assert sent[0]["status"] == 200
    assert await stored(config) == ({("shop", "stable"): 1}, {})
