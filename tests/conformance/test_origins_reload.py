"""A service changes while requests are under way: these finish where they began, the next go elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from http1_harness import PLAIN, Stage, get, patient, post, scripted, settle, stage
from origins_harness import Server, answered, bodies, servers, until

from understudy.config import Settings, parse_settings
from understudy.errors import UnderstudyError


def settings(*, a: dict[str, Any] | None = None, **services: Any) -> Settings:
    """A configuration with these services."""
    known = patient({**({"a": a} if a else {}), **services})
    return parse_settings({"store": "memory://", "services": known}, base=Path(), environ={})


def one(server: Server, **more: Any) -> dict[str, Any]:
    """Service a, with this origin alone."""
    return {"a": {"url": server.url, **more}}


def reload(scene: Stage, *made: Server, **more: Any) -> None:
    """Service a has these origins from now on."""
    scene.proxy.engine.reload(settings(a={"origins": [server.url for server in made], **more}))


@scripted
async def test_a_request_under_way_finishes_on_the_old_service() -> None:
    """The next one goes to the new; kept connections to the old close at once, the last when it is done."""
    async with servers("old", "new") as (old, new), stage(services=one(old)) as s:
        waiting, idle = await s.client(), await s.client()
        old.holds = True
        waiting.send(get())
        await until(lambda: old.held)
        old.holds = False
        assert (await answered(idle, get())).body == b"old"
        assert len(old.connections) == 2
        reload(s, new)
        await until(lambda: len(old.connections) == 1)
        assert (await answered(idle, get())).body == b"new"
        old.release()
        assert (await waiting.message()).body == b"old"
        await until(lambda: not old.connections)
        assert (await answered(waiting, get())).body == b"new"
        reload(s, new)
        assert len(s.proxy.engine.pools) == 1


@scripted
async def test_an_upload_under_way_is_not_cut() -> None:
    """Its second half goes where its first half went."""
    async with servers("old", "new") as (old, new), stage(services=one(old)) as s:
        client = await s.client()
        request = post(b"half" * 1000)
        client.send(request[:2000])
        await until(lambda: any(connection.received for connection in old.connections))
        reload(s, new)
        client.send(request[2000:])
        assert (await client.message()).body == b"old"
        assert old.asked[0].endswith(b"half" * 1000)
        assert new.asked == []


@scripted
async def test_who_waits_for_a_connection_gets_it_from_the_old() -> None:
    """It was admitted there."""
    async with servers("old", "new") as (old, new), stage(services=one(old, connections=1)) as s:
        old.holds = True
        clients = [await s.client() for _ in range(2)]
        clients[0].send(get())
        await until(lambda: old.held)
        clients[1].send(get())
        await settle()
        reload(s, new)
        old.holds = False
        old.release()
        assert [(await client.message()).body for client in clients] == [b"old", b"old"]
        await until(lambda: not old.connections)


@scripted
async def test_an_unchanged_service_keeps_its_connections() -> None:
    """Nothing is closed, opened or counted anew."""
    async with servers("x") as (server,), stage(services={"a": {"url": server.url}}) as s:
        assert await bodies(s, get(), 2) == [b"x"] * 2
        s.proxy.engine.reload(settings(a={"url": server.url}))
        assert await bodies(s, get(), 2) == [b"x"] * 2
        assert server.accepted == 1


@scripted
async def test_limits_of_a_service_change_at_once() -> None:
    """For what comes next; one origin may become several."""
    async with servers("x", "y") as (x, y), stage(services={"a": {"url": x.url}}) as s:
        reload(s, x, y, connections=1, queue=0)
        x.holds = y.holds = True
        first, second = await s.client(), await s.client()
        first.send(get())
        await until(lambda: x.held or y.held)
        assert (await answered(second, get())).reason == "pool_full"
        x.release()
        y.release()
        await first.message()


@scripted
async def test_a_service_in_use_cannot_go() -> None:
    """The error names the rule; everything goes on as before."""
    async with servers("x") as (server,), stage(services={"a": {"url": server.url}}) as s:
        with pytest.raises(UnderstudyError, match=r"routes\[0\]\.serve"):
            s.proxy.engine.reload(settings(other={"url": "http://127.0.0.1:1"}))
        assert await bodies(s, get(), 1) == [b"x"]
        assert PLAIN["routes"] == [{"path": "/", "serve": "a"}]


@scripted
async def test_a_check_of_a_service_that_changed_is_not_made_again() -> None:
    """The new origin is checked, the old one left alone."""
    health = {"path": "/healthz", "interval": "1s"}
    async with servers("old", "new") as (old, new), stage(services=one(old, health=health)) as s:
        s.advance(0)
        await until(lambda: old.asked and not old.connections)
        reload(s, new, health=health)
        s.advance(2)
        await until(lambda: new.asked and not new.connections)
        s.advance(2)
        await until(lambda: len(new.asked) == 2)
        assert len(old.asked) == 1
