"""The connections to one origin: lend, take back, open, close.

Bookkeeping is synchronous; only opening a connection is awaited, in a task of the worker's group.
"""

import asyncio
import errno
import logging
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

from understudy.upstream.allowance import Allowance
from understudy.upstream.answers import KnownHeads
from understudy.upstream.checks import Checks
from understudy.upstream.connection import UpstreamConnection
from understudy.upstream.health import Health
from understudy.upstream.measured import MeasuredConnection
from understudy.upstream.origin import Origin
from understudy.upstream.room import Room, Waiter

log = logging.getLogger("understudy.upstream")

Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""``TaskGroup.create_task``, or anything that owns the task it makes."""

SWEPT_AT_MOST: Final = 64

NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL})
"""This process or the machine can open no more, or has no port left: that says nothing of the origin."""


class Pool:
    """Connections to *origin*, within the *room* of its service; all of a service that has one origin.

    Idle connections close after *idle_seconds*: 4 s by default, under the 5 s after which common
    application servers (uvicorn, Node.js) close theirs, so that a request rarely meets a closing one.
    """

    spreads: Final = False
    """Whether a request may go to another origin when this one fails it."""

    def __init__(
        self,
        origin: Origin,
        *,
        room: Room,
        health: Health,
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        clock: Callable[[], float],
        write: Callable[[UpstreamConnection, bytes], None],
        connect_seconds: float = 2.0,
        idle_seconds: float = 4.0,
        checks: Checks | None = None,
        before_opening: Callable[[], None] = lambda: None,
        allowance: Allowance | None = None,
    ) -> None:
        self.origin = origin
        self.health = health
        self.heads = KnownHeads()
        self.opening = 0
        self._room = room
        self._waiting = room.waiting
        self._loop = loop
        self._spawn = spawn
        self._clock = clock
        self._write = write
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._checks = checks
        self._before_opening = before_opening
        self._allowance = allowance
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._is_leaving = False
        self._told = ""
        room.pools.append(self)

    def __repr__(self) -> str:
        return (
            f"<Pool {self.origin} open={len(self._open)} idle={len(self._idle)}"
            f" opening={self.opening} waiting={len(self._waiting)}>"
        )

    @property
    def pools(self) -> "list[Pool]":
        """Itself: the only origin of its service."""
        return self._room.pools

    @property
    def is_out(self) -> bool:
        """Whether the origin is known to be ill. It is asked all the same, unless the caller knows better."""
        return not self.health.is_up

    @property
    def is_empty(self) -> bool:
        """Whether nobody has, opens or awaits a connection."""
        return not (self._open or self.opening or self._waiting)

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._open)

    @property
    def kept(self) -> int:
        """Those of the open ones that nobody uses."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Connections that are lent or being opened."""
        return len(self._open) - len(self._idle) + self.opening

    def acquire(self, waiter: Waiter, *, fresh: bool = False) -> UpstreamConnection | None:
        """Return a free connection, or None when *waiter* will be told later.

        *fresh* insists on a new connection (a retry after a reused one broke). Raises `Refusal` when
        the pool is full or closed; the waiter is then told nothing.
        """
        if not fresh:
            idle = self._idle
            while idle:  # as `take`, inlined: the hot path
                connection = idle.pop()
                if connection.keep:
                    return connection
        self._room.admit(waiter, fresh=fresh)
        self._room.grow(self)
        return None

    def take(self) -> UpstreamConnection | None:
        """A kept connection, if there is one."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.keep:
                return connection
        return None

    def withdraw(self, waiter: Waiter) -> None:
        """Forget *waiter*; the connection being opened for it serves the next."""
        self._waiting.pop(waiter, None)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a clean connection: for the next who waits, else to keep."""
        if self._waiting:
            waiter = self._room.next_waiter(is_reused=connection.served > 0)
            if waiter is not None:
                self._lend(connection, waiter)
                return
            if not self._room.opening:
                connection.abandon()  # all who wait insist on a new one, and there is no room for it
                return
        if self._is_leaving:
            connection.abandon()
            return
        connection.freed_at = self._clock()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        if connection in self._open:
            self._open.remove(connection)
            self._room.taken -= 1
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._room.grow()

    def sweep(self, now: float) -> None:
        """Close what has been idle too long and look after health; call it about once a second or more."""
        limit = now - self._idle_seconds
        stale = [c for c in self._idle[:SWEPT_AT_MOST] if c.freed_at < limit or not c.keep]
        for connection in stale:
            self._idle.remove(connection)
            connection.abandon()
        if self.health.ejected_until:
            self.health.sweep(now)
        if self._checks is not None:
            self._checks.sweep(now)

    def drop_oldest(self) -> bool:
        """Close the connection that was kept longest; whether there was one."""
        if not self._idle:
            return False
        self._idle.pop(0).abandon()
        return True

    def retire(self) -> None:
        """Keep no connection from now on; requests that are under way or wait are served to their end."""
        self._is_leaving = True
        if self._checks is not None:
            self._checks.unwatch(self.health)
            self._checks = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abandon()

    def close(self) -> None:
        """Close every connection and refuse every waiter."""
        self._is_leaving = True
        if self._checks is not None:
            self._checks.stop()
            self._checks = None
        self._room.close()
        for connection in list(self._open):
            connection.abandon()
        self._idle.clear()

    def open(self, tried: "tuple[Pool, ...]") -> None:
        """Open one connection for who waits, after the origins of *tried* gave none."""
        self.opening += 1
        self._room.opening += 1
        self._room.taken += 1
        self._spawn(self._connect((*tried, self)))

    async def _connect(self, tried: "tuple[Pool, ...]") -> None:
        try:
            self._before_opening()
            async with asyncio.timeout(self._connect_seconds):
                connection = await self.origin.connect(self._loop, self._made)
        except TimeoutError:
            self._failed("connect_timeout", tried)
        except ssl.SSLError as error:
            self._tell(error)
            self._failed("tls_failed", tried)
        except OSError as error:
            self._failed("no_files" if error.errno in NO_FILES else "connect_refused", tried)
        except Exception as error:  # noqa: BLE001  a name no resolver takes ends this attempt, not the worker
            self._report(error)
            self._failed("connect_refused", tried)
        else:
            self._opened(connection, tried)

    def _made(self) -> UpstreamConnection:
        if self._allowance is None:
            return UpstreamConnection(self, self._write)
        return MeasuredConnection(self, self._write, self._allowance)

    def _opened(self, connection: UpstreamConnection, tried: "tuple[Pool, ...]") -> None:
        if connection.transport is None or not connection.keep:
            self._failed("closed", tried)  # accepted and dropped at once
            return
        self._told = ""
        self.opening -= 1
        self._room.opening -= 1
        self._open.add(connection)
        self.release(connection)

    def _failed(self, reason: str, tried: "tuple[Pool, ...]") -> None:
        """No connection came: another origin is tried for who waits, else they are told."""
        room = self._room
        self.opening -= 1
        room.opening -= 1
        room.taken -= 1
        if reason != "no_files":
            self.health.failed(reason)
        if room.opening >= len(room.waiting):
            return  # who waits has an attempt under way
        other = room.other(tried)
        if other is not None:
            other.open(tried)
            return
        waiter = room.next_waiter(is_reused=False)
        if waiter is not None:
            try:
                waiter.on_refused(reason)
            except Exception as error:  # noqa: BLE001  one request is isolated from the others
                self._report(error)
        room.grow()

    def _lend(self, connection: UpstreamConnection, waiter: Waiter) -> None:
        try:
            waiter.on_connection(connection)
        except Exception as error:  # noqa: BLE001  one request is isolated from the others
            self._report(error)
            connection.abandon()

    def _tell(self, error: ssl.SSLError) -> None:
        """Say why the handshake failed, once until one succeeds."""
        told: tuple[str | None, ...] = (
            getattr(error, "verify_message", ""),
            getattr(error, "reason", ""),
            error.strerror,
        )
        why = next((text for text in told if text), str(error))
        if why != self._told:
            self._told = why
            log.error("%s: TLS failed: %s", self.health.name, why)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": f"{self!r} met a fault", "exception": error})
