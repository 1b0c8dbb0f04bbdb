"""A real PostgreSQL that is stopped, frozen, locked, shared and migrated under the store."""

import asyncio
import contextlib
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from certificates import Authority
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import create_async_engine
from store_servers import Server, postgres_server, postgres_url
from store_world import PATIENCE_SECONDS

from understudy.config import PostgresPlace, postgres_place
from understudy.errors import StoreError
from understudy.store import migration, open_store, postgres, sql
from understudy.store.postgres import POOL_SIZE, PostgresStore

SCHEMA = "understudy_faults"


@pytest.fixture
async def place() -> PostgresPlace:
    """The server of this run, with a schema that is not there yet."""
    async with raw(postgres_url()) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return postgres_place(f"{postgres_url()}?schema={SCHEMA}")


@pytest.fixture(scope="module")
def mine() -> Iterator[Server]:
    """A server that tests may stop; they start it again."""
    with postgres_server() as server:
        yield server


def url_of(server: Server, options: str = "") -> str:
    return f"postgresql://understudy@127.0.0.1:{server.port}/postgres{options}"


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def opened(place: PostgresPlace, **settings: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(place, **{"deadline_seconds": PATIENCE_SECONDS, **settings})
    await store.open()
    try:
        yield store
    finally:
        with contextlib.suppress(StoreError):
            await store.close()


async def put(store: PostgresStore, number: int, expected: int | None = None) -> int:
    stored = await store.put_rules({"n": number}, expected=expected, author="ann", reason="", at=1.0)
    return stored.version


async def add(store: PostgresStore, sequence: int) -> bool:
    return await store.add_evidence(source="w", sequence=sequence, counts={("a",): 1}, samples=[])


@contextmanager
def hasty(store: PostgresStore) -> Iterator[None]:
    """Let *store* give up soon, meanwhile."""
    database = store._database
    assert isinstance(database, postgres.PostgresDatabase)
    database._deadline_seconds = 0.3
    try:
        yield
    finally:
        database._deadline_seconds = PATIENCE_SECONDS


async def test_hosts_may_start_at_once(place: PostgresPlace) -> None:
    """Of four that find an empty database one makes the tables; all open."""
    stores = [PostgresStore(place) for _ in range(4)]

    await asyncio.gather(*(store.open() for store in stores))

    assert [await store.rules() for store in stores] == [None] * 4
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_batch_that_two_hosts_bring_is_added_once(place: PostgresPlace) -> None:
    """A worker that reconnects to another control process repeats its last batch there."""
    async with opened(place) as one, opened(place) as other:
        added = await asyncio.gather(*(add(store, n) for n in range(10) for store in (one, other)))

        assert (await one.evidence())[("a",)] == sum(added)
        assert await add(other, 9) is False


async def listens(place: PostgresPlace) -> None:
    """Wait until somebody listens to the bell of *place*."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    async with raw(postgres_url()) as watcher, asyncio.timeout(60):
        while not await watcher.fetchval(asked):
            await asyncio.sleep(0.01)


async def test_the_bell_is_heard_at_once(place: PostgresPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change on one host is known on the other before it would ask by itself; nobody is left listening."""
    monkeypatch.setattr(sql, "EVERY_SECONDS", 600.0)
    monkeypatch.setattr(postgres, "LISTEN_SECONDS", PATIENCE_SECONDS)
    async with opened(place) as one, opened(place) as other:
        waiting = asyncio.gather(other.newer(0, seconds=600))
        await listens(place)
        async with asyncio.timeout(60):
            await put(one, 1)
            (newer,) = await waiting
        assert newer is not None
        assert newer.version == 1
        waiting = asyncio.gather(other.newer(1, seconds=600))
        await listens(place)
        waiting.cancel()
        async with asyncio.timeout(60), raw(postgres_url()) as watcher:
            while await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"):
                await asyncio.sleep(0.01)


async def test_without_a_bell_the_version_is_asked_for(
    place: PostgresPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler may pass no notifications on, a server may have no room for one more connection."""
    monkeypatch.setattr(sql, "EVERY_SECONDS", 0.05)
    async with opened(place) as one, opened(place) as other:
        await one.version()
        await other.version()

        async def refused(*_: object, **__: object) -> None:
            raise asyncpg.TooManyConnectionsError("too many clients already")

        monkeypatch.setattr(asyncpg, "connect", refused)
        waiting = asyncio.gather(other.newer(0, seconds=60))
        await put(one, 1)
        async with asyncio.timeout(60):
            (newer,) = await waiting
        assert newer is not None


async def test_connections_are_bounded(place: PostgresPlace) -> None:
    """However many operations run at once, the server sees no more than the pool holds."""
    async with opened(place) as store, raw(postgres_url()) as watcher:
        # Not those of the server itself: it cleans up after others at times.
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        before = await watcher.fetchval(sessions)
        await asyncio.gather(*(store.history() for _ in range(100)))

        assert await watcher.fetchval(sessions) - before < POOL_SIZE


async def test_a_lock_of_somebody_else_ends_in_an_error(place: PostgresPlace) -> None:
    """A write that waits too long says so, and reads do not wait at all."""
    async with opened(place) as store, raw(postgres_url()) as other:
        await put(store, 1)
        async with other.transaction():
            await other.execute(f"LOCK TABLE {SCHEMA}.rules IN SHARE MODE")
            with hasty(store), pytest.raises(StoreError, match=r"locked by another|within 0\.3 s"):
                await put(store, 2)
            newest = await store.rules()
            assert newest is not None
            assert newest.version == 1
        assert await put(store, 2) == 2


async def test_a_cancelled_write_leaves_nothing(place: PostgresPlace) -> None:
    """Neither a row nor the lock: the next writer goes straight on."""
    async with opened(place) as store, raw(postgres_url()) as other:
        async with other.transaction():
            await other.execute(f"LOCK TABLE {SCHEMA}.rules IN SHARE MODE")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(put(store, 1), 0.2)
        assert await asyncio.wait_for(put(store, 2), 60) == 1


async def test_a_stopped_server_is_an_error_until_it_is_back(mine: Server) -> None:
    """The store says what is wrong, and works again by itself; nothing that was stored is lost."""
    async with opened(postgres_place(url_of(mine))) as store:
        version = await put(store, 1)
        mine.end()
        with pytest.raises(StoreError) as caught:
            await store.rules()
        with pytest.raises(StoreError, match="refuses connections; is PostgreSQL running there"):
            await store.rules()
        assert "127.0.0.1" in str(caught.value)
        mine.start()
        newest = await until_answered(store)
        assert newest.version == version
        assert await put(store, 2, expected=version) == version + 1


async def until_answered(store: PostgresStore) -> Any:
    until = time.monotonic() + 60
    while True:
        try:
            return await store.rules()
        except StoreError:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)


async def test_a_frozen_server_costs_no_more_than_the_deadline(mine: Server) -> None:
    """Every operation fails in time, and the store works again once the server does."""
    async with opened(postgres_place(url_of(mine))) as store:
        version = await put(store, 1)
        mine.freeze()
        try:
            with hasty(store), pytest.raises(StoreError, match=r"did not answer within 0\.3 s"):
                await asyncio.wait_for(put(store, 2), 50)
        finally:
            mine.thaw()
        assert (await until_answered(store)).version in (version, version + 1)
        assert await put(store, 3) > version


async def test_a_server_that_is_away_at_the_start_is_told(mine: Server) -> None:
    """`open` says why; the same store opens once the server runs."""
    mine.end()
    store = PostgresStore(postgres_place(url_of(mine)))
    with pytest.raises(StoreError, match="refuses connections"):
        await store.open()
    with pytest.raises(StoreError, match="refuses connections"):
        await store.rules()
    mine.start()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreError):
                await store.open()
                break
    await store.rules()
    await store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://understudy@127.0.0.1:{port}/nowhere", "has no such database; create it"),
        (
            "postgresql://stranger@127.0.0.1:{port}/postgres",
            'store postgresql://stranger@127.*"stranger"|refuses',
        ),
        ("postgresql://u:secret@127.0.0.1:1/postgres", "refuses connections"),
        ("postgresql://understudy@127.0.0.1:{port}/postgres?sslmode=require", "SSL"),
        ("postgresql://understudy@127.0.0.1:{port}/postgres?sslmode=none", "sslmode"),
        ("postgresql://understudy@127.0.0.1:{port}/postgres?work=1", "work"),
    ],
)
async def test_a_wrong_url_says_what_is_wrong(mine: Server, url: str, message: str) -> None:
    """At `open`, without the password."""
    store = open_store(url.format(port=mine.port))
    with pytest.raises(StoreError, match=message) as caught:
        await store.open()
    assert "secret" not in str(caught.value)


async def test_a_newer_store_is_left_alone(place: PostgresPlace) -> None:
    """Tables of a later version are named, not touched."""
    async with opened(place), raw(postgres_url()) as other:
        await other.execute(f"UPDATE {SCHEMA}.understudy_schema SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer Understudy \(tables 9999"):
        await PostgresStore(place).open()


async def test_a_store_of_the_version_before_is_brought_up_with_its_data(place: PostgresPlace) -> None:
    """Down to the tables of before and up again: rules, counts and samples' numbers stay."""
    async with opened(place) as store:
        await put(store, 1)
        await store.add_evidence(source="w", sequence=7, counts={("a", "b"): 5}, samples=[])
    await moved(place, "0002")
    async with raw(postgres_url()) as other:
        row = await other.fetchrow(f"SELECT * FROM {SCHEMA}.evidence")
        assert dict(row) == {"key": '["a","b"]', "n": 5}

    async with opened(place) as store, raw(postgres_url()) as other:
        assert await store.evidence() == {("a", "b"): 5}
        assert await other.fetchval(f"SELECT digest FROM {SCHEMA}.evidence") == (
            hashlib.sha256(b'["a","b"]').digest()
        )
        assert await store.add_evidence(source="w", sequence=7, counts={("a",): 1}, samples=[]) is False
        assert await put(store, 2) == 2


async def moved(place: PostgresPlace, revision: str) -> None:
    """Move the tables down, as an operator would before going back to an older version."""

    def downgrade(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
        migration.downgrade(connection, revision)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(place.dsn), poolclass=NullPool
    )
    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
    await engine.dispose()


async def test_other_tables_of_the_database_are_left_alone(place: PostgresPlace) -> None:
    """An application's own ``rules`` in the usual schema are not ours."""
    async with raw(postgres_url()) as other:
        await other.execute("CREATE TABLE IF NOT EXISTS public.rules (mine TEXT)")
    async with opened(place) as store:
        assert await put(store, 1) == 1
    async with raw(postgres_url()) as other:
        assert await other.fetchval("SELECT count(*) FROM public.rules") == 0
        await other.execute("DROP TABLE public.rules")


async def test_tls_is_verified_as_the_url_asks(tmp_path: Path) -> None:
    """A server whose authority is named is taken, one whose authority is another is refused."""
    authority, other = Authority(tmp_path, "right.pem"), Authority(tmp_path, "wrong.pem")
    async with tls_before(postgres_url(), authority.server("127.0.0.1")) as port:
        url = f"postgresql://understudy@127.0.0.1:{port}/postgres?schema={SCHEMA}&sslmode=verify-full"
        async with opened(postgres_place(f"{url}&sslrootcert={authority.file}")) as store:
            assert await store.history(limit=1) is not None
        with pytest.raises(StoreError, match=r"(?i)certificate verify failed"):
            await PostgresStore(postgres_place(f"{url}&sslrootcert={other.file}")).open()


@asynccontextmanager
async def tls_before(url: str, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS as PostgreSQL does, and passes on to the server at *url*, which does not."""
    place = urlsplit(url)

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(context)
            inner, outer = await asyncio.open_connection(place.hostname, place.port)
            await asyncio.gather(passed(reader, outer), passed(inner, writer))

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(65536):
                writer.write(data)

    async with await asyncio.start_server(taken, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
