"""What a service tells of its answer, kept for the coroutine that sends it on, and told to the rehearsal.

Callbacks come in, one by one; 64 KiB wait at most, then the service is not read.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from time import perf_counter
from typing import Any, Final

from understudy.engine import Plan
from understudy.forwarding import IDEMPOTENT
from understudy.histogram import SECONDS
from understudy.middleware.stage import Stage
from understudy.proxy.exchange import UNREACHED
from understudy.proxy.rehearsal import Rehearsal
from understudy.upstream import Refusal, UpstreamConnection

HELD_BYTES: Final = 64 * 1024
"""Of an answer that the client does not take yet (DESIGN 6, rule 10)."""


class Lost(Exception):
    """No answer, or the end of none: *reason* is a metric label.

    ``is_repeatable``: the request may be sent once more. ``is_unreached``: nobody could be asked.
    """

    def __init__(self, reason: str, *, is_repeatable: bool = False, is_unreached: bool = False) -> None:
        self.reason = reason
        self.is_repeatable = is_repeatable
        self.is_unreached = is_unreached
        super().__init__(reason)


class Told:
    """The connection of one request, and what came over it. An upstream `Caller` and pool `Waiter`."""

    twin = b""

    def __init__(self, stage: Stage, plan: Plan, *, method: str, has_body: bool) -> None:
        self.plan = plan
        self.connection: UpstreamConnection | None = None
        self.rehearsal: Rehearsal | None = None
        self.is_whole = not has_body
        """Whether nothing more of the request can come."""
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._stage = stage
        self._method = method
        self._has_body = has_body
        self._granted: asyncio.Future[UpstreamConnection] | None = None
        self._pieces: deque[tuple[str, Any]] = deque()
        self._held = 0
        self._news = asyncio.Event()
        self._sent_flush = 0
        self._sent_at = 0.0

    async def ask(self, wire: bytes, *, fresh: bool) -> None:
        """Get a connection, and send *wire*. Raises `Lost`."""
        self._pieces.clear()
        self._held = 0
        self._granted = self._stage.loop.create_future()
        try:
            connection = self.plan.pool.acquire(self, fresh=fresh)
        except Refusal as refusal:
            raise Lost(str(refusal)) from None
        if connection is None:
            connection = await self._granted
        self.connection = connection
        self._sent_at = perf_counter()
        self._sent_flush = self._stage.outgoing.flushes
        connection.begin(self, is_head=self._method == "HEAD")
        connection.write(wire)

    async def next(self) -> tuple[str, Any]:
        """What comes next: ``interim`` or ``head`` (status, fields), ``data``, ``end``, ``lost`` (`Lost`)."""
        while not self._pieces:
            self._news.clear()
            await self._news.wait()
        kind, value = self._pieces.popleft()
        if kind == "data":
            before, self._held = self._held, self._held - len(value)
            if before > HELD_BYTES // 2 >= self._held:
                self._read_on()
        return kind, value

    def tell(self, kind: str, value: Any) -> None:
        """Let `next` say so."""
        self._pieces.append((kind, value))
        self._news.set()

    def let_go(self) -> None:
        """Leave the connection, or the queue for one; what comes after this is not heard."""
        connection, self.connection = self.connection, None
        granted, self._granted = self._granted, None
        if connection is not None:
            if connection.caller is self:
                connection.abandon()
        elif granted is None:
            pass
        elif not granted.done() or granted.cancelled():  # it is cancelled with the task that waits for it
            granted.cancel()
            self.plan.pool.withdraw(self)
        elif granted.exception() is None:
            granted.result().abandon()  # lent in the same turn

    def rehearse_no_more(self, reason: str) -> None:
        """Nothing will come of the rehearsal, for *reason*."""
        rehearsal, self.rehearsal = self.rehearsal, None
        if rehearsal is not None:
            rehearsal.abort(reason)

    def _read_on(self) -> None:
        connection = self.connection
        if connection is not None and connection.transport is not None and connection.caller is self:
            connection.transport.resume_reading()

    def _check_sent(self) -> None:
        """What lay in the kernel when the connection was lent is no answer to this request."""
        if self._stage.outgoing.flushes == self._sent_flush:
            raise ValueError("an answer before its request")

    # -- told by the pool --------------------------------------------------------------------------------

    def on_connection(self, connection: UpstreamConnection) -> None:
        granted = self._granted
        if granted is None or granted.done():
            connection.abandon()
        else:
            granted.set_result(connection)

    def on_refused(self, reason: str) -> None:
        granted = self._granted
        if granted is not None and not granted.done():
            may_pass = reason in ("connect_refused", "closed") and not self.plan.pool.spreads
            granted.set_exception(Lost(reason, is_repeatable=may_pass, is_unreached=reason in UNREACHED))

    # -- told by the connection --------------------------------------------------------------------------

    def on_twin(self) -> None:
        """A primary's answer is never known beforehand."""

    def on_interim(self, connection: UpstreamConnection) -> None:
        self._check_sent()
        if connection.status != 100:
            self.tell("interim", (connection.status, connection.headers))

    def on_switch(self, _connection: UpstreamConnection, _rest: bytes) -> bool:
        """No other protocol was asked for."""
        return False

    def on_answer(self, connection: UpstreamConnection) -> None:
        self._check_sent()
        if self.rehearsal is not None:
            self.rehearsal.answer(connection.status, connection.headers)
        if not self.is_whole:
            connection.keep = False
        self.tell("head", (connection.status, connection.headers))

    def on_data(self, data: bytes) -> None:
        if self.rehearsal is not None:
            self.rehearsal.data(data)
        self._held += len(data)
        self.tell("data", data)

    def on_flush(self) -> None:
        connection = self.connection
        if self._held > HELD_BYTES and connection is not None and connection.transport is not None:
            connection.transport.pause_reading()

    def on_complete(self) -> None:
        connection = self.connection
        seconds = perf_counter() - self._sent_at
        histogram = self.plan.upstream
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds
        whole = b""
        if connection is not None:
            if not self.is_whole:
                connection.keep = False
            whole = connection.whole if connection.keep else b""
        rehearsal, self.rehearsal = self.rehearsal, None
        if rehearsal is not None:
            rehearsal.complete(seconds, whole)
        self.tell("end", None)

    def on_lost(self, reason: str, *, reused: bool) -> None:
        is_unsent = bool(self._stage.outgoing.flushes == self._sent_flush)
        may_repeat = (reused or self.plan.pool.spreads) and self._method in IDEMPOTENT
        self.tell("lost", Lost(reason, is_repeatable=(may_repeat or is_unsent) and not self._has_body))

    def on_pause(self) -> None:
        self.may_write.clear()

    def on_resume(self) -> None:
        self.may_write.set()
