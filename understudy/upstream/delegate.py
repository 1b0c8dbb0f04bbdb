"""What is asked by other hands looks like a pool here: an application in this process, a client library.

A `Delegate` answers whole requests as `Pool` connections would carry them, so callers, bounds, waiting and
health are the same. It has its own connections, or none; a `DelegateConnection` stands for one request.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from understudy.config import Service
from understudy.upstream.connection import Caller, UpstreamConnection
from understudy.upstream.health import Health
from understudy.upstream.origin import Origin
from understudy.upstream.pool import Pool, Spawn
from understudy.upstream.room import Room


class Delegate(Protocol):
    """Asks one request and tells its answer to the connection that brought it.

    *wire* is the whole request: its line, fields and body as they would stand on an HTTP/1.1 connection.
    """

    def __call__(self, connection: "DelegateConnection", caller: Caller, wire: bytes, /) -> Awaitable[None]:
        """Tell ``answer``, ``data``, ``end`` in this order, or ``lost``; a return without says ``lost``."""


class DelegateConnection(UpstreamConnection):
    """One request on its way. Its caller writes it in one piece, as a mirrored copy is."""

    def __init__(self, owner: "DelegatePool") -> None:
        super().__init__(owner, _nowhere)
        self._pool = owner
        self._asking: asyncio.Task[None] | None = None

    def write(self, data: bytes) -> None:
        """Ask *data*, the whole request."""
        caller = self.caller
        if caller is not None and self._asking is None:
            self._asking = self._pool.ask(self, caller, data)

    def abandon(self) -> None:
        """The caller is told nothing more, and nobody waits for the answer."""
        self.caller = None
        self.leave()
        if self._asking is not None:
            self._asking.cancel()

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], length: int) -> None:
        """The head of the answer: end-to-end fields, and ``length`` as `UpstreamConnection` has it."""
        self.status = status
        self.headers = headers
        self.length = length
        self.answered = True
        self.health.note(status)
        if self.caller is not None:
            self.caller.on_answer(self)

    def data(self, data: bytes) -> None:
        """A piece of the answer's body."""
        if self.caller is not None and data and not self.is_head:
            self.caller.on_data(data)

    def end(self) -> None:
        """The answer is whole."""
        caller, self.caller = self.caller, None
        if caller is not None:
            caller.on_complete()
        self.leave()

    def lost(self, reason: str) -> None:
        """No whole answer will come; *reason* is a metric label."""
        caller, self.caller = self.caller, None
        if caller is not None:
            self.health.failed(reason)
            caller.on_lost(reason, reused=False)
        self.leave()

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for what is told."""
        return self.caller is not None

    def leave(self) -> None:
        """Make room for the next request."""
        self.keep = False
        self._pool.forget(self)


class DelegatePool(Pool):
    """The requests that a *delegate* may carry at once, as many as the room of the service has places."""

    delegate: Delegate

    def open(self, tried: "tuple[Pool, ...]") -> None:  # noqa: ARG002  there is no other to try
        """Lend a connection at once: nothing has to be opened."""
        connection = DelegateConnection(self)
        self._open.add(connection)
        self._room.taken += 1
        self.release(connection)

    def ask(self, connection: DelegateConnection, caller: Caller, wire: bytes) -> "asyncio.Task[None] | None":
        """Carry *wire* in a task of its own."""
        task = self._spawn(self._carry(connection, caller, wire))
        return task if isinstance(task, asyncio.Task) else None

    async def _carry(self, connection: DelegateConnection, caller: Caller, wire: bytes) -> None:
        try:
            await self.delegate(connection, caller, wire)
        except Exception as error:  # noqa: BLE001  one request is isolated from the others
            self._report(error)
            connection.lost("internal")
        else:
            connection.lost("closed")


def delegate_pool(
    name: str,
    service: Service,
    delegate: Delegate,
    *,
    limit: int,
    loop: asyncio.AbstractEventLoop,
    spawn: Spawn,
    clock: Callable[[], float],
    on_change: Callable[[str], None],
) -> DelegatePool:
    """What is asked of *delegate* for the service called *name*, at most *limit* requests at once."""
    pool = DelegatePool(
        Origin(service.all_origins[0]),
        room=Room(limit=limit, queue=service.queue),
        health=Health(f"service {name}", eject=service.eject, clock=clock, on_change=on_change),
        loop=loop,
        spawn=spawn,
        clock=clock,
        write=_nowhere,
    )
    pool.delegate = delegate
    return pool


def _nowhere(_connection: UpstreamConnection, _data: bytes) -> None:
    """A delegated request is written to no transport."""
