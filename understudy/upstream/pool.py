"""The connections to one origin: lend, take back, open, queue, refuse.

Bookkeeping is synchronous; only opening a connection is awaited, in a task of the worker's group.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from understudy.upstream.connection import UpstreamConnection

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""``TaskGroup.create_task``, or anything that owns the task it makes."""

SWEPT_AT_MOST: Final = 64


class Waiter(Protocol):
    """Who asked for a connection when none was free."""

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is there; call ``begin`` on it at once."""

    def on_refused(self, reason: str) -> None:
        """None will come; *reason* is a metric label: connect_refused, connect_timeout, …"""


class Refusal(Exception):
    """No connection is free and no more may be opened or waited for."""


class Pool:
    """Connections to ``host:port``, at most *limit* open and *queue* callers waiting.

    Idle connections close after *idle_seconds*: 4 s by default, under the 5 s after which common
    application servers (uvicorn, Node.js) close theirs, so that a request rarely meets a closing one.
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
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._opening = 0
        self._waiting: dict[Waiter, None] = {}
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
        if len(self._open) + self._opening < self._limit:
            self._opening += 1
            self._waiting[waiter] = None
            self._spawn(self._connect())
            return None
        if len(self._waiting) >= self._queue:
            raise Refusal("pool_full")
        self._waiting[waiter] = None
        return None

    def withdraw(self, waiter: Waiter) -> None:
        """Forget *waiter*; the connection being opened for it serves the next."""
        self._waiting.pop(waiter, None)

    def release(self, connection: UpstreamConnection) -> None:
        if self._closed:
            connection.abandon()
            return
        if self._waiting:
            self._next_waiter().on_connection(connection)
            return
        connection.freed_at = self._clock()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if self._waiting and not self._closed and not self._opening:
            self._opening += 1
            self._spawn(self._connect())

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

    def _next_waiter(self) -> Waiter:
        waiter = next(iter(self._waiting))
        del self._waiting[waiter]
        return waiter

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self, self._write), self.host, self.port
                )
        except TimeoutError:
            self._refuse("connect_timeout")
        except OSError:
            self._refuse("connect_refused")
        else:
            self._opening -= 1
            self._open.add(connection)
            if self._closed:
                connection.abandon()
            else:
                self.release(connection)

    def _refuse(self, reason: str) -> None:
        self._opening -= 1
        if self._waiting:
            self._next_waiter().on_refused(reason)
