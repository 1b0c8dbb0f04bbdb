"""Requests leave nothing behind, and no work for the garbage collector of the application's process."""

import asyncio
import gc
from typing import Any

import pytest
from middleware_world import configured, rules

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.testing import Receive, ScriptedServer, answer

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY = {"type": "http.response.body", "body": b"ok"}


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Always answers alike, and asks for the flag."""
    assert scope["understudy"].variant_of("shop") == "v"
    await send(START)
    await send(BODY)


def scope() -> dict[str, Any]:
    """A request as a server hands it over."""
    headers = [(b"host", b"shop"), (b"cookie", b"uid=ann")]
    return {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": headers, "state": {}}


async def receive() -> Any:
    """No body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    """A client that takes everything."""


def told_of(variant: dict[str, Any]) -> dict[str, Any]:
    """Rules by which everybody meets *variant*."""
    return rules({"v": variant}, serves="v", unit="cookie:uid")


RULES = {
    "decided": told_of({}),
    "mirrored": told_of({"mirror": ["v2"]}),
    "undecided": {**told_of({}), "routes": [{"path": "/", "serve": "app"}]},
}


@pytest.mark.parametrize("kind", RULES)
async def test_requests_leave_nothing(kind: str) -> None:
    """Nor do their decisions: a cycle in each would be collected all day."""
    reply = answer(200, b"ok", [("Content-Type", "text/plain")])
    async with ScriptedServer([Receive(), reply], forever=True) as shadow:
        understudy = Understudy(configured({"v2": shadow.url}, **RULES[kind], shadow={"control": 0}))
        middleware = UnderstudyMiddleware(application, understudy=understudy)

        async def ask(times: int) -> None:
            for _ in range(times):
                await middleware(scope(), receive, send)
                await settled(understudy)

        await ask(50)
        gc.collect()
        gc.disable()
        try:
            await ask(300)
            found = gc.collect()
        finally:
            gc.enable()
            await understudy.stop()

    assert found < 300


async def settled(understudy: Understudy) -> None:
    """Until no copy is under way."""
    stage = understudy.stage
    assert stage is not None
    async with asyncio.timeout(60):
        while stage.mirror.running:
            await asyncio.sleep(0)
