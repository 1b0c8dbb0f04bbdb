"""A store in a PostgreSQL database, for any number of hosts."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, Float, NullPool, cast, extract, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from understudy.config import DEFAULT_ENVIRONMENT, PostgresPlace
from understudy.errors import StoreError
from understudy.store.area import Area
from understudy.store.postgres_trouble import as_store_errors
from understudy.store.sample import Bounds
from understudy.store.schema import REVISION, VERSION_TABLE
from understudy.store.sql import SqlStore

POOL_SIZE: Final = 4
"""One for batches of evidence, one for a change of rules, two for readers. More hosts, not more
connections, is how load grows, and PostgreSQL allows 100 in all unless told otherwise."""

MIGRATION_SECONDS: Final = 30.0
"""Deadline of `open`: a migration may have to copy a table."""

_LOCKS: Final = 0x756E6473
"""The first half of the names of our advisory locks ("unds"); the second is the area, or 0 to migrate."""

_BEGIN = text(
    "SELECT set_config('search_path', :schema, true), set_config('statement_timeout', :limit, true),"
    " set_config('lock_timeout', :limit, true),"
    " set_config('idle_in_transaction_session_timeout', :limit, true)"
)
_SERVER_CLOCK: Final = cast(extract("epoch", func.clock_timestamp()), Float(53))
"""Samples grow old by it: a host whose own clock is wrong drops nobody's."""

_LOCK = text("SELECT pg_advisory_xact_lock(:locks, :area)")
_RING = text("SELECT pg_notify(:channel, '')")
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)

LISTEN_SECONDS: Final = 1.0
"""How long it takes at most to begin to listen, and to end: it makes changes faster, and is no condition."""

_TABLE = text("SELECT to_regclass(:name) IS NOT NULL")
_REVISION = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
_CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema}"


