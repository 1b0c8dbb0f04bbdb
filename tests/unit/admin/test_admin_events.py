"""Server-sent events: who looks at the report is told when it has changed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from admin_fakes import ANN, FakeControl, LockedStore, stays
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from understudy.admin import create_admin
from understudy.admin.events import Bulletin, EventEndpoints
from understudy.admin.problems import HANDLED, answer
from understudy.admin.request import CALLER
from understudy.admin.stream import Pace

EVENTS = "/api/v1/report/events"
QUICK = Pace(every_seconds=0.01, heartbeat_seconds=0.03, send_seconds=0.05, most_listeners=2)
PATIENT = Pace(every_seconds=0.01, heartbeat_seconds=60.0)


class Listener:
    """One client at the ASGI seam: what it was sent, and what it does."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.is_stuck = False

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        self.sent.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(60):
            return await self.sent.get()

    async def text(self) -> str:
        """The next piece of the body."""
        return str((await self.next())["body"].decode())


@asynccontextmanager
async def listening(endpoints: EventEndpoints, listener: Listener) -> AsyncIterator[asyncio.Task[None]]:
    """*listener* asks, and the head of the answer has come; the task is over when the stream is."""
    handlers = dict.fromkeys((*HANDLED, HTTPException), answer)
    app = Starlette(routes=[Route(EVENTS, endpoints.events)], exception_handlers=handlers)
    scope = {
        CALLER: ANN,
        "type": "http",
        "method": "GET",
        "path": EVENTS,
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(app(scope, listener.receive, listener.send))
        try:
            yield task
        finally:
            listener.gone.set()


def told(text: str) -> dict[str, Any]:
    """The data of the event in *text*."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert "event: report" in text
    assert text.endswith("\n\n")
    found: dict[str, Any] = orjson.loads(data[0])
    return found


async def test_a_listener_is_told_how_things_are_and_when_they_change() -> None:
    """The first event comes at once; another one only when the revision is another one."""
    control, listener = FakeControl(changes=5), Listener()
    async with listening(EventEndpoints(control, ended=stays, pace=PATIENT), listener):
        head = await listener.next()
        first = await listener.text()
        control.changes, control.evidence["verdict"] = 6, "regression"
        second = await listener.text()

    assert head["status"] == 200
    assert (b"content-type", b"text/event-stream; charset=utf-8") in head["headers"]
    assert b"content-length" not in dict(head["headers"])
    assert first.startswith("retry: 2000\n\n")
    assert told(first) == {"revision": 5, "verdict": "clean"}
    assert told(second) == {"revision": 6, "verdict": "regression"}


async def test_a_silent_line_is_kept_open_by_comments() -> None:
    """Where nothing changes, a comment shows proxies that somebody is there."""
    listener = Listener()
    async with listening(EventEndpoints(FakeControl(), ended=stays, pace=QUICK), listener):
        await listener.next()
        await listener.text()
        assert await listener.text() == ": still here\n\n"


async def test_the_report_is_read_once_for_all() -> None:
    """However many listen, a revision costs one report."""
    control, both = Asked(), [Listener(), Listener()]
    endpoints = EventEndpoints(control, ended=stays, pace=PATIENT)
    async with listening(endpoints, both[0]), listening(endpoints, both[1]):
        for listener in both:
            await listener.next()
            await listener.text()
        control.changes += 1
        for listener in both:
            await listener.text()

    assert control.asked == 2


class Asked(FakeControl):
    """Counts how often its report is read, and takes its time."""

    asked = 0
    takes_seconds = 0.0

    async def report(self) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(self.takes_seconds)
        return await super().report()


async def test_a_slow_report_is_read_seldom() -> None:
    """One that takes 50 ms is not read again within the next 450, however often it changes."""
    control = Asked()
    control.takes_seconds = 0.05
    bulletin, began = Bulletin(control), asyncio.get_running_loop().time()
    first = await bulletin.word()
    control.changes += 1

    while await bulletin.word() == first:
        await asyncio.sleep(0.01)

    assert asyncio.get_running_loop().time() - began >= 0.5
    assert control.asked == 2


async def test_a_store_that_is_away_does_not_end_the_stream() -> None:
    """The line stays open; the word comes when the report can be read again."""
    control, listener = FakeControl(failure=LockedStore()), Listener()
    async with listening(EventEndpoints(control, ended=stays, pace=QUICK), listener):
        await listener.next()
        assert "event" not in await listener.text()
        control.failure = None
        text = ": still here"
        while text.startswith(":"):
            text = await listener.text()

    assert told(text)["verdict"] == "clean"


async def test_one_listener_too_many_is_refused() -> None:
    """503 with Retry-After, as a problem; a place that is left is free again."""
    endpoints = EventEndpoints(FakeControl(), ended=stays, pace=QUICK)
    first, second, third = Listener(), Listener(), Listener()
    async with listening(endpoints, first), listening(endpoints, second):
        await first.next()
        await second.next()
        async with listening(endpoints, third):
            refused = await third.next()

    assert refused["status"] == 503
    assert (b"content-type", b"application/problem+json") in refused["headers"]
    assert (b"retry-after", b"30") in refused["headers"]
    assert endpoints.room.listeners == 0


async def test_one_that_takes_nothing_is_dropped() -> None:
    """A full connection ends the stream within its time, and frees the place."""
    endpoints, listener = EventEndpoints(FakeControl(), ended=stays, pace=QUICK), Listener()
    async with listening(endpoints, listener) as task:
        await listener.next()
        listener.is_stuck = True
        async with asyncio.timeout(60):
            await asyncio.wait([task])

    assert endpoints.room.listeners == 0


async def test_one_that_leaves_is_forgotten() -> None:
    """A closed tab frees its place at once."""
    endpoints, listener = EventEndpoints(FakeControl(), ended=stays, pace=PATIENT), Listener()
    async with listening(endpoints, listener) as task:
        await listener.next()
        assert endpoints.room.listeners == 1
        listener.gone.set()
        async with asyncio.timeout(60):
            await asyncio.wait([task])

    assert endpoints.room.listeners == 0


async def test_head_opens_no_stream(client: httpx.AsyncClient) -> None:
    """HEAD has the headers of GET, and an end."""
    async with asyncio.timeout(60):
        head = await client.head(EVENTS)

    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")


async def test_a_server_that_stops_waits_for_no_listener(caplog: pytest.LogCaptureFixture) -> None:
    """With an open stream a graceful stop takes no longer than without, and cancels nothing."""
    stopping = asyncio.Event()
    config = uvicorn.Config(
        create_admin(FakeControl(), stopping=stopping), port=0, log_config=None, ws="none", lifespan="off"
    )
    server, socket = uvicorn.Server(config), config.bind_socket()
    url = f"http://127.0.0.1:{socket.getsockname()[1]}{EVENTS}"
    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks, httpx.AsyncClient() as client:
            serving = tasks.create_task(server.serve(sockets=[socket]))
            async with client.stream("GET", url) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "retry: 2000"
                server.should_exit = True
                stopping.set()
                async with asyncio.timeout(60):
                    await serving
                rest = [line async for line in lines]
    finally:
        socket.close()

    assert any(line.startswith("data: ") for line in rest)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
