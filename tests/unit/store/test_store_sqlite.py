"""The SQLite file: restarts, crashes, other processes, and every way a file can be wrong."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import StoreError, VersionConflict
from understudy.store import Sample, StoredRules, database
from understudy.store.area import Area
from understudy.store.schema import REVISION
from understudy.store.sqlite import SqliteStore

NOW = 1_700_000_000.0


@asynccontextmanager
async def opened(path: Path, **settings: Any) -> AsyncIterator[SqliteStore]:
    """A store on *path* that waits 50 ms for locks, closed at the end."""
    patient = {"busy_timeout_seconds": 0.05, "deadline_seconds": 60.0, "clock": lambda: NOW}
    store = SqliteStore(path, **{**patient, **settings})
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def put(store: SqliteStore, number: int, expected: int | None = None) -> StoredRules:
    return await store.put_rules({"n": number}, expected=expected, author="ann", reason="", at=NOW)


async def add(store: SqliteStore, sequence: int) -> bool:
    shown = Sample(
        service="s", endpoint="e", path="/p", kind="value", priority=0.5, at=NOW, body={"primary": 1}
    )
    return await store.add_evidence(source="w", sequence=sequence, counts={("a",): 1}, samples=[shown])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "understudy.db"


@pytest.fixture
async def written(path: Path) -> Path:
    """A file with one version and one batch."""
    async with opened(path) as store:
        await put(store, 1)
        await add(store, 1)
    return path


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def test_everything_survives_a_restart(written: Path) -> None:
    """Rules, history, counts, samples and what sources have sent."""
    async with opened(written) as store:
        newest = await store.rules()
        assert newest is not None
        assert (newest.version, newest.document, newest.author) == (1, {"n": 1}, "ann")
        assert await store.evidence() == {("a",): 1}
        assert len(await store.samples()) == 1
        assert await add(store, 1) is False
        with pytest.raises(VersionConflict):
            await put(store, 2, expected=0)


async def test_a_new_file_is_for_its_owner_alone(written: Path) -> None:
    """Samples hold what users sent: mode 0600, write-ahead log, nothing left beside it when closed."""
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert query(written, "PRAGMA journal_mode") == [("wal",)]
    assert [found.name for found in written.parent.iterdir()] == ["understudy.db"]


@pytest.mark.parametrize("name", ["a b.db", "100%.db", "é.db", "q?mode=memory.db", "h#1.db", "no-suffix"])
async def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    """What means something in a URL is only a letter in a file name."""
    async with opened(tmp_path / name) as store:
        await put(store, 1)

    assert [found.name for found in tmp_path.iterdir()] == [name]


async def test_an_empty_file_is_a_new_store(path: Path) -> None:
    """`touch` before the first start, or a start that died early, is no obstacle."""
    path.touch()

    async with opened(path) as store:
        assert (await put(store, 1)).version == 1


async def test_threads_end_at_close(path: Path) -> None:
    """Closing leaves no thread of the connection behind."""
    before = set(threading.enumerate())

    async with opened(path) as store:
        await put(store, 1)
        # Tables are made in the loop's executor, whose thread lives as long as the loop.
        inside = {thread for thread in set(threading.enumerate()) - before if not is_executor(thread)}

    assert len(inside) == 1
    for thread in inside:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in inside)


def is_executor(thread: threading.Thread) -> bool:
    return thread.name.startswith("asyncio_")


async def test_new_stores_may_be_opened_together(tmp_path: Path) -> None:
    """Four files at once, and one of them twice: each gets its own tables, once."""
    names = ["a.db", "a.db", "b.db", "c.db", "d.db"]
    stores = [SqliteStore(tmp_path / name, clock=lambda: NOW) for name in names]

    await asyncio.gather(*(store.open() for store in stores))
    versions = [(await put(store, 1)).version for store in stores]
    for store in stores:
        await store.close()

    assert versions == [1, 2, 1, 1, 1]


# Files that are wrong


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """No folder is made: a mistyped path must not become a store."""
    with pytest.raises(StoreError, match=r"store .*/nowhere/u\.db: the folder .*/nowhere does not exist"):
        await SqliteStore(tmp_path / "nowhere" / "u.db").open()

    assert not (tmp_path / "nowhere").exists()


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in place of the file is refused."""
    with pytest.raises(StoreError, match="is not a file"):
        await SqliteStore(tmp_path).open()


