"""SQLite and forks: before one every file is let go of, after it whoever goes on opens it anew.

SQLite notes in the process which locks it holds; of these the kernel gives none to a child. A child that has
inherited an open file believes that it holds its parent's locks: what it writes is lost when that one closes,
or the file is locked for good (https://www.sqlite.org/howtocorrupt.html, 2.6). A connection of its own is no
help, since the notes are the process's. So nothing may be open while a process forks, in no thread.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

FORK_SECONDS: Final = 2.0
"""How long a fork waits for a transaction, which mostly takes some ms. Not for its deadline of 5 s: the loop
may be waiting for the fork itself, for a lock that another library holds meanwhile."""

LOOK_SECONDS: Final = 0.001

_OPEN_FILES: Final = "/dev/fd"

Identity = tuple[int, int]
"""Device and number of a file."""


class Connection(sqlite3.Connection):
    """As sqlite3 makes it; it can be referred to weakly."""


class Grip:
    """What one database has open. Everything it does with SQLite it does while `held`, in its event loop."""

    def __init__(self) -> None:
        self.identity: Identity = (0, 0)
        """Of the file that is open."""
        self.is_let_go = False
        """Whether a fork has closed what was open."""
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._holder = 0
        """The thread that works with the file."""
        self._period = 0
        """Counts how often one has begun to."""
        self._given_up = 0
        """The period for which a fork has waited in vain; no other waits for the same."""
        _grips.add(self)

    def connect(self, *given: Any, **named: Any) -> Connection:
        """A connection; what `sqlite3.connect` calls as its ``factory``."""
        connection = Connection(*given, **named)
        self._connections.add(connection)
        return connection

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """No fork happens meanwhile, unless it cannot wait."""
        while True:
            # In this order, as `_before` has the opposite one: one of the two always sees the other.
            self._begin(threading.get_ident())
            if not _forking:
                break
            self._holder = 0
            await asyncio.sleep(LOOK_SECONDS)
        try:
            yield
        finally:
            self._holder = 0

    def _begin(self, thread: int) -> None:
        self._period += 1
        self._holder = thread

    def let_go(self, until: float) -> None:
        """Close everything, once nobody works with it, at the latest *until*; else nothing.

        The thread that works with it cannot wait for itself.
        """
        while self._holder:
            period = self._period
            if self._holder == threading.get_ident() or period == self._given_up:
                return
            if time.monotonic() > until:
                self._given_up = period
                return
            time.sleep(LOOK_SECONDS)
        for connection in list(self._connections):
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            self.is_let_go = True
        self._connections.clear()


def check_inherited(path: Path, identity: Identity) -> str:
    """Why this process must not open the file at *path*; empty if it may."""
    if identity not in _inherited:
        return ""
    return (
        f"store {path}: this process was forked while its parent worked with the file, which SQLite does not"
        " survive; fork before the first request, or outside of the event loop, and start this process anew"
    )


_grips: weakref.WeakSet[Grip] = weakref.WeakSet()
_forking: list[bool] = []
"""One for each thread that forks just now."""
_inherited: set[Identity] = set()
"""Files that this process has open since before it was forked, and must leave alone."""


def _living() -> list[Grip]:
    while True:
        try:
            return list(_grips)
        except RuntimeError:
            continue  # another thread has just made one


def _before() -> None:
    _forking.append(True)
    until = time.monotonic() + FORK_SECONDS
    for grip in _living():
        grip.let_go(until)


def _after_in_parent() -> None:
    _forking.pop()


def _after_in_child() -> None:
    _inherited.update(_open_files() & {grip.identity for grip in _living()})
    _grips.clear()
    _forking.clear()


def _open_files() -> set[Identity]:
    """All that this process has open, where the system tells."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(_OPEN_FILES).iterdir():
            with contextlib.suppress(OSError):  # that of the listing itself
                status = os.fstat(int(entry.name))
                found.add((status.st_dev, status.st_ino))
    return found


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
