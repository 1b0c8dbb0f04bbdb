"""The client of an event loop before a scripted server."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from scripted_server import ScriptedServer, flag

from understudy.client import AsyncClient, State
from understudy.client.feed import Pace

FAST = Pace(poll_seconds=0.3, silence_seconds=5.0, first_seconds=0.02, most_seconds=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """One flag; clients are in a hurry."""
    monkeypatch.setattr("understudy.client.options.Pace", lambda poll_seconds: FAST)
    with ScriptedServer(plain=flag()) as made:
        yield made


async def until(is_so: Callable[[], bool]) -> None:
    """Until *is_so*."""
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


async def test_it_needs_no_thread(server: ScriptedServer) -> None:
    """All happens on the caller's loop, and nothing is left on it afterwards."""
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    async with AsyncClient(server.url) as client:
        assert await client.wait_ready(60)
        assert await client.boolean("plain", "ann", False) is True
        assert set(threading.enumerate()) <= threads
    assert asyncio.all_tasks() == tasks
    assert client.status().state is State.CLOSED
    assert await client.boolean("plain", "ann", False) is True


@pytest.mark.parametrize("fault", ["500", "401", "garbage", "half", "loris", "hang", "reset"])
async def test_no_fault_of_the_server_changes_an_answer(server: ScriptedServer, fault: str) -> None:
    """The last good flags answer, and the server is heard again when it is well."""
    async with AsyncClient(server.url, timeout=0.3) as client:
        assert await client.wait_ready(60)
        await until(lambda: client.status().is_connected)
        server.fail(fault, {"flags": {"plain": flag("off")}})
        server.cut()
        await until(lambda: client.status().state is State.STALE)
        assert await client.boolean("plain", "ann", False) is True
        server.fault, server.version = "", 2
        await until(lambda: client.status().version == 2)
        assert await client.boolean("plain", "ann", True) is False


async def test_without_a_server_defaults_are_given(server: ScriptedServer) -> None:
    """Waiting ends in its time, and so does closing."""
    server.fault = "hang"
    async with AsyncClient(server.url) as client:
        assert not await client.wait_ready(0.05)
        assert await client.boolean("plain", "ann", True) is True
        assert await client.evaluate_all("ann") == {}
        assert (await client.details("plain", "ann", True)).error_code == "PROVIDER_NOT_READY"


async def test_exposures_are_sent_on_closing(server: ScriptedServer) -> None:
    """Also when it was started and closed by hand, in different tasks."""
    server.extra["/api/v1/exposures"] = (200, b"{}")
    client = AsyncClient(server.url, exposures=True)
    await asyncio.wait_for(client.start(), 60)
    await client.start()
    assert await client.wait_ready(60)
    await client.boolean("plain", "ann", False)
    await asyncio.wait_for(client.close(), 60)
    await client.close()
    assert json.loads(server.asked[-1].body)["exposures"][0]["unit"] == "ann"


async def test_closing_what_never_began_is_nothing() -> None:
    """As a framework may that failed before."""
    client = AsyncClient("http://127.0.0.1:9")
    await client.close()
    assert not client.ready()


async def test_a_cancelled_user_leaves_nothing_behind(server: ScriptedServer) -> None:
    """The stream ends with the block, whatever ends that."""
    tasks = asyncio.all_tasks()

    async def use() -> None:
        async with asyncio.timeout(0.2), AsyncClient(server.url) as client:
            assert await client.wait_ready(60)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await use()
    assert asyncio.all_tasks() == tasks