class PostgresDatabase:
    """One schema of one database, over a few connections that are checked before each use."""

    def __init__(self, place: PostgresPlace, *, deadline_seconds: float) -> None:
        self._dsn = place.dsn
        self._schema = place.schema
        self._name = place.shown
        self._deadline_seconds = deadline_seconds
        self._opening = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._running = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._trouble = ""

    async def open(self) -> None:
        """Connect; make schema and tables, or bring them to this version, if need be. Raises StoreError."""
        try:
            with as_store_errors(self._name, deadline_seconds=MIGRATION_SECONDS):
                async with asyncio.timeout(MIGRATION_SECONDS), self._opening:
                    if self._engine is None:
                        self._engine = await self._checked(self._new_engine())
        except StoreError as error:
            self._trouble = str(error)
            raise

    async def close(self) -> None:
        """Wait for what runs, then close all connections."""
        with as_store_errors(self._name, deadline_seconds=self._deadline_seconds):
            async with asyncio.timeout(self._deadline_seconds), self._opening:
                engine, self._engine = self._engine, None
                self._trouble = ""
                if engine is not None:
                    try:
                        await self._is_idle.wait()
                    finally:
                        await engine.dispose()

    @asynccontextmanager
    async def transaction(self, *, writes: Area | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by an exception or a cancellation.

        Those that write one area queue for its lock, in all processes, so what one reads cannot change
        before it writes. A process that stops in the middle loses connection and lock after the deadline.
        Raises StoreError.
        """
        with as_store_errors(self._name, deadline_seconds=self._deadline_seconds):
            async with asyncio.timeout(self._deadline_seconds):
                engine = self._engine
                if engine is None:
                    raise StoreError(self._trouble or f"store {self._name}: is not open")
                self._enter()
                try:
                    async with engine.connect() as connection, connection.begin():
                        await self._begin(connection, self._deadline_seconds)
                        if writes is not None:
                            await connection.execute(_LOCK, {"locks": _LOCKS, "area": int(writes)})
                        yield connection
                finally:
                    self._leave()

    async def ring(self, connection: AsyncConnection) -> None:
        """See Database.ring. The channel has the name of the schema."""
        await connection.execute(_RING, {"channel": self._schema})

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        """See Database.listening. On a connection of its own: LISTEN belongs to a session."""
        bell = asyncio.Event()
        connection = await self._listener(bell)
        try:
            yield bell
        finally:
            if connection is not None:
                with contextlib.suppress(*_FAILURES):
                    await connection.close(timeout=LISTEN_SECONDS)

    async def _listener(self, bell: asyncio.Event) -> Any:
        """A connection that sets *bell*; None when there can be none: then the version is asked for alone."""
        connection = None
        try:
            connection = await asyncpg.connect(self._dsn, timeout=LISTEN_SECONDS)
            await connection.add_listener(self._schema, lambda *_: bell.set())
        except BaseException as error:
            if connection is not None:
                connection.terminate()
            if isinstance(error, _FAILURES):
                return None
            raise
        return connection

    async def settle(self) -> None:
        """Nothing to do: old versions of rows go when PostgreSQL's autovacuum comes by."""

    def _enter(self) -> None:
        self._running += 1
        self._is_idle.clear()

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._is_idle.set()

    async def _begin(self, connection: AsyncConnection, seconds: float) -> None:
        # For the transaction only, not for the session: so it works through a pooler, too.
        limit = f"{int(seconds * 1000)}ms"
        await connection.execute(_BEGIN, {"schema": self._schema, "limit": limit})

    def _new_engine(self, **pool: Any) -> AsyncEngine:
        pool = pool or {
            "pool_size": POOL_SIZE,
            "max_overflow": 0,
            "pool_timeout": self._deadline_seconds,
            "pool_pre_ping": True,
        }
        return create_async_engine("postgresql+asyncpg://", async_creator=self._connect, **pool)

    async def _connect(self) -> Any:
        return await asyncpg.connect(self._dsn, timeout=self._deadline_seconds)

    async def _checked(self, engine: AsyncEngine) -> AsyncEngine:
        try:
            async with engine.connect() as connection, connection.begin():
                await self._begin(connection, self._deadline_seconds)
                revision = await self._revision(connection)
            if revision != REVISION:
                await self._migrate(revision)
        except BaseException:
            await engine.dispose()
            raise
        return engine

    async def _revision(self, connection: AsyncConnection) -> str:
        """The revision of the tables; empty when there are none."""
        if not await connection.scalar(_TABLE, {"name": f"{self._schema}.{VERSION_TABLE}"}):
            return ""
        return str(await connection.scalar(_REVISION) or "")

    async def _migrate(self, revision: str) -> None:
        migration = await asyncio.to_thread(importlib.import_module, "understudy.store.migration")
        if revision and revision not in migration.revisions():
            raise StoreError(
                f"store {self._name}: was written by a newer Understudy (tables {revision}, this version"
                f" knows {REVISION}); run that version, or name another schema (?schema=…)"
            )
        # In a thread with a loop of its own, as a whole: Alembic cannot do two at a time.
        await asyncio.to_thread(asyncio.run, self._moved(migration.upgrade))

    async def _moved(self, upgrade: Callable[[Connection], None]) -> None:
        engine = self._new_engine(poolclass=NullPool)
        try:
            async with (
                asyncio.timeout(MIGRATION_SECONDS),
                engine.connect() as connection,
                connection.begin(),
            ):
                await self._begin(connection, MIGRATION_SECONDS)
                # Of several hosts that come at once, the first does it and the others find it done.
                await connection.execute(_LOCK, {"locks": _LOCKS, "area": 0})
                await connection.exec_driver_sql(_CREATE_SCHEMA.format(schema=self._schema))
                await connection.run_sync(upgrade)
        finally:
            await engine.dispose()


class PostgresStore(SqlStore):
    """``postgresql://…``: any number of hosts may use one database."""

    def __init__(
        self,
        place: PostgresPlace,
        *,
        bounds: Bounds | None = None,
        deadline_seconds: float = 5.0,
        clock: Callable[[], float] | None = None,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        """Nothing is touched before `open`. *deadline_seconds* bounds a whole operation."""
        super().__init__(
            PostgresDatabase(place, deadline_seconds=deadline_seconds),
            insert=insert,
            name=place.shown,
            bounds=bounds,
            clock=clock or _SERVER_CLOCK,
            environment=environment,
        )
