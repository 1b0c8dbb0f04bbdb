"""SDKs are told when the rules have changed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson
from admin_fakes import ANN, FakeControl, stays
from starlette.applications import Starlette
from starlette.routing import Route

from understudy.access import Caller
from understudy.admin.in_force import MOST_TURNS, Succession
from understudy.admin.ofrep_events import OfrepEventEndpoints
from understudy.admin.problems import HANDLED, answer
from understudy.admin.request import CALLER
from understudy.admin.stream import Pace
from understudy.config import Rules

EVENTS = "/ofrep/v1/sse"
PATIENT = Pace(every_seconds=30.0, heartbeat_seconds=60.0, most_listeners=1)
QUICK = Pace(every_seconds=0.01, heartbeat_seconds=0.03)
LONG_AGO = 1_767_000_000.0


class Listener:
    """One SDK at the ASGI seam."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.put_nowait(message)

    async def next(self) -> Any:
        """The next message."""
        async with asyncio.timeout(60):
            return await self.sent.get()

    async def text(self) -> str:
        """The next piece of the body."""
        return str((await self.next())["body"].decode())

    async def ids(self) -> list[int]:
        """The ids of the events in the next piece of the body."""
        lines = (await self.text()).splitlines()
        return [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]


@asynccontextmanager
async def listening(
    endpoints: OfrepEventEndpoints, *, last: str = "", caller: Caller = ANN
) -> AsyncIterator[tuple[Listener, asyncio.Task[None]]]:
    """A listener that saw event *last*, and the head of its answer has come."""
    listener = Listener()
    app = Starlette(
        routes=[Route(EVENTS, endpoints.events)], exception_handlers=dict.fromkeys(HANDLED, answer)
    )
    headers = [(b"last-event-id", last.encode())] if last else []
    scope = {
        CALLER: caller,
        "type": "http",
        "method": "GET",
        "path": EVENTS,
        "headers": headers,
        "query_string": b"",
    }
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(app(scope, listener.receive, listener.send))
        try:
            assert (await listener.next())["type"] == "http.response.start"
            yield listener, task
        finally:
            listener.gone.set()


def turned(*versions: int, at: float = LONG_AGO) -> FakeControl:
    """A control plane whose rules had *versions*, one after the other."""
    control = FakeControl()
    for version in versions:
        control.succession.put(version=version, rules=Rules(), at=at)
    return control


async def test_a_turn_of_the_rules_is_told_at_once() -> None:
    """`refetchEvaluation` under the version as id, with the tag and the time of the rules."""
    control = turned(7)
    async with listening(OfrepEventEndpoints(control, ended=stays, pace=PATIENT)) as (listener, _):
        assert await listener.text() == "retry: 2000\n\n"
        control.succession.put(version=8, rules=Rules(), at=LONG_AGO + 0.7)
        event = await listener.text()

    head, data, end = event.split("\n", 3)[0:2], event.split("\n")[2], event[-2:]
    assert head == ["id: 8", "event: message"]
    assert orjson.loads(data.removeprefix("data: ")) == {
        "type": "refetchEvaluation",
        "etag": '"8"',
        "lastModified": int(LONG_AGO),
    }
    assert end == "\n\n"


async def test_one_that_was_away_is_told_what_it_missed() -> None:
    """Last-Event-ID 6 of 5, 6, 7, 8: both turns after it; nothing after the newest."""
    endpoints = OfrepEventEndpoints(turned(5, 6, 7, 8), ended=stays, pace=PATIENT)
    async with listening(endpoints, last="6") as (listener, _):
        assert await listener.ids() == [7, 8]
    async with listening(endpoints, last="8") as (listener, _):
        assert await listener.ids() == []


async def test_one_that_missed_too_much_is_told_the_newest() -> None:
    """Memory is bounded; one refetch is all that a client needs. An id of another history is as unknown."""
    control = turned(*range(1, MOST_TURNS + 10))
    newest = [MOST_TURNS + 9]
    endpoints = OfrepEventEndpoints(control, ended=stays, pace=PATIENT)
    for last in ("1", "999999"):
        async with listening(endpoints, last=last) as (listener, _):
            assert await listener.ids() == newest


