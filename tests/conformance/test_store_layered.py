"""SQL with Redis in front, on several hosts: each server killed, frozen, flushed, emptied and put back."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from store_servers import Server, postgres_server, redis_server
from store_world import PATIENCE_SECONDS

from understudy.app.rulebook import Rulebook
from understudy.config import Layers, parse_rules
from understudy.errors import StoreError
from understudy.store import StoredRules, layered, location, open_store
from understudy.store.layered import LayeredStore

numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class World:
    """Both servers, a schema and a prefix of this test's own, and the folder of each host's file."""

    sql: Server
    redis: Server
    folder: Path
    name: str = field(default_factory=lambda: f"world_{next(numbers)}")

    def place(self, host: str = "one", *, schema: str = "") -> Layers:
        return Layers(
            sql=f"postgresql://understudy@127.0.0.1:{self.sql.port}/postgres?schema={schema or self.name}",
            redis=f"redis://127.0.0.1:{self.redis.port}?prefix={self.name}",
            file=str(self.folder / f"{host}.json"),
        )

    @asynccontextmanager
    async def host(self, host: str = "one", *, schema: str = "") -> AsyncIterator[LayeredStore]:
        store = open_store(self.place(host, schema=schema))
        assert isinstance(store, LayeredStore)
        await store.open()
        try:
            yield store
        finally:
            with contextlib.suppress(StoreError):
                await store.close()

    @asynccontextmanager
    async def raw_redis(self) -> AsyncIterator[Any]:
        async with Redis(port=self.redis.port) as client:
            yield client

    async def run_sql(self, text: str) -> None:
        connection = await asyncpg.connect(f"postgresql://understudy@127.0.0.1:{self.sql.port}/postgres")
        await connection.execute(text.format(schema=self.name))
        await connection.close()

    async def copied(self) -> int:
        """The version that Redis has."""
        async with self.raw_redis() as client:
            return int(await client.hget(f"{{{self.name}}}:rules", "newest") or 0)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with postgres_server() as sql, redis_server() as redis:
        yield sql, redis


@pytest.fixture
def world(servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Hosts that look every 0.3 s instead of every 5 s, so that nobody has to wait for them."""
    monkeypatch.setattr(layered, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(layered, "AWAY_SECONDS", 0.2)
    # A server that is there answers, however busy the machine.
    monkeypatch.setattr(layered, "START_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(location, "COPY_SECONDS", PATIENCE_SECONDS)
    sql, redis = servers
    return World(sql=sql, redis=redis, folder=tmp_path)


async def put(store: LayeredStore, number: int, expected: int | None = None) -> int:
    stored = await store.put_rules({"n": number}, expected=expected, author="ann", reason="", at=1.0)
    return stored.version


async def newer(store: LayeredStore, than: int) -> StoredRules:
    found = await asyncio.wait_for(store.newer(than, seconds=60), 60)
    assert found is not None
    return found


async def until_healed(world: World, store: LayeredStore, version: int) -> None:
    """Let *store* look until the copy has *version* and nothing is wrong any more."""
    async with asyncio.timeout(60):
        while await world.copied() != version or store.condition().alarms:
            assert await store.newer(99, seconds=0.2) is None


async def until_alarmed(store: LayeredStore, alarm: str) -> str:
    """Let *store* look until it has the *alarm*; its text."""
    async with asyncio.timeout(60):
        while alarm not in store.condition().alarms:
            assert await store.newer(99, seconds=0.2) is None
    return store.condition().alarms[alarm]


async def looked(store: LayeredStore, *, healed: int) -> None:
    """Let *store* follow the rules until it has healed the copy so often."""
    async with asyncio.timeout(60):
        while store.condition().healed < healed:
            assert await store.newer(99, seconds=0.2) is None


async def test_a_change_on_one_host_is_heard_on_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bell: long before the other would look by itself."""
    monkeypatch.setattr(layered, "POLL_SECONDS", 600.0)
    async with world.host("one") as one, world.host("two") as two:
        waiting = asyncio.gather(two.newer(0, seconds=600))
        async with world.raw_redis() as client:
            while not (await client.pubsub_numsub(f"{{{world.name}}}:bell"))[0][1]:
                await asyncio.sleep(0.01)
        await put(one, 1)
        (found,) = await asyncio.wait_for(waiting, 60)
        assert found is not None
        assert found.document == {"n": 1}
        assert one.condition().alarms == {}


async def test_two_control_processes_follow_each_other(world: World) -> None:
    """A kill on one is in force on the other, and so is the revival, the other way."""
    flags = {"shop": {"state": "ENABLED", "variants": {"a": {"serve": "v1"}}, "defaultVariant": "a"}}
    seed = parse_rules({"flags": flags, "routes": []}, services=["v1"])
    async with world.host("one") as first, world.host("two") as second:
        one = Rulebook(first, seed=seed, services=["v1"])
        two = Rulebook(second, seed=seed, services=["v1"])
        await asyncio.gather(one.load(1.0), two.load(1.0))
        await one.kill("shop", author="ann", reason="", at=2.0)
        assert await two.follow(seconds=60)
        assert two.parsed.killed == ("shop",)
        await two.revive("shop", author="bob", reason="", at=3.0)
        assert await one.follow(seconds=60)
        assert (one.version, one.parsed.killed) == (3, ())


async def test_with_redis_killed_changes_go_on(world: World) -> None:
    """They are stored and seen by looking; once Redis is back it has them, and the alarm is over."""
    async with world.host("one") as one, world.host("two") as two:
        await put(one, 1)
        await newer(two, 0)
        world.redis.end()
        try:
            assert await put(one, 2) == 2
            assert (await newer(two, 1)).document == {"n": 2}
            assert "refuses connections" in await until_alarmed(two, "redis_away")
        finally:
            world.redis.start()
        await until_healed(world, one, 2)


async def test_with_redis_frozen_a_change_does_not_wait_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in SQL by then, and the other host finds it there."""
    monkeypatch.setattr(location, "COPY_SECONDS", 0.3)
    async with world.host("one") as one, world.host("two") as two:
        await put(one, 1)
        await newer(two, 0)
        world.redis.freeze()
        try:
            started = time.monotonic()
            assert await put(one, 2) == 2
            assert time.monotonic() - started < 50, "it does not wait for the end"
            assert (await newer(two, 1)).version == 2
            assert "did not answer" in one.condition().alarms["redis_away"]
        finally:
            world.redis.thaw()
        await until_healed(world, one, 2)


async def test_a_flushed_redis_is_healed(world: World) -> None:
    """Nobody goes back to nothing; the copy is there again, and the repair is counted."""
    async with world.host() as store:
        await put(store, 1)
        async with world.raw_redis() as client:
            await client.flushall()
        await looked(store, healed=1)
        assert await world.copied() == 1
        known = await store.rules()
        assert known is not None
        assert known.version == 1


async def test_an_old_dump_of_redis_is_healed(world: World) -> None:
    """An older version is refused by those who know better, and replaced."""
    key = f"{{{world.name}}}:rules"
    async with world.host("one") as store, world.raw_redis() as client:
        await put(store, 1)
        dump = await client.dump(key)
        await put(store, 2)
        await client.restore(key, 0, dump, replace=True)
        assert await world.copied() == 1
        await looked(store, healed=1)
        assert await world.copied() == 2
        async with world.host("two") as other:
            known = await other.rules()
            assert known is not None
            assert known.version == 2


async def test_a_damaged_copy_is_healed(world: World) -> None:
    """A row that was altered does not have its checksum: it is never taken."""
    async with world.host("one") as one, world.host("two") as two:
        await put(one, 1)
        await newer(two, 0)
        async with world.raw_redis() as client:
            key = f"{{{world.name}}}:rules"
            row = await client.hget(key, "1")
            await client.hset(key, mapping={"9": row.replace(b'n\\":1', b'n\\":7'), "newest": "9"})
            await looked(two, healed=1)
            assert await world.copied() == 1
            await client.hset(key, mapping={"1": b"{", "newest": "one"})
            await looked(one, healed=1)
        known = await two.rules()
        assert known is not None
        assert known.document == {"n": 1}


async def test_the_copy_of_another_store_is_left_alone(world: World) -> None:
    """Two stores with one prefix: neither takes the other's rules, and the alarm says what to do."""
    async with world.host("one") as one, world.host("two", schema="world_other") as two:
        await put(one, 1)
        for number in (7, 8):
            await put(two, number)
        assert await one.newer(1, seconds=0.5) is None
        assert "its own ?prefix=" in two.condition().alarms["redis_foreign"]
        assert await world.copied() == 1
    await world.run_sql("DROP SCHEMA world_other CASCADE")


async def test_without_sql_the_copy_is_followed_and_nothing_changed(world: World) -> None:
    """A host that starts then has its rules from Redis; a change says what is away."""
    async with world.host("one") as one:
        await put(one, 1)
        world.sql.end()
        try:
            async with world.host("new") as new:
                known = await new.rules()
                assert known is not None
                assert known.document == {"n": 1}
                assert "refuses connections" in new.condition().alarms["sql_away"]
                with pytest.raises(StoreError, match="refuses connections"):
                    await put(new, 2)
                assert await one.newer(1, seconds=0.3) is None
                world.sql.start()
                assert await put(new, 2, expected=1) == 2
                assert (await newer(one, 1)).version == 2
                await until_healed(world, new, 2)
        finally:
            if not world.sql.is_running:
                world.sql.start()


@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_without_both_a_start_takes_the_last_good_file(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version and the document as they were; afterwards everything goes on."""
    async with world.host("one") as one:
        await put(one, 1)
    monkeypatch.setattr(layered, "START_SECONDS", 0.3)
    monkeypatch.setattr(location, "COPY_SECONDS", 0.3)
    for server in (world.sql, world.redis):
        server.freeze() if how == "frozen" else server.end()
    try:
        async with world.host("one") as one:
            known = await one.rules()
            assert known is not None
            assert (known.version, known.document) == (1, {"n": 1})
            assert set(one.condition().alarms) == {"sql_away", "redis_away"}
            for server in (world.sql, world.redis):
                server.thaw() if how == "frozen" else server.start()
            async with asyncio.timeout(60):
                while one.condition().alarms:
                    await one.newer(1, seconds=0.1)
            assert await put(one, 2, expected=1) == 2
    finally:
        for server in (world.sql, world.redis):
            server.thaw() if server.is_running else server.start()


async def test_a_damaged_file_is_no_last_good(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A start without both then says which store is away, instead of serving half a document."""
    async with world.host("one") as one:
        await put(one, 1)
    file = world.folder / "one.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text().replace('n\\\\\\":1', 'n\\\\\\":2'))
    world.sql.end()
    world.redis.end()
    try:
        with pytest.raises(StoreError, match=r"postgresql://.*refuses connections"):
            async with world.host("one"):
                pass
        assert "its checksum is not that of its content" in caplog.text
    finally:
        world.sql.start()
        world.redis.start()


async def test_a_file_that_cannot_be_written_is_an_alarm(world: World) -> None:
    """The change is stored and in force all the same."""
    async with world.host("folder/one") as store:
        assert await put(store, 1) == 1
        assert "folder/one.json" in store.condition().alarms["file"]


async def test_sql_that_was_put_back_does_not_take_rules_back(world: World) -> None:
    """What is in force stays, the alarm says so, and the next change is stored above both."""
    async with world.host("one") as one, world.host("two") as two:
        for number in (1, 2, 3):
            await put(one, number)
        await newer(two, 2)
        await world.run_sql("DELETE FROM {schema}.rules WHERE version > 1")
        for store in (one, two):
            known = await store.rules()
            assert known is not None
            assert known.version == 3
            assert "was it put back from a copy" in store.condition().alarms["sql_behind"]
        assert await put(one, 4, expected=3) == 4
        assert (await newer(two, 3)).document == {"n": 4}
        assert await two.newer(4, seconds=0) is None
        assert two.condition().alarms == {}
        assert [stored.version for stored in await two.history()] == [4, 1]


async def test_sql_that_comes_back_with_another_document_is_the_truth(world: World) -> None:
    """Of the same version, as a replica without the last change has that took over; who waits is told."""
    async with world.host("one") as one:
        await put(one, 1)
        await put(one, 2)
        world.sql.end()
        await until_alarmed(one, "sql_away")
        world.sql.start()
        await world.run_sql("DELETE FROM {schema}.rules WHERE version = 2")
        beside = open_store(world.place().sql)
        await beside.open()
        await beside.put_rules({"n": "other"}, expected=1, author="bob", reason="", at=1.0)
        await beside.close()
        async with asyncio.timeout(60):
            while not one.condition().returns:
                assert await one.newer(2, seconds=10) is None
        known = await one.rules()
        assert known is not None
        assert (known.version, known.document) == (2, {"n": "other"})
        assert await put(one, 3, expected=2) == 3


async def test_sql_that_is_unexpectedly_empty_is_not_seeded_anew(world: World) -> None:
    """The rules known here, and by a host that starts now from the copy, stay."""
    async with world.host("one") as one:
        await put(one, 1)
        await put(one, 2)
        await world.run_sql("DELETE FROM {schema}.rules")
        async with world.host("new") as new:
            for store in (one, new):
                known = await store.rules()
                assert known is not None
                assert known.version == 2
            assert await put(new, 3, expected=2) == 3


async def test_the_file_of_another_store_is_left_aside(world: World) -> None:
    """A new database is a new beginning, however high the versions of the old one were."""
    async with world.host("one") as one:
        for number in range(3):
            await put(one, number)
    await world.run_sql("DROP SCHEMA {schema} CASCADE")
    async with world.raw_redis() as client:
        await client.flushall()
    async with world.host("one") as one:
        assert await one.rules() is None
        assert await put(one, 7, expected=0) == 1
