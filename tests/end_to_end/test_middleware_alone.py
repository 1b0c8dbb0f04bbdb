"""An application that starts while its store or control process is away: it has its last good rules."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serve_world import PATIENCE_SECONDS, control_of
from servers import Server as Started
from servers import Serving, UnderstudyServe
from store_servers import Server, postgres_server, redis_server

from understudy.errors import StoreError
from understudy.middleware import Understudy, stage
from understudy.middleware.request import AsgiRequest

SERVED = """
store: {store}
services: {{app: {{url: 'http://127.0.0.1:9'}}}}
flags: {flags}
routes: {routes}
"""

START_SECONDS = 20.0
"""What a busy machine may make of the two seconds that a start takes with everything away."""


def document(serves: str = "canary", **more: Any) -> dict[str, Any]:
    """Everybody meets *serves*."""
    flag = {
        "state": "ENABLED",
        "variants": {name: {"serve": "app"} for name in ("stable", "canary", "seed")},
        "defaultVariant": serves,
        "metadata": {"safeVariant": "stable"},
    }
    return {"flags": {"shop": flag}, "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}], **more}


def configured(folder: Path, store: Any, **more: Any) -> Path:
    """A configuration file in *folder* whose seed serves ``seed``."""
    file = folder / "understudy.yaml"
    file.write_text(json.dumps({"store": store, "services": {}, **document("seed"), **more}))
    return file


def met(understudy: Understudy) -> str | None:
    head = AsgiRequest({"method": "GET", "path": "/", "headers": [(b"cookie", b"uid=ann")]})
    return understudy.decide(head).variant


async def until(is_so: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < limit, what
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def started(config: Path, **named: Any) -> AsyncIterator[tuple[Understudy, float]]:
    """An application's Understudy, and how long its start took."""
    understudy = Understudy(config, **named)
    before = time.monotonic()
    await understudy.start()
    try:
        yield understudy, time.monotonic() - before
    finally:
        await understudy.stop()


