"""A canary's place in the queue for a connection, and the connection, when its request is given up."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from middleware_world import configured, rules

from understudy.engine import Plan
from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import Message
from understudy.middleware.stage import Stage
from understudy.middleware.told import Told
from understudy.testing import End, Receive, ScriptedServer, answer
from understudy.upstream import UpstreamConnection

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"


def scope() -> dict[str, Any]:
    """A request as a server hands it over."""
    return {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a")]}


class Client:
    """One request of *app*; ``body`` is what came of its answer."""

    def __init__(self, app: UnderstudyMiddleware, tasks: asyncio.TaskGroup) -> None:
        self.status = 0
        self.body = b""
        self.news = asyncio.Event()
        self._is_told = False
        self.task = tasks.create_task(self._ask(app))

    async def _ask(self, app: UnderstudyMiddleware) -> None:
        await app(scope(), self._receive, self._send)

    async def _receive(self) -> Message:
        if self._is_told:
            await asyncio.Event().wait()
        self._is_told = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        self.news.set()


async def test_who_gives_up_leaves_the_queue() -> None:
    """A request that is cancelled as it waits takes nobody's place, and no connection afterwards."""
    async with ScriptedServer(
        [Receive(), HALF, End.HANG], [Receive(), answer(200, b"ok")], forever=True
    ) as service:
        told = rules({"canary": {"serve": "v2"}}, serves="canary")
        config = configured({"v2": service.url}, **told)
        config["services"]["v2"] |= {"connections": 1, "queue": 1}
        understudy = Understudy(config)
        app = UnderstudyMiddleware(cast(Any, None), understudy=understudy)
        await understudy.start()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            first = Client(app, tasks)
            while first.body != b"half":
                first.news.clear()
                await first.news.wait()
            second = Client(app, tasks)
            while "waiting=1" not in repr(pool_of(understudy)):
                await asyncio.sleep(0)
            second.task.cancel()
            await asyncio.wait([second.task])
            assert "waiting=0" in repr(pool_of(understudy))
            third = Client(app, tasks)
            while "waiting=1" not in repr(pool_of(understudy)) and not third.task.done():
                await asyncio.sleep(0)
            first.task.cancel()
            await asyncio.wait([first.task, third.task])
        await understudy.stop()
    assert (third.status, third.body) == (200, b"ok")
    assert len(service.connections) == 2


def pool_of(understudy: Understudy) -> object:
    """The connections to the canary."""
    stage = understudy.stage
    assert stage is not None
    return stage.engine.pools[-1]


class Lent:
    """A connection as far as it is given back."""

    is_given_up = False

    def abandon(self) -> None:
        self.is_given_up = True


async def test_a_connection_that_is_lent_to_who_gives_up_is_not_lost() -> None:
    """Both may happen in one turn of the loop."""
    stage = SimpleNamespace(loop=asyncio.get_running_loop(), outgoing=SimpleNamespace(flushes=0))
    plan = SimpleNamespace(pool=SimpleNamespace(acquire=lambda _waiter, fresh: None))
    told = Told(cast(Stage, stage), cast(Plan, plan), method="GET", has_body=False)
    lent = Lent()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(told.ask(b"", fresh=False))
        await asyncio.sleep(0)
        told.on_connection(cast(UpstreamConnection, lent))
        asking.cancel()
    assert asking.cancelled()
    told.let_go()
    assert lent.is_given_up
