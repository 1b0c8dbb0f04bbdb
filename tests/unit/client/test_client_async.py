"""The client of an event loop before a scripted server."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from scripted_server import ScriptedServer, flag, give_patience

from understudy.client import AsyncClient, State
from understudy.client.feed import Pace

FAST = Pace(poll_seconds=0.3, silence_seconds=5.0, first_seconds=0.02, most_seconds=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """One flag; clients are in a hurry until they end."""
    give_patience(monkeypatch)
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
    client = AsyncClient(server.url, exposures=True, timeout=60)
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


async def test_it_begins_anew_after_closing(server: ScriptedServer) -> None:
    """A module's client lives through one lifespan of its application after another, as tests have it."""
    client = AsyncClient(server.url)
    for turn in range(2):
        async with client:
            assert await client.wait_ready(60)
            await until(lambda: client.status().is_connected)
            server.put({"plain": flag("off" if turn else "on")})
            await until(lambda: client.status().version == server.version)
        assert client.status().state is State.CLOSED
    assert await client.boolean("plain", "ann", True) is False


def test_it_outlives_event_loops(server: ScriptedServer) -> None:
    """A loop that ends leaves it stale and says so; on the next one it goes on, and closes anywhere."""
    client = AsyncClient(server.url)

    async def follow() -> None:
        await client.start()
        assert await client.wait_ready(60)
        await until(lambda: client.status().is_connected)
        server.put({"plain": flag()})
        await until(lambda: client.status().version == server.version)

    asyncio.run(follow())
    assert client.status().state is State.STALE
    assert "event loop has ended" in client.status().error
    asyncio.run(follow())
    asyncio.run(client.close())
    assert client.status().state is State.CLOSED


def test_a_loop_that_stands_still_is_left(server: ScriptedServer) -> None:
    """The client goes on on the next one; on the first it ends as soon as that turns again."""
    client, loop = AsyncClient(server.url), asyncio.new_event_loop()
    loop.run_until_complete(client.start())
    first = client._running
    assert first is not None

    async def use() -> bool:
        async with client:
            return await client.wait_ready(60)

    assert asyncio.run(use())
    loop.run_until_complete(asyncio.wait({first}, timeout=60))
    assert first.done()
    loop.close()


async def test_another_loop_closes_it(server: ScriptedServer) -> None:
    """In the way it closes on its own: what waits is sent, the task has ended."""
    server.extra["/api/v1/exposures"] = (200, b"{}")
    client = AsyncClient(server.url, exposures=True, timeout=60)
    await client.start()
    assert await client.wait_ready(60)
    await client.boolean("plain", "ann", False)
    await asyncio.to_thread(asyncio.run, client.close())
    assert client.status().exposures_sent == 1
    assert client._running is not None
    assert client._running.done()


FORKED = """
import asyncio, os, sys, understudy

async def ask(client):
    async with client:
        known = await client.boolean("plain", "ann", False)
        assert client.status().state == "stale", client.status()
        while client.status().state != "ready":
            await asyncio.sleep(0.01)
    return known

async def main():
    async with understudy.AsyncClient(sys.argv[1]) as client:
        await client.wait_ready(60)
        child = os.fork()
        if child == 0:
            os._exit(0 if asyncio.run(ask(client)) else 1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        return os.waitstatus_to_exitcode(status) or client.status().state != "ready"

sys.exit(asyncio.run(main()))
"""


def test_a_forked_process_begins_on_a_loop_of_its_own(server: ScriptedServer) -> None:
    """It answers with what was known at once, and says that nobody keeps it up to date until it starts."""
    command = [sys.executable, "-c", FORKED, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert server.count("/api/v1/sync/flags.json") == 2


async def test_who_waits_before_it_starts_is_told(server: ScriptedServer) -> None:
    """And who waits when it is closed waits no longer."""
    client = AsyncClient(server.url)
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(client.wait_ready(60))
        await asyncio.sleep(0)
        await client.start()
    assert early.result() is True
    await client.close()
    server.fault = "hang"
    unlucky = AsyncClient(server.url)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(unlucky.wait_ready(600))
        await unlucky.start()
        await asyncio.sleep(0)
        await unlucky.close()
    assert waiting.result() is False