async def test_a_newcomer_is_told_of_a_fresh_turn_only() -> None:
    """One that came between the first evaluation and the stream would be missed otherwise."""
    for last in ("", "no-number"):
        endpoints = OfrepEventEndpoints(turned(6, 7), ended=stays, pace=PATIENT)
        async with listening(endpoints, last=last) as (old, _):
            assert await old.ids() == []
        fresh = turned(6, 7, at=time.time())
        async with listening(OfrepEventEndpoints(fresh, ended=stays, pace=PATIENT), last=last) as (new, _):
            assert await new.ids() == [7]


async def test_the_same_rules_again_are_no_turn() -> None:
    """A reload that changes nothing sends nobody to ask."""
    succession = Succession()
    succession.put(version=7, rules=Rules(), at=1.0)
    succession.put(version=7, rules=Rules(), at=1.0)
    assert succession.serial == 1

    other = Rules(document={"flags": {}, "routes": [], "compare": [], "killed": ["shop"]})
    succession.put(version=7, rules=other, at=1.0)
    assert succession.serial == 2
    assert [turn.serial for turn in succession.since(7)] == [2]


async def test_a_silent_stream_has_a_heartbeat() -> None:
    """Comments keep proxies from cutting it; a turn still comes through."""
    control = turned(7)
    async with listening(OfrepEventEndpoints(control, ended=stays, pace=QUICK)) as (listener, _):
        await listener.text()
        assert await listener.text() == ": still here\n\n"
        control.succession.put(version=8, rules=Rules(), at=LONG_AGO)
        text = await listener.text()
        while text.startswith(":"):
            text = await listener.text()

    assert text.startswith("id: 8\n")


async def test_listeners_are_bounded_and_places_are_freed() -> None:
    """503 with Retry-After and a way out for one too many."""
    endpoints = OfrepEventEndpoints(turned(7), ended=stays, pace=PATIENT)
    async with listening(endpoints) as (first, task):
        async with listening(endpoints) as (second, _):
            refused = orjson.loads((await second.next())["body"])
        first.gone.set()
        async with asyncio.timeout(60):
            await task

    assert refused["status"] == 503
    assert "POST /ofrep/v1/evaluate/flags" in refused["detail"]
    assert endpoints.room.listeners == 0


async def test_one_caller_cannot_take_every_place() -> None:
    """429 for one too many of a token at an address; another address or token still comes in."""
    pace = Pace(every_seconds=30.0, most_listeners=10, most_of_one=2)
    endpoints = OfrepEventEndpoints(turned(7), ended=stays, pace=pace)
    tab, other_tab = (replace(ANN, selector="t1", session=session) for session in ("s1", "s2"))
    async with listening(endpoints, caller=tab) as (first, task), listening(endpoints, caller=other_tab):
        async with listening(endpoints, caller=tab) as (third, _):
            refused = orjson.loads((await third.next())["body"])
        for other in (replace(tab, origin="127.0.0.2"), replace(tab, selector="t2")):
            async with listening(endpoints, caller=other) as (listener, _):
                assert await listener.text() == "retry: 2000\n\n"
        first.gone.set()
        async with asyncio.timeout(60):
            await task
        async with listening(endpoints, caller=tab) as (again, _):
            assert await again.text() == "retry: 2000\n\n"

    assert refused["status"] == 429
    assert "2 listeners with this token and address" in refused["detail"]
    assert "POST /ofrep/v1/evaluate/flags" in refused["detail"]


async def test_a_stream_ends_when_the_process_stops() -> None:
    """At once, and with an orderly end."""
    stopping = asyncio.Event()
    endpoints = OfrepEventEndpoints(turned(7), ended=stays, pace=PATIENT, stopping=stopping)
    async with listening(endpoints) as (listener, task):
        await listener.text()
        stopping.set()
        end = await listener.next()
        async with asyncio.timeout(60):
            await task

    assert end == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_head_opens_no_stream(client: httpx.AsyncClient) -> None:
    """HEAD has the headers of GET, and an end."""
    async with asyncio.timeout(60):
        head = await client.head(EVENTS)

    assert head.headers["content-type"].startswith("text/event-stream")
