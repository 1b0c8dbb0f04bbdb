"""A real Redis that is stopped, frozen, filled up, guarded and found in other ways."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from redis.asyncio import Redis
from store_servers import Server, redis_sentinel, redis_server
from store_world import PATIENCE_SECONDS

from understudy.config import redis_place
from understudy.errors import StoreError
from understudy.store import Bounds, Sample, open_store, redis_rules
from understudy.store.redis_store import RedisStore


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that tests may stop; they start it again."""
    with redis_server() as started:
        yield started


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[Any]:
    """A client beside the store, of an empty server."""
    async with Redis(port=server.port) as client:
        await client.flushall()
        yield client


@asynccontextmanager
async def opened(
    server: Server, url: str = "redis://127.0.0.1:{port}", **settings: Any
) -> AsyncIterator[RedisStore]:
    patient = {"deadline_seconds": PATIENCE_SECONDS, **settings}
    store = RedisStore(redis_place(url.format(port=server.port)), **patient)
    await store.open()
    try:
        yield store
    finally:
        with contextlib.suppress(StoreError):
            await store.close()


async def put(store: RedisStore, number: int, expected: int | None = None) -> int:
    stored = await store.put_rules({"n": number}, expected=expected, author="ann", reason="", at=1.0)
    return stored.version


async def add(store: RedisStore, sequence: int, priority: float, source: str = "w") -> bool:
    shown = Sample(
        service="s",
        endpoint="e",
        path="/p",
        kind="value",
        priority=priority,
        at=time.time(),
        body={"n": sequence},
    )
    return await store.add_evidence(source=source, sequence=sequence, counts={("a",): 1}, samples=[shown])


async def test_samples_of_two_hosts_are_chosen_together(server: Server, raw: Any) -> None:
    """Each remembers what the samples were; what the other changed meanwhile is looked at again."""
    bounds = Bounds(samples_per_key=3)
    async with opened(server, bounds=bounds) as one, opened(server, bounds=bounds) as other:
        for n in range(10):
            store = (one, other)[n % 2]
            assert await add(store, n, 1 - n / 10, source=f"w{n % 2}")

        kept = [sample.priority for sample in await one.samples()]
        assert kept == pytest.approx([0.1, 0.2, 0.3])
        assert await other.samples() == await one.samples()
        assert await one.evidence() == {("a",): 10}


async def test_versions_are_bounded(server: Server, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last ones are kept, and counting goes on."""
    monkeypatch.setattr(redis_rules, "MOST_VERSIONS", 3)
    async with opened(server) as store:
        for number in range(1, 6):
            assert await put(store, number) == number

        assert [stored.version for stored in await store.history()] == [5, 4, 3]
        assert await raw.hlen("{understudy}:rules") == 4


async def test_the_bell_is_heard_at_once(server: Server, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change on one host is known on the other long before it would ask by itself."""
    monkeypatch.setattr(redis_rules, "POLL_SECONDS", 600.0)
    async with opened(server) as one, opened(server) as other:
        waiting = asyncio.gather(other.newer(0, seconds=600))
        while not (await raw.pubsub_numsub("{understudy}:bell"))[0][1]:
            await asyncio.sleep(0.01)
        await put(one, 1)
        (newer,) = await asyncio.wait_for(waiting, 60)
        assert newer is not None


async def test_a_bell_that_rings_for_nothing_is_only_a_hint(server: Server, raw: Any) -> None:
    """Whoever may publish cannot make anybody take anything: the version decides."""
    async with opened(server) as store:
        await put(store, 1)
        waiting = asyncio.gather(store.newer(1, seconds=0.5))
        while not (waiting.done() or (await raw.pubsub_numsub("{understudy}:bell"))[0][1]):
            await asyncio.sleep(0.01)
        await raw.publish("{understudy}:bell", "99")

        assert (await waiting)[0] is None


async def test_a_cancelled_command_answers_nobody_else(server: Server, raw: Any) -> None:
    """Its connection is closed: the next command gets its own answer, not the late one."""
    async with opened(server) as store:
        await put(store, 1)
        for _ in range(5):
            server.freeze()
            try:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.history(), 0.05)
            finally:
                server.thaw()
            assert await store.secret("units") == await store.secret("units")
            assert await store.version() == 1


async def test_a_stopped_server_is_an_error_until_it_is_back(server: Server, raw: Any) -> None:
    """The store says what is wrong, and works again by itself."""
    async with opened(server) as store:
        await put(store, 1)
        server.end()
        for _ in range(2):
            with pytest.raises(StoreError, match=r"refuses connections|closed|reset"):
                await store.rules()
        with pytest.raises(StoreError):
            await store.newer(0, seconds=5)
        server.start()
        assert await store.rules() is None  # this Redis keeps nothing
        assert await put(store, 2) == 1


