"""The bodies of requests to canaries: who may take how long, and whose fault it is when that is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from middleware_world import configured, rules

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import Message
from understudy.testing import End, Receive, Script, ScriptedServer, answer

OK: Script = [Receive(), answer(200, b"ok")]


def canary(url: str, *, answers_in: str = "0.2s", **limits: Any) -> Understudy:
    """Everybody is served by *url*, which has a fifth of a second to answer, or another time."""
    told = rules({"canary": {"serve": "v2"}}, serves="canary", mirror_methods=["GET", "POST"])
    config = configured({"v2": url}, **told, limits=limits)
    config["services"]["v2"]["first_byte_timeout"] = answers_in
    return Understudy(config)


async def posted(understudy: Understudy, pieces: AsyncIterator[bytes], *, length: int) -> tuple[int, bytes]:
    """Status and body that are answered to a body of *pieces*, as they come."""
    app = UnderstudyMiddleware(cast(Any, None), understudy=understudy)
    status, body, is_over = 0, b"", asyncio.Event()

    async def receive() -> Message:
        piece = await anext(pieces, None)
        if piece is not None:
            return {"type": "http.request", "body": piece, "more_body": True}
        if not is_over.is_set():
            is_over.set()
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    headers = [(b"host", b"a"), (b"content-length", b"%d" % length)]
    async with asyncio.timeout(600):
        await app({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send)
    return status, body


async def slowly(*pieces: bytes, seconds: float) -> AsyncIterator[bytes]:
    """*pieces*, after so many seconds each."""
    for piece in pieces:
        await asyncio.sleep(seconds)
        yield piece


async def after_minutes(*pieces: bytes, seconds: float) -> AsyncIterator[bytes]:
    """*pieces*, for each of which the clock of the loop is moved on: a busy machine makes nothing late."""
    loop, ahead = asyncio.get_running_loop(), 0.0
    real = loop.time
    # The loop reads its clock by this name, and so do its timers.
    loop.time = lambda: real() + ahead  # type: ignore[method-assign]
    for piece in pieces:
        ahead += seconds
        for _ in range(5):
            await asyncio.sleep(0)  # for whatever is due
        yield piece


def failures(understudy: Understudy) -> int:
    """How often in a row the canary has failed."""
    stage = understudy.stage
    assert stage is not None
    return stage.engine.pools[-1].pools[0].health.failures


async def test_a_slow_client_is_not_the_services_fault() -> None:
    """It may be silent for longer than the service may take to answer, as with the proxy."""
    async with ScriptedServer(OK) as service:
        understudy = canary(service.url, answers_in="100s", body_idle_timeout="10m")
        found = await posted(understudy, after_minutes(b"he", b"llo", seconds=150), length=5)
        assert failures(understudy) == 0
        await understudy.stop()
    assert found == (200, b"ok")
    assert service.connections[0].received.endswith(b"\r\n\r\nhello")


async def test_a_silent_client_is_answered_408() -> None:
    """After ``body_idle_timeout``."""
    async with ScriptedServer([End.HANG]) as service:
        understudy = canary(service.url, body_idle_timeout="0.3s")
        status, _ = await posted(understudy, slowly(b"he", b"llo", seconds=2), length=5)
        assert failures(understudy) == 0
        await understudy.stop()
    assert status == 408


async def test_a_trickle_holds_nothing_for_ever() -> None:
    """Bytes that come too slowly buy no time (``body_rate``)."""
    async with ScriptedServer([End.HANG]) as service:
        understudy = canary(service.url, body_idle_timeout="0.3s", body_rate="1KiB")
        status, _ = await posted(understudy, slowly(*[b"x"] * 100, seconds=0.1), length=100)
        assert failures(understudy) == 0
        await understudy.stop()
    assert status == 408


async def test_a_service_that_takes_no_body_is_answered_for() -> None:
    """504 after the time that its answer may take, and it has failed; the client was not late."""
    async with ScriptedServer([End.STALL]) as service:
        understudy = canary(service.url)
        pieces = [bytes(256 * 1024)] * 64
        status, _ = await posted(understudy, slowly(*pieces, seconds=0), length=16 * 1024 * 1024)
        assert failures(understudy) == 1
        await understudy.stop()
    assert status == 504


async def test_an_end_of_the_middleware_leaves_no_request_waiting() -> None:
    """Also one whose body has not come: it is answered 503."""
    async with ScriptedServer([End.HANG]) as service, asyncio.TaskGroup() as tasks:
        understudy = canary(service.url)
        asking = tasks.create_task(posted(understudy, slowly(b"he", b"llo", seconds=60), length=5))
        async with asyncio.timeout(60):
            while not any(connection.received for connection in service.connections):
                await asyncio.sleep(0.005)
        await understudy.stop()
        status, _ = await asking
    assert status == 503