async def test_a_pipe_is_no_file(path: Path) -> None:
    """A named pipe, whose opening would wait for ever, is refused at once."""
    os.mkfifo(path)

    with pytest.raises(StoreError, match="is not a file"):
        await SqliteStore(path).open()


async def test_a_file_of_another_kind_is_left_alone(path: Path) -> None:
    """A text file is named, and not one byte of it is changed."""
    content = b"listen: 127.0.0.1:8080\n" * 100
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"understudy\.db: is not a SQLite database; move it away"):
        await SqliteStore(path).open()

    assert path.read_bytes() == content


async def test_a_store_that_could_not_be_opened_says_why(path: Path) -> None:
    """Whoever asks later is told what is wrong and the mend, not merely that it is not open."""
    path.write_bytes(b"x" * 4096)
    store = SqliteStore(path, busy_timeout_seconds=0.05)
    with pytest.raises(StoreError):
        await store.open()
    with pytest.raises(StoreError, match=r"is not a SQLite database; move it away"):
        await store.samples()


async def test_another_programs_database_is_left_alone(path: Path) -> None:
    """Our tables are not put beside those of somebody else."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")

    with pytest.raises(StoreError, match=r"database of another program \(tables cookies\)"):
        await SqliteStore(path).open()

    assert query(path, "SELECT name FROM sqlite_master") == [("cookies",)]


async def test_a_newer_store_is_refused(written: Path) -> None:
    """Tables of a version that is still to come are not guessed at; nothing is changed."""
    with closing(sqlite3.connect(written)) as connection, connection:
        connection.execute("UPDATE understudy_schema SET version_num = '9999'")

    with pytest.raises(StoreError, match=rf"newer Understudy \(tables 9999, this version knows {REVISION}\)"):
        await SqliteStore(written).open()

    assert query(written, "SELECT version_num FROM understudy_schema") == [("9999",)]


async def test_a_damaged_file_is_named(written: Path) -> None:
    """Pages overwritten by something else: the error says damaged and how to save the rest."""
    pages = written.read_bytes()
    written.write_bytes(pages[:4096] + b"\xff" * (len(pages) - 4096))

    with pytest.raises(StoreError, match=r"is damaged; .*\.recover"):
        async with opened(written) as store:
            await store.rules()


async def test_a_document_that_was_altered_is_not_used(written: Path) -> None:
    """Rules that do not match their checksum are an error, never rules."""
    with closing(sqlite3.connect(written)) as connection, connection:
        connection.execute("""UPDATE rules SET document = '{"n":2}'""")

    async with opened(written) as store:
        with pytest.raises(StoreError, match=r"understudy\.db: .*version 1 is damaged: its checksum"):
            await store.rules()


async def test_a_document_that_was_cut_is_not_used(written: Path) -> None:
    """Nor is half a document."""
    with closing(sqlite3.connect(written)) as connection, connection:
        connection.execute("""UPDATE rules SET document = '{"n":'""")

    async with opened(written) as store:
        with pytest.raises(StoreError, match="version 1 is damaged"):
            await store.rules()


async def test_a_full_disk_changes_nothing(written: Path) -> None:
    """A file that may not grow: the put is refused whole, reading goes on."""
    async with opened(written) as store:
        async with store._database.transaction() as connection:
            await connection.exec_driver_sql("PRAGMA max_page_count = 1")
        with pytest.raises(StoreError, match="disk is full"):
            await store.put_rules({"a": "x" * 100_000}, expected=1, author="", reason="", at=NOW)

        assert (await put_after_room(store)).version == 2


async def put_after_room(store: SqliteStore) -> StoredRules:
    async with store._database.transaction() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    return await put(store, 2, expected=1)


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_went_away_is_not_written_to(written: Path, is_replaced: bool) -> None:
    """Rules put into a file without a name would be lost at the next start: refused, until it is back."""
    aside = written.with_name("aside.db")
    async with opened(written) as store:
        written.rename(aside)
        if is_replaced:
            written.touch()
        with pytest.raises(StoreError, match="was removed or replaced while open"):
            await put(store, 2)
        aside.rename(written)

        assert (await put(store, 2)).version == 2


# Permissions


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Take from root, for one test, the power to write what is read-only (CAP_DAC_OVERRIDE)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, held) != 0:
        pytest.skip("root's capabilities cannot be read here")
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, fewer) != 0:
        pytest.skip("root's capabilities cannot be changed here")
    yield
    assert libc.capset(header, held) == 0


@contextlib.contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = stat.S_IMODE(path.stat().st_mode)
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


@pytest.mark.usefixtures("unprivileged")
async def test_a_read_only_file_can_be_read(written: Path) -> None:
    """Rules and evidence are served; a put says read-only; with permission it succeeds again."""
    with mode(written, 0o444):
        async with opened(written) as store:
            newest = await store.rules()
            assert newest is not None
            assert newest.document == {"n": 1}
            assert await store.evidence() == {("a",): 1}
            with pytest.raises(StoreError, match=r"understudy\.db: is read-only .* give write permission"):
                await put(store, 2)
            with pytest.raises(StoreError, match="is read-only"):
                await add(store, 2)
            assert [found.name for found in written.parent.iterdir()] == ["understudy.db"]
            written.chmod(0o600)
            assert (await put(store, 2, expected=1)).version == 2


@pytest.mark.usefixtures("unprivileged")
async def test_a_file_that_may_be_written_again_is_so_although_opening_it_failed_once(written: Path) -> None:
    """Somebody has it for himself at the first attempt: the next one opens it for writing."""
    with mode(written, 0o444):
        async with opened(written) as store:
            written.chmod(0o600)
            with closing(sqlite3.connect(written, isolation_level=None)) as other:
                other.execute("PRAGMA locking_mode = EXCLUSIVE")
                other.execute("BEGIN EXCLUSIVE")
                with pytest.raises(StoreError, match="is locked"):
                    await store.rules()

            assert (await put(store, 2, expected=1)).version == 2


@pytest.mark.usefixtures("unprivileged")
async def test_a_file_with_a_log_that_may_be_written_again_is_so(written: Path) -> None:
    """Read-only and in use by another user when it was opened: SQLite opens it to read, and stays with it."""
    async with opened(written) as other:
        await put(other, 2)
        with mode(written, 0o444):
            async with opened(written) as store:
                with pytest.raises(StoreError, match="is read-only"):
                    await put(store, 3)
                written.chmod(0o600)
                assert (await put(store, 3)).version == 3


async def test_looking_whether_a_file_may_be_written_takes_no_lock_from_it(written: Path) -> None:
    """Another store of this process is amid a transaction, without a log; a third party stays out."""
    with closing(sqlite3.connect(written, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN IMMEDIATE")
        database._is_frozen(written)
        script = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        third = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(written), stderr=asyncio.subprocess.PIPE
        )
        _, said = await third.communicate()
        assert b"database is locked" in said


@pytest.mark.usefixtures("unprivileged")
async def test_a_reader_sees_what_another_user_writes(written: Path) -> None:
    """Read-only here, written elsewhere: the next read shows the new version, log or no log."""
    with mode(written, 0o444):
        async with opened(written) as reader:
            written.chmod(0o600)
            async with opened(written) as writer:
                await put(writer, 2)
                written.chmod(0o444)
                assert [version.version for version in await reader.history()] == [2, 1]
                await put(writer, 3)
                assert [version.version for version in await reader.history()] == [3, 2, 1]


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("file_bits", [0o444, 0o600])
async def test_a_file_in_a_read_only_folder_can_be_read(written: Path, file_bits: int) -> None:
    """Even there, where SQLite cannot put its log beside the file; a put says read-only."""
    with mode(written, file_bits), mode(written.parent, 0o555):
        async with opened(written) as store:
            newest = await store.rules()
            assert newest is not None
            assert newest.document == {"n": 1}
            with pytest.raises(StoreError, match="is read-only"):
                await put(store, 2)


@pytest.mark.usefixtures("unprivileged")
async def test_a_read_only_folder_gets_no_new_file(path: Path) -> None:
    """The error names the file and what is forbidden."""
    with mode(path.parent, 0o555), pytest.raises(StoreError, match=r"understudy\.db: Permission denied"):
        await SqliteStore(path).open()


@pytest.mark.usefixtures("unprivileged")
async def test_an_unreadable_file_is_named(written: Path) -> None:
    """Neither reading nor writing allowed: the error says what must be."""
    with mode(written, 0o000), pytest.raises(StoreError, match=r"cannot be opened; .* must be allowed"):
        await SqliteStore(written).open()


@pytest.mark.usefixtures("unprivileged")
async def test_a_read_only_file_is_not_migrated(path: Path) -> None:
    """An empty file that may not be written cannot become a store; it stays empty."""
    path.touch()

    with mode(path, 0o444), pytest.raises(StoreError, match="is read-only"):
        await SqliteStore(path).open()

    assert path.read_bytes() == b""


# Locks, deadlines, cancellation


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another connection holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


async def test_a_locked_file_refuses_writes_until_it_is_free(written: Path) -> None:
    """Reading goes on; writes name the lock and the mend; nothing is half-written."""
    async with opened(written) as store:
        with locked(written):
            with pytest.raises(StoreError, match=r"is locked by another process; .*fuser .*understudy\.db"):
                await put(store, 2)
            with pytest.raises(StoreError, match="is locked"):
                await add(store, 2)
            with pytest.raises(StoreError, match="is locked"):
                await store.clear_evidence()
            assert await store.evidence() == {("a",): 1}

        assert (await put(store, 2, expected=1)).version == 2
        assert await add(store, 2) is True


async def test_a_store_opens_while_another_writes(written: Path) -> None:
    """The write lock of one process does not keep the next from starting."""
    with locked(written):
        async with opened(written) as store:
            assert await store.rules() is not None


async def test_a_file_locked_whole_opens_when_it_is_free(written: Path) -> None:
    """Exclusive locking mode shuts readers out too: `open` says so and succeeds later."""
    store = SqliteStore(written, busy_timeout_seconds=0.05)
    with closing(sqlite3.connect(written, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="is locked"):
            await store.open()

    await store.open()
    assert await store.rules() is not None
    await store.close()


async def test_a_new_file_that_is_locked_is_made_later(path: Path) -> None:
    """The lock comes between the file and its tables: the next `open` makes them all."""
    store = SqliteStore(path, busy_timeout_seconds=0.05, clock=lambda: NOW)
    with locked(path), pytest.raises(StoreError, match="is locked"):
        await store.open()

    await store.open()
    assert (await put(store, 1)).version == 1
    await store.close()


async def test_a_deadline_ends_the_wait(written: Path) -> None:
    """A lock held longer than the deadline: the error says so, and the next put succeeds."""
    async with opened(written, busy_timeout_seconds=1.0, deadline_seconds=0.05) as store:
        with locked(written), pytest.raises(StoreError, match=r"did not answer within 0\.05 s"):
            await put(store, 2)

    async with opened(written) as store:
        assert (await put(store, 2, expected=1)).version == 2


@pytest.mark.parametrize("turns", range(40))
async def test_a_cancelled_write_is_whole_or_not_at_all(written: Path, turns: int) -> None:
    """Cancelled after any number of turns of the loop: count, sample and sequence agree."""
    async with opened(written) as store:
        task = asyncio.get_running_loop().create_task(add(store, 2))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

        counted = (await store.evidence())[("a",)]
        assert counted in (1, 2)
        assert len(await store.samples()) == counted
        assert await add(store, 2) is (counted == 1)
        assert (await put(store, 2)).version == 2


async def test_a_query_cut_off_gives_up_its_lock(written: Path) -> None:
    """Cancelled in the middle of a SELECT, the write lock is free at once, not when garbage is collected."""
    slow = (
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000)"
        " SELECT max(n) FROM numbers"
    )
    async with opened(written, deadline_seconds=0.02) as store:
        with pytest.raises(StoreError, match="did not answer") as caught:
            async with store._database.transaction(writes=Area.RULES) as connection:
                await connection.exec_driver_sql(slow)

        async with opened(written) as other:
            assert (await put(other, 2)).version == 2
        # The traceback holds the cut-off statement alive up to here.
        assert caught.value.__traceback__ is not None


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_a_cancelled_open_may_be_repeated(path: Path, turns: int) -> None:
    """Cancelled after any number of turns of the loop, while the file is made: the next one opens it."""
    store = SqliteStore(path, clock=lambda: NOW)
    task = asyncio.get_running_loop().create_task(store.open())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    await store.open()
    assert (await put(store, 1)).version == 1
    await store.close()


async def test_closing_waits_for_what_runs(written: Path) -> None:
    """A batch that has begun is stored before the connection goes."""
    async with opened(written) as store:
        adding = store.add_evidence(source="w", sequence=99, counts={("a",): 1}, samples=[])
        task = asyncio.get_running_loop().create_task(adding)
        await asyncio.sleep(0)
        await store.close()
        assert await task is True


# Crashes and other processes

WRITER = """
import asyncio, sys
from pathlib import Path
from understudy.store.sqlite import SqliteStore