async def test_a_frozen_server_costs_no_more_than_the_deadline(server: Server, raw: Any) -> None:
    """Every operation fails in time, and the store works again once the server does."""
    async with opened(server) as store:
        await put(store, 1)
        server.freeze()
        store._link._deadline_seconds = 0.3
        try:
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"did not answer within 0\.3 s"):
                await store.rules()
            with pytest.raises(StoreError, match=r"did not answer within 0\.3 s"):
                await store.newer(0, seconds=60)
            assert time.monotonic() - started < 50, "less than what it might have waited"
        finally:
            server.thaw()
        store._link._deadline_seconds = PATIENCE_SECONDS
        assert await put(store, 2) == 2


async def test_a_full_server_takes_no_half_batch(server: Server, raw: Any) -> None:
    """Over maxmemory nothing of a batch is added, and it may come again."""
    async with opened(server) as store:
        await raw.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreError, match="is full; raise maxmemory"):
                await add(store, 1, 0.5)
        finally:
            await raw.config_set("maxmemory", "0")
        assert await store.evidence() == {}
        assert await add(store, 1, 0.5) is True


async def test_a_user_with_its_own_rights_is_enough(server: Server, raw: Any) -> None:
    """Keys and bell of the prefix, no administration; without them the error says which to give."""
    rights = ["~{mine}:*", "&{mine}:*", "+@all", "-@admin", "-@dangerous"]
    await raw.execute_command("ACL", "SETUSER", "ann", "on", ">se/cr@t", "resetchannels", *rights)
    url = "redis://ann:se%2Fcr%40t@127.0.0.1:{port}"
    async with opened(server, url + "?prefix=mine") as store:
        assert await put(store, 1) == 1
        assert await add(store, 1, 0.5)
        assert await store.newer(0, seconds=1) is not None
        assert await store.forget_samples(unit=None) == 1
        await store.clear_evidence()
    async with opened(server, url + "?prefix=other") as store:
        with pytest.raises(StoreError, match=r"give it `~\{other\}:\* &\{other\}:\*"):
            await put(store, 1)
    await raw.execute_command("ACL", "DELUSER", "ann")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://127.0.0.1:1", "refuses connections; is Redis running there"),
        ("redis://ann:secret@127.0.0.1:{port}", "refuses user or password"),
        ("redis://127.0.0.1:{port}/99", "out of range"),
        ("redis+sentinel://127.0.0.1:1/main", "(?i)sentinel|master|refuses"),
        ("redis+cluster://127.0.0.1:{port}", "(?i)cluster"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong(server: Server, url: str, message: str) -> None:
    """At `open`, without the password."""
    store = open_store(url.format(port=server.port))
    with pytest.raises(StoreError, match=message) as caught:
        await store.open()
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match=message):
        await store.rules()


async def test_sentinel_names_the_primary(server: Server, raw: Any) -> None:
    """The store is where Sentinel says; a replica that was named directly says that it is one."""
    with redis_sentinel(server, "main") as sentinel:
        async with opened(sentinel, "redis+sentinel://127.0.0.1:{port}/main/0") as store:
            assert await put(store, 1) == 1
            assert await store.newer(0, seconds=1) is not None
    assert await raw.hget("{understudy}:rules", "newest") == b"1"
    await raw.replicaof("127.0.0.1", "1")
    async with opened(server) as store:
        with pytest.raises(StoreError, match="is a replica; name the primary"):
            await put(store, 2)
    await raw.replicaof("NO", "ONE")


async def test_a_cluster_holds_all_of_a_store_in_one_slot() -> None:
    """Every script and the bell work there."""
    with redis_server("--cluster-enabled", "yes") as node:
        client: Any = Redis(port=node.port)
        async with client:
            await client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while (await client.cluster("INFO"))["cluster_state"] != "ok":
                await asyncio.sleep(0.05)
        async with opened(node, "redis+cluster://127.0.0.1:{port}") as store:
            assert await put(store, 1) == 1
            assert await add(store, 1, 0.5) is True
            assert await add(store, 1, 0.5) is False
            assert await store.evidence() == {("a",): 1}
            assert len(await store.samples()) == 1
            assert await store.secret("units") == await store.secret("units")
            assert await store.newer(0, seconds=1) is not None
            assert await store.forget_samples(unit=None) == 1


async def test_tls_is_verified(server: Server, raw: Any, tmp_path: Path) -> None:
    """By the authority that the URL names: another server's certificate is refused."""
    authority, other = Authority(tmp_path, "right.pem"), Authority(tmp_path, "wrong.pem")

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(passed(reader, outer), passed(inner, writer))

    context = authority.server("127.0.0.1")
    async with await asyncio.start_server(taken, "127.0.0.1", 0, ssl=context) as front:
        port = front.sockets[0].getsockname()[1]
        async with opened(server, f"rediss://127.0.0.1:{port}?ca={authority.file}") as store:
            assert await put(store, 1) == 1
            assert await store.newer(0, seconds=1) is not None
        with pytest.raises(StoreError, match=r"(?i)certificate verify failed"):
            await RedisStore(redis_place(f"rediss://127.0.0.1:{port}?ca={other.file}")).open()


async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what one side says to the other, until it ends."""
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