async def put(understudy: Understudy, rules: dict[str, Any]) -> int:
    """Store *rules* as the next version, as soon as the store takes it."""
    assert understudy.stage is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(StoreError):
                return await understudy.stage.put_rules(rules, author="ann", reason="")
            await asyncio.sleep(0.1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that waited until the configured rules decide would take minutes."""
    monkeypatch.setattr(stage, "RULES_SECONDS", 300.0)


def kept(file: Path) -> int:
    """The version that a file of last good rules has; 0 without one."""
    try:
        return int(json.loads(file.read_text().partition("\n")[2])["version"])
    except FileNotFoundError:
        return 0


@pytest.fixture(scope="module")
def sql() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with redis_server() as server:
        yield server


@contextmanager
def away(how: str, *servers: Server) -> Iterator[None]:
    """*servers* are killed, or stopped where they stand, and then there again."""
    for server in servers:
        server.end() if how == "killed" else server.freeze()
    try:
        yield
    finally:
        for server in servers:
            server.start() if how == "killed" else server.thaw()


STORES = ("redis", "postgresql", "layers")


def place(kind: str, sql: Server, redis: Server, name: str) -> tuple[Any, tuple[Server, ...]]:
    """A store of this *name*, and the servers that it is in."""
    fast = f"redis://127.0.0.1:{redis.port}?prefix={name}"
    slow = f"postgresql://understudy@127.0.0.1:{sql.port}/postgres?schema={name}"
    if kind == "layers":
        return {"sql": slow, "redis": fast}, (sql, redis)
    return (fast, (redis,)) if kind == "redis" else (slow, (sql,))


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("kind", STORES)
async def test_a_start_without_its_store_changes_nobody(
    kind: str, how: str, sql: Server, redis: Server, tmp_path: Path
) -> None:
    """Within two seconds, from the last good rules; a kill stays one; later the store's news are in force."""
    store, servers = place(kind, sql, redis, f"{kind}_{how}")
    config = configured(tmp_path, store)
    async with started(config) as (understudy, _):
        assert met(understudy) == "seed"
        await put(understudy, document())
        version = await put(understudy, document(killed=["shop"]))
        await until(lambda: kept(tmp_path / "understudy-rules.json") == version, "the file")
        assert met(understudy) == "stable"
    with contextlib.ExitStack() as back:
        back.enter_context(away(how, *servers))
        async with started(config) as (understudy, took_seconds):
            assert (met(understudy), understudy.in_force.version) == ("stable", version)
            assert took_seconds < START_SECONDS
            back.close()
            # A store that is slow may have taken what it was asked before, too.
            assert await put(understudy, document()) > version
            assert met(understudy) == "canary"


async def test_a_start_without_its_control_process_changes_nobody(
    understudy_serve: UnderstudyServe, tmp_path: Path
) -> None:
    """Stopped, it takes connections and answers nothing. What it says later is in force within a second."""
    told = {key: json.dumps(value) for key, value in document().items()}
    serving = await asyncio.to_thread(understudy_serve, SERVED.format(store="memory://", **told))
    config = configured(tmp_path, "memory://")
    admin = f"http://127.0.0.1:{serving.admin_port}"
    async with started(config, admin=admin) as (understudy, _):
        await until(lambda: kept(tmp_path / "understudy-admin-rules.json") == 1, "the file")
        assert met(understudy) == "canary"
    control = control_of(serving.server.process.pid, serving.admin_port)
    os.kill(control, signal.SIGSTOP)
    try:
        async with started(config, admin=admin) as (understudy, took_seconds):
            assert met(understudy) == "canary"
            assert took_seconds < START_SECONDS
            os.kill(control, signal.SIGCONT)
            killed = await asyncio.to_thread(serving.admin, "/api/v1/flags/shop/kill", method="POST")
            assert killed.status == 200
            await until(lambda: met(understudy) == "stable", "the kill")
    finally:
        os.kill(control, signal.SIGCONT)
    (tmp_path / "understudy-admin-rules.json").unlink()
    async with started(config, admin=admin) as (understudy, _):
        await until(lambda: met(understudy) == "stable", "what it says")


def started_anew(before: Serving) -> Serving:
    """The program of *before*, once it has ended, with its configuration and its addresses."""
    before.stop()
    command = [sys.executable, "-m", "understudy", "serve", "-c", str(before.folder / "understudy.yaml")]
    server = Started.start(command, port=before.proxy_port, folder=before.folder)
    again = replace(before, server=server)
    again.wait_until_ready()
    return again


def history(serving: Serving) -> str:
    return serving.admin("/api/v1/rules").headers["x-understudy-history"]


async def test_a_control_process_that_keeps_nothing_and_began_anew_is_followed(
    understudy_serve: UnderstudyServe, tmp_path: Path
) -> None:
    """Its version 1 comes after version 2 of the one before it, also into the file of last good rules."""
    told = {key: json.dumps(value) for key, value in document().items()}
    serving = await asyncio.to_thread(understudy_serve, SERVED.format(store="memory://", **told))
    admin, file = f"http://127.0.0.1:{serving.admin_port}", tmp_path / "understudy-admin-rules.json"
    async with started(configured(tmp_path, "memory://"), admin=admin) as (understudy, _):
        await asyncio.to_thread(serving.admin, "/api/v1/flags/shop/kill", method="POST")
        await until(lambda: met(understudy) == "stable" and kept(file) == 2, "the kill")
        again = await asyncio.to_thread(started_anew, serving)
        try:
            await until(lambda: met(understudy) == "canary" and kept(file) == 1, "the program after it")
            assert understudy.in_force.version == 1
            await asyncio.to_thread(again.admin, "/api/v1/flags/shop/kill", method="POST")
            await until(lambda: met(understudy) == "stable" and kept(file) == 2, "the kill")
        finally:
            await asyncio.to_thread(again.stop)


async def test_a_control_process_whose_file_was_lost_is_followed(
    understudy_serve: UnderstudyServe, tmp_path: Path
) -> None:
    """An application would not hear of a kill there, before as many changes as were lost were made again."""
    told = {key: json.dumps(value) for key, value in document().items()}
    serving = await asyncio.to_thread(
        understudy_serve, SERVED.format(store="sqlite:///understudy.db", **told)
    )
    admin = f"http://127.0.0.1:{serving.admin_port}"
    async with started(configured(tmp_path, "memory://"), admin=admin) as (understudy, _):
        for action in ("kill", "revive"):
            await asyncio.to_thread(serving.admin, f"/api/v1/flags/shop/{action}", method="POST")
        await until(lambda: understudy.in_force.version == 3, "the changes")
        await asyncio.to_thread(serving.stop)
        for lost in serving.folder.glob("understudy.db*"):
            lost.unlink()
        again = await asyncio.to_thread(started_anew, serving)
        try:
            await until(lambda: understudy.in_force.version == 1, "the seed")
            await asyncio.to_thread(again.admin, "/api/v1/flags/shop/kill", method="POST")
            await until(lambda: met(understudy) == "stable", "the kill")
        finally:
            await asyncio.to_thread(again.stop)


async def test_a_control_process_that_died_alone_is_not_begun_anew(
    understudy_serve: UnderstudyServe, tmp_path: Path
) -> None:
    """The workers bring the rules over, so those that it starts with are nobody's: a kill stays one."""
    told = {key: json.dumps(value) for key, value in document().items()}
    serving = await asyncio.to_thread(understudy_serve, SERVED.format(store="memory://", **told))
    admin, before = f"http://127.0.0.1:{serving.admin_port}", history(serving)
    async with started(configured(tmp_path, "memory://"), admin=admin) as (understudy, _):
        await asyncio.to_thread(serving.admin, "/api/v1/flags/shop/kill", method="POST")
        await until(lambda: met(understudy) == "stable", "the kill")
        os.kill(control_of(serving.server.process.pid, serving.admin_port), signal.SIGKILL)
        await until(lambda: understudy.in_force.version == 3, "what the workers brought over")
        assert met(understudy) == "stable"
    assert history(serving) == before
