"""A process with an open SQLite store forks: both go on, and what either writes stays.

Each fork is one of a process of its own, for that of the tests has threads of many kinds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from understudy.store import forks
from understudy.store.forks import Grip

BEGIN = """
import asyncio, os, sqlite3, sys, threading
from pathlib import Path
from understudy.errors import StoreError
from understudy.store import forks
from understudy.store.sqlite import SqliteStore

PATH = Path(sys.argv[1])

async def add(store, source, sequence):
    assert await store.add_evidence(source=source, sequence=sequence, counts={("e", "x"): 1}, samples=[])

def stored():
    with sqlite3.connect(PATH) as connection:
        return connection.execute("SELECT n FROM evidence").fetchall()[0][0]

def in_child(work):
    "The exit status of a child that does *work* in an event loop of its own."
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(work())
    except BaseException as error:
        print(error, flush=True)
        os._exit(1)
    os._exit(0)

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run(folder: Path, script: str) -> str:
    """What *script* prints, in a process of its own. Fails unless it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + script, str(folder / "u.db")],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_child_loses_nothing_when_its_parent_closes(tmp_path: Path) -> None:
    """The parent is not the last who has the file, although the kernel gave its locks to nobody."""
    script = """
async def main():
    store = SqliteStore(PATH)
    await store.open()
    await add(store, "parent", 1)
    opened, closed = os.pipe(), os.pipe()

    async def child():
        own = SqliteStore(PATH)
        await own.open()
        await add(own, "child", 1)
        os.write(opened[1], b"1")
        os.read(closed[0], 1)
        await add(own, "child", 2)
        await own.close()

    pid = os.fork()
    if not pid:
        threading.Thread(target=lambda: os._exit(0 if asyncio.run(child()) is None else 1)).start()
        threading.Event().wait()
    await asyncio.to_thread(os.read, opened[0], 1)
    await add(store, "parent", 2)
    await store.close()
    os.write(closed[1], b"1")
    assert await asyncio.to_thread(ended, pid) == 0
    print(stored())

asyncio.run(main())
"""
    assert run(tmp_path, script) == "4"


def test_children_of_a_process_that_writes_all_the_time_write_as_well(tmp_path: Path) -> None:
    """A fork waits for the transaction under way; the writer goes on behind it."""
    script = """
is_over, is_writing, written = threading.Event(), threading.Event(), []

def patient():
    "SQLite gives the lock to whoever looks at the right moment, so one that waits may wait for long."
    return SqliteStore(PATH, busy_timeout_seconds=100, deadline_seconds=120)

async def write():
    store = patient()
    await store.open()
    while not is_over.is_set():
        await add(store, "parent", len(written) + 1)
        written.append(1)
        is_writing.set()
    await store.close()

async def child():
    own = patient()
    await own.open()
    await add(own, f"child {os.getpid()}", 1)
    await own.close()

writer = threading.Thread(target=lambda: asyncio.run(write()))
writer.start()
is_writing.wait()
statuses = [ended(pid) for pid in [in_child(child) for _ in range(8)]]
is_over.set()
writer.join()
print(statuses, stored() - len(written))
"""
    assert run(tmp_path, script) == "[0, 0, 0, 0, 0, 0, 0, 0] 8"


def test_a_fork_that_cannot_wait_harms_nobody(tmp_path: Path) -> None:
    """The thread of the event loop forks in a transaction: the child is told, the parent goes on."""
    script = """
async def child():
    try:
        await SqliteStore(PATH).open()
    except StoreError as error:
        print(error, flush=True)

async def main():
    store = SqliteStore(PATH)
    await store.open()
    async with store._database.transaction() as connection:
        pid = os.fork()
        if not pid:
            thread = threading.Thread(target=lambda: asyncio.run(child()))
            thread.start()
            thread.join()
            os._exit(0)
        assert await asyncio.to_thread(ended, pid) == 0
    await add(store, "parent", 1)
    await store.close()
    print(stored())

asyncio.run(main())
"""
    told, count = run(tmp_path, script).splitlines()
    assert "this process was forked while its parent worked with the file" in told
    assert count == "1"


def test_a_fork_does_not_wait_long_nor_twice_for_a_loop_that_waits_for_it(tmp_path: Path) -> None:
    """Another library's hook comes first and takes a lock that the loop wants, amid a transaction."""
    script = """
lock, is_holding, is_over = threading.Lock(), threading.Event(), threading.Event()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

async def hold():
    store = SqliteStore(PATH, deadline_seconds=60.0)
    await store.open()
    async with store._database.transaction():
        is_holding.set()
        while not is_over.is_set():
            with lock:
                pass
    await add(store, "parent", 1)
    await store.close()

class Clock:
    "How often a fork has looked whether the loop is done; the time is what it has waited."
    looks, now = 0, 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.looks += 1
        self.now += seconds

forks.time = clock = Clock()
thread = threading.Thread(target=lambda: asyncio.run(hold()))
thread.start()
is_holding.wait()
looks = []
for _ in range(3):
    before = clock.looks
    pid = os.fork()
    if not pid:
        os._exit(0)
    ended(pid)
    looks.append(clock.looks - before)
is_quick = clock.now < forks.FORK_SECONDS + 0.01
is_over.set()
thread.join()
print(is_quick, looks[0] > 0, looks[1:], stored())
"""
    assert run(tmp_path, script) == "True True [0, 0] 1"


def test_a_fork_waits_for_what_begins_after_one_that_gave_up() -> None:
    """What was waited for in vain is one transaction, not the file."""
    grip, looks = Grip(), []

    class Looks:
        """Ends the second transaction at the first look."""

        @staticmethod
        def monotonic() -> float:
            return 1.0

        @staticmethod
        def sleep(_: float) -> None:
            looks.append(grip._holder)
            grip._holder = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forks, "time", Looks)
        for until in (0.0, 2.0, 2.0):
            grip._begin(-1)
            grip.let_go(until)
    assert looks == [-1, -1]


def test_a_fork_gives_up_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who forks hangs because a disk does."""
    grip = Grip()
    grip._begin(-1)
    grip.let_go(0.0)
    assert not grip.is_let_go


async def test_work_waits_while_the_process_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it goes on."""
    turns = iter([[True], [True], []])
    monkeypatch.setattr(forks, "LOOK_SECONDS", 0)
    grip, seen = Grip(), []

    class Forking:
        def __bool__(self) -> bool:
            seen.append(grip._holder)
            return bool(next(turns))

    monkeypatch.setattr(forks, "_forking", Forking())
    async with grip.held():
        assert len(seen) == 3
    assert grip._holder == 0