async def main(path: str, source: str, rounds: int) -> None:
    store = SqliteStore(Path(path), busy_timeout_seconds=100, deadline_seconds=120)
    await store.open()
    for number in range(1, rounds + 1):
        await store.put_rules({"n": "x" * 10_000}, expected=None, author=source, reason="", at=0.0)
        counts = {(f"key-{key}",): 1 for key in range(200)}
        await store.add_evidence(source=source, sequence=number, counts=counts, samples=[])
        print(number, flush=True)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writer(path: Path, source: str, rounds: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", WRITER, str(path), source, str(rounds)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


@pytest.mark.parametrize("rounds_seen", [1, 2, 5])
async def test_a_killed_writer_leaves_a_whole_file(path: Path, rounds_seen: int) -> None:
    """SIGKILL in a write loop: the file is sound, what was confirmed is there, batches are whole."""
    with writer(path, "w", 1_000_000) as process:
        assert process.stdout is not None
        for _ in range(rounds_seen):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        confirmed = rounds_seen + len(process.stdout.read().split())

    async with opened(path) as store:
        newest = await store.rules()
        counts = await store.evidence()
    assert newest is not None
    assert confirmed <= newest.version <= confirmed + 1
    assert len(counts) == 200
    assert set(counts.values()) <= {confirmed, confirmed + 1}
    assert len(set(counts.values())) == 1
    assert query(path, "SELECT sequence FROM evidence_sources") == [(counts[("key-0",)],)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_two_processes_may_write(path: Path) -> None:
    """Both begin with no file at all; every version and every batch of both is there."""
    with writer(path, "one", 20) as one, writer(path, "two", 20) as two:
        one.communicate()
        two.communicate()

    assert (one.returncode, two.returncode) == (0, 0)
    async with opened(path) as store:
        authors = [version.author for version in await store.history()]
        counts = await store.evidence()
    assert sorted(authors) == ["one"] * 20 + ["two"] * 20
    assert set(counts.values()) == {40}
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_current_store_opens_without_alembic(path: Path) -> None:
    """Alembic takes a third of a second to import: only a migration pays it."""
    script = (
        "import asyncio, sys; from pathlib import Path; from understudy.store.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = SqliteStore(Path(sys.argv[1])); await store.open(); await store.close()\n"
        "asyncio.run(main()); print('alembic' in sys.modules)"
    )
    arguments = [sys.executable, "-W", "error", "-c", script, str(path)]

    seen = [subprocess.run(arguments, capture_output=True, check=True).stdout for _ in range(2)]

    assert seen == [b"True\n", b"False\n"]


@pytest.mark.parametrize("way", ["unit", "all", "clear"])
async def test_what_is_forgotten_stands_in_no_file(path: Path, way: str) -> None:
    """Neither in the database nor in the log beside it, while the store is open."""
    private = "what-alice-bought"
    sample = Sample(
        service="s",
        endpoint="e",
        path="/p",
        kind="value",
        priority=0.5,
        at=NOW,
        body={"primary": private},
        name="0123456789abcdef",
        unit="a1",
        whole={"primary": {"body": private * 1000}},
    )

    def on_disk() -> bool:
        return any(private.encode() in file.read_bytes() for file in path.parent.iterdir())

    async with opened(path) as store:
        await store.add_evidence(source="w", sequence=1, counts={("a",): 1}, samples=[sample])
        assert on_disk()
        if way == "clear":
            await store.clear_evidence()
        else:
            assert await store.forget_samples(unit="a1" if way == "unit" else None) == 1
        assert not on_disk()
