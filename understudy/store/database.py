"""One SQLite file: opening it, moving its tables to this version, one transaction at a time."""

import asyncio
import errno
import importlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, NullPool, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from understudy.errors import StoreError
from understudy.store.area import Area
from understudy.store.forks import Grip, check_inherited
from understudy.store.schema import REVISION, VERSION_TABLE
from understudy.store.trouble import as_store_errors, is_code

_MIGRATION_SECONDS = 30.0
"""Deadline of `open`: a migration may have to copy a table."""


class SqliteDatabase:
    """The file at *path*, over one connection.

    One connection, because SQLite has one writer anyway: tasks of this process queue here, in order
    and with a deadline, instead of polling each other's lock inside SQLite. Nothing is open while the
    process forks: afterwards this one goes on with a new connection, and its child makes its own store.
    """

    def __init__(self, path: Path, *, busy_timeout_seconds: float, deadline_seconds: float) -> None:
        self._path = path
        self._busy_timeout_seconds = busy_timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._lock = asyncio.Lock()
        self._engine: AsyncEngine | None = None
        self._grip = Grip()
        self._is_frozen = self._is_read_only = False
        self._trouble = ""

    async def open(self) -> None:
        """Connect; make the file and bring its tables to this version if need be.

        Raises StoreError. A file that may only be read opens when its tables are current.
        """
        try:
            await self._open()
        except StoreError as error:
            self._trouble = str(error)
            raise

    async def _open(self) -> None:
        with as_store_errors(self._path, deadline_seconds=_MIGRATION_SECONDS):
            async with asyncio.timeout(_MIGRATION_SECONDS), self._lock, self._grip.held():
                if self._engine is None:
                    _prepare(self._path)
                    self._engine = await self._connected()

    async def close(self) -> None:
        """Wait for the running operation, then close the connection and end its thread."""
        with as_store_errors(self._path, deadline_seconds=self._deadline_seconds):
            async with asyncio.timeout(self._deadline_seconds), self._lock, self._grip.held():
                engine, self._engine = self._engine, None
                if engine is not None:
                    await engine.dispose()

    @asynccontextmanager
    async def transaction(self, *, writes: Area | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back by an exception or a cancellation.

        A writing one takes SQLite's write lock at its start, so what it reads cannot change before it
        writes. Raises StoreError.
        """
        with as_store_errors(self._path, deadline_seconds=self._deadline_seconds):
            async with asyncio.timeout(self._deadline_seconds), self._lock, self._grip.held():
                engine = await self._current()
                async with engine.connect() as connection, connection.begin():
                    await connection.exec_driver_sql("BEGIN" if writes is None else "BEGIN IMMEDIATE")
                    yield connection

    async def ring(self, connection: AsyncConnection) -> None:
        """See Database.ring. A file has no bell."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        """See Database.listening."""
        yield asyncio.Event()

    async def settle(self) -> None:
        """Move what the write-ahead log holds into the file, so that nothing overwritten stays in it.

        Quietly does less while somebody else reads. Raises StoreError.
        """
        with as_store_errors(self._path, deadline_seconds=self._deadline_seconds):
            async with asyncio.timeout(self._deadline_seconds), self._lock, self._grip.held():
                if self._engine is not None:
                    engine = await self._current()
                    async with engine.connect() as connection:
                        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def _current(self) -> AsyncEngine:
        """The engine, on the file as it is now. Raises StoreError when it is not open, or another file."""
        if self._engine is None:
            raise StoreError(self._trouble or f"store {self._path}: is not open")
        self._check_identity()
        if self._grip.is_let_go or self._has_thawed():
            await self._engine.dispose()
            self._engine = await self._connected()
        return self._engine

    def _has_thawed(self) -> bool:
        """Whether the file, which was opened as one that may only be read, may be written to."""
        if self._is_frozen:
            return not _is_frozen(self._path)
        return self._is_read_only and _may_write(self._path)

    def _check_identity(self) -> None:
        """Refuse to write into a file that has no name any more: a restart would lose it."""
        try:
            is_same = _identity(self._path) == self._grip.identity
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StoreError(
                f"store {self._path}: was removed or replaced while open; put the file back, or restart"
                " Understudy to go on with what is there now"
            )

    async def _connected(self) -> AsyncEngine:
        """An engine on the file as it is now. Raises what SQLite raises."""
        identity = _identity(self._path)
        if trouble := check_inherited(self._path, identity):
            raise StoreError(trouble)
        self._grip.identity = identity
        # SQLite opens it to read where it may not write, and stays with that.
        is_read_only, is_frozen = not _may_write(self._path), _is_frozen(self._path)
        engine = await self._checked(self._new_engine(is_frozen=is_frozen))
        # Not before: what could not be opened is tried again by the next operation.
        self._grip.is_let_go, self._is_frozen, self._is_read_only = False, is_frozen, is_read_only
        return engine

    async def _checked(self, engine: AsyncEngine) -> AsyncEngine:
        try:
            async with engine.connect() as connection:
                await self._bring_to_revision(connection)
                await _use_log(connection)
        except BaseException:
            await engine.dispose()
            raise
        return engine

    async def _bring_to_revision(self, connection: AsyncConnection) -> None:
        async with connection.begin():
            revision = await self._revision(connection)
        if revision == REVISION:
            return
        migration = await asyncio.to_thread(importlib.import_module, "understudy.store.migration")
        if revision and revision not in migration.revisions():
            raise StoreError(
                f"store {self._path}: was written by a newer Understudy (tables {revision}, this version"
                f" knows {REVISION}); run that version, or name another file under `store:`"
            )
        # In a thread, as a whole: it blocks, and Alembic cannot do two at a time.
        await asyncio.to_thread(
            migration.upgrade_sqlite, self._url("sqlite"), busy_timeout_seconds=self._busy_timeout_seconds
        )

    async def _revision(self, connection: AsyncConnection) -> str:
        """The revision of the tables; empty when there is no table at all."""
        names = (await connection.exec_driver_sql("SELECT name FROM sqlite_master")).scalars().all()
        if VERSION_TABLE in names:
            found = await connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
            return str(found.scalar() or "")
        if names:
            raise StoreError(
                f"store {self._path}: is the SQLite database of another program (tables"
                f" {', '.join(map(str, names[:3]))}); name another file under `store:`"
            )
        return ""

    def _new_engine(self, *, is_frozen: bool) -> AsyncEngine:
        arguments = {
            "timeout": self._busy_timeout_seconds,
            "isolation_level": None,
            "factory": self._grip.connect,
        }
        if is_frozen:
            # In WAL mode even a reader makes files beside the database, which the folder may forbid and
            # which would stay, read-only too. So it is read as a file that does not change; a
            # connection each time, as somebody else may change it between two of them.
            url = self._url("sqlite+aiosqlite", immutable="1")
            engine = create_async_engine(url, poolclass=NullPool, connect_args=arguments)
        else:
            url = self._url("sqlite+aiosqlite")
            engine = create_async_engine(url, pool_size=1, max_overflow=0, connect_args=arguments)
        event.listen(engine.sync_engine, "connect", _set_up)
        event.listen(engine.sync_engine, "invalidate", _roll_back)
        return engine

    def _url(self, driver: str, **uri: str) -> URL:
        # mode=rw: a file that vanished is an error, not a new empty store.
        name = f"file:{quote(str(self._path))}"
        return URL.create(driver, database=name, query={"uri": "true", "mode": "rw", **uri})


def _set_up(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # FULL: a kill switch that was confirmed must outlive a power cut, and batches are few a second.
    cursor.execute("PRAGMA synchronous = FULL")
    # What is forgotten is overwritten, not only unlinked: samples hold what users sent.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


def _roll_back(connection: Any, _record: object, _reason: object) -> None:
    """End the transaction of a connection that is given up because its task was cancelled.

    Closing alone would not: SQLite keeps a connection, and its write lock, as long as a statement of it
    lives, and a cancelled SELECT lives until the garbage collector comes.
    """
    try:
        connection.run_async(lambda driver: asyncio.shield(driver.rollback()))
    except asyncio.CancelledError:
        pass  # cancelled once more while waiting: the first cancellation is on its way already
    except (ValueError, sqlite3.Error):
        pass  # already closed


async def _use_log(connection: AsyncConnection) -> None:
    """Write-ahead log, so that readers and the writer do not wait for each other; kept by the file.

    Without it everything still works, only slower: somebody else is in the file just now, it is
    read-only, or it lies on a network mount.
    """
    try:
        await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    except DBAPIError as error:
        if not is_code(error, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY):
            raise


def _prepare(path: Path) -> None:
    """Make the file if it is not there, readable for its owner only: samples hold what users sent."""
    if not path.parent.is_dir():
        raise StoreError(f"store {path}: the folder {path.parent} does not exist; create it")
    if not path.exists():
        path.touch(mode=0o600)
    elif not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"store {path}: is not a file; name a file under `store:`")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_frozen(path: Path) -> bool:
    """Whether this user may not write *path* or its folder, and *path* holds everything.

    It does not hold everything while a write-ahead log lies beside it: somebody else is writing, or
    died writing, and SQLite has to sort that out.
    """
    if path.with_name(path.name + "-wal").exists():
        return False
    if not _may_write(path):
        return True
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return False


def _may_write(path: Path) -> bool:
    """Whether this user may write to the file at *path*.

    Asked, not tried: closing a file gives up all locks that SQLite has on it in this process
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
