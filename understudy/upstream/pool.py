"""The connections to one origin: lend, take back, open, queue, refuse.

Bookkeeping is synchronous; only opening a connection is awaited, in a task of the worker's group.
"""

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from understudy.upstream.connection import UpstreamConnection

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""``TaskGroup.create_task``, or anything that owns the task it makes."""

SWEPT_AT_MOST: Final = 64

NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""This process, or the machine, can open no more: that says nothing of the origin."""


class Waiter(Protocol):
    """Who asked for a connection when none was free."""

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is there; call ``begin`` on it at once."""

    def on_refused(self, reason: str) -> None:
        """None will come; *reason* is a metric label: connect_refused, connect_timeout, …"""


class Refusal(Exception):
    """No connection is free and no more may be opened or waited for."""


class Pool:
    """Connections to ``host:port``, at most *limit* open and *queue* callers waiting for one of these.

    Idle connections close after *idle_seconds*: 4 s by default, under the 5 s after which common
    application servers (uvicorn, Node.js) close theirs, so that a request rarely meets a closing one.
    While room is left, as many connections are being opened as callers wait. *opening* is told before each.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        clock: Callable[[], float],
        write: Callable[[UpstreamConnection, bytes], None],
        connect_seconds: float = 2.0,
        limit: int = 1024,
        queue: int = 1024,
        idle_seconds: float = 4.0,
        opening: Callable[[], None] = lambda: None,
    ) -> None:
        self.host = host
        self.port = port
        self._loop = loop
        self._spawn = spawn
        self._clock = clock
        self._write = write
        self._connect_seconds = connect_seconds
        self._limit = limit
        self._queue = queue
        self._idle_seconds = idle_seconds
        self._before_opening = opening
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening = 0
        self._waiting: dict[Waiter, bool] = {}
        self._closed = False

    def __repr__(self) -> str:
        return (
            f"<Pool {self.host}:{self.port} open={len(self._open)} idle={len(self._idle)}"
            f" opening={self._opening} waiting={len(self._waiting)}>"
        )

    def acquire(self, waiter: Waiter, *, fresh: bool = False) -> UpstreamConnection | None:
        """Return a free connection, or None when *waiter* will be told later.

        *fresh* insists on a new connection (a retry after a reused one broke). Raises `Refusal` when
        the pool is full or closed; the waiter is then told nothing.
        """
        if not fresh:
            idle = self._idle
            while idle:
                connection = idle.pop()
                if connection.keep:
                    return connection
        if self._closed:
            raise Refusal("pool_closed")
        if len(self._open) + self._opening >= self._limit:
            if len(self._waiting) - self._opening >= self._queue:
                raise Refusal("pool_full")
            if self._idle:
                self._idle.pop(0).abandon()  # makes room once it is lost
        self._waiting[waiter] = fresh
        self._grow()
        return None

    def withdraw(self, waiter: Waiter) -> None:
        """Forget *waiter*; the connection being opened for it serves the next."""
        self._waiting.pop(waiter, None)

    def release(self, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.abandon()
            return
        if self._waiting:
            waiter = self._next_waiter(is_reused=connection.served > 0)
            if waiter is not None:
                self._lend(connection, waiter)
                return
            if not self._opening:
                connection.abandon()  # all who wait insist on a new one, and there is no room for it
                return
        connection.freed_at = self._clock()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._grow()

    def sweep(self, now: float) -> None:
        """Close what has been idle too long; call it about once a second."""
        limit = now - self._idle_seconds
        stale = [c for c in self._idle[:SWEPT_AT_MOST] if c.freed_at < limit or not c.keep]
        for connection in stale:
            self._idle.remove(connection)
            connection.abandon()

    def close(self) -> None:
        """Close every connection and refuse every waiter."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting:
            waiter.on_refused("pool_closed")
        for connection in list(self._open):
            connection.abandon()
        self._idle.clear()

    def _grow(self) -> None:
        """Open a connection for each who waits, while there is room."""
        while (
            self._opening < len(self._waiting)
            and len(self._open) + self._opening < self._limit
            and not self._closed
        ):
            self._opening += 1
            self._spawn(self._connect())

    def _next_waiter(self, *, is_reused: bool) -> Waiter | None:
        for waiter, insists_on_fresh in self._waiting.items():
            if not (is_reused and insists_on_fresh):
                del self._waiting[waiter]
                return waiter
        return None

    async def _connect(self) -> None:
        try:
            self._before_opening()
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self, self._write), self.host, self.port
                )
        except TimeoutError:
            self._refuse("connect_timeout")
        except OSError as error:
            self._refuse("no_files" if error.errno in NO_FILES else "connect_refused")
        except Exception as error:  # noqa: BLE001  a name no resolver takes ends this attempt, not the worker
            self._report(error)
            self._refuse("connect_refused")
        else:
            self._opened(connection)

    def _opened(self, connection: UpstreamConnection) -> None:
        if connection.transport is None or not connection.keep:
            self._refuse("closed")  # accepted and dropped at once
            return
        self._opening -= 1
        self._open.add(connection)
        self.release(connection)

    def _lend(self, connection: UpstreamConnection, waiter: Waiter) -> None:
        try:
            waiter.on_connection(connection)
        except Exception as error:  # noqa: BLE001  one request is isolated from the others
            self._report(error)
            connection.abandon()

    def _refuse(self, reason: str) -> None:
        self._opening -= 1
        waiter = self._next_waiter(is_reused=False)
        if waiter is not None:
            try:
                waiter.on_refused(reason)
            except Exception as error:  # noqa: BLE001  one request is isolated from the others
                self._report(error)
        self._grow()

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": f"{self!r} met a fault", "exception": error})
