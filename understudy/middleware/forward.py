"""A request that another service answers: sent on from inside the application, as the proxy would.

What the service tells comes by callbacks and is sent on by one coroutine, so that back-pressure goes both
ways: 64 KiB wait at most, then the service is not read.
"""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from time import perf_counter
from typing import Any, Final

from understudy.config import APP
from understudy.engine import Plan
from understudy.forwarding import IDEMPOTENT
from understudy.histogram import SECONDS
from understudy.middleware.hop import Hop
from understudy.middleware.inner import Message, Receive, Send
from understudy.middleware.request import AsgiRequest, Scope
from understudy.middleware.stage import Stage
from understudy.proxy.exchange import UNREACHED
from understudy.proxy.heads import CHUNKED, CRLF, UNSIZED, Fields, Refused
from understudy.proxy.preparation import CHUNKED_FIELD, NOT_FORWARDED
from understudy.proxy.problems import DETAIL_OF, RETRY_AFTER, STATUS_OF, problem_body
from understudy.proxy.rehearsal import Rehearsal
from understudy.upstream import Refusal, UpstreamConnection

log = logging.getLogger("understudy.middleware")

HELD_BYTES: Final = 64 * 1024
"""Of an answer that the client does not take yet (DESIGN 6, rule 10)."""

LAST_CHUNK: Final = b"0\r\n\r\n"

SERVERS_OWN: Final = frozenset({b"date", b"server"})
"""What the application's server says by itself, and would say twice."""

Told = tuple[str, Any]


class Lost(Exception):
    """No answer, or the end of none: *reason* is a metric label."""

    def __init__(self, reason: str, *, is_repeatable: bool = False, is_unasked: bool = False) -> None:
        self.reason = reason
        self.is_repeatable = is_repeatable
        self.is_unasked = is_unasked
        super().__init__(reason)


class Forward:
    """One request and its answer. Is its own upstream `Caller` and pool `Waiter`.

    ``plan`` is the fallback's once that stands in.
    """

    twin = b""

    def __init__(
        self, stage: Stage, hop: Hop, plan: Plan, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.plan = plan
        self._stage = stage
        self._hop = hop
        self._scope = scope
        self._request = AsgiRequest(scope)
        self._receive = receive
        self._send = send
        self._first: list[Message] = []
        self._fields: Fields | None = None
        self._wire = b""
        self._rehearsal: Rehearsal | None = None
        self._connection: UpstreamConnection | None = None
        self._granted: asyncio.Future[UpstreamConnection] | None = None
        self._sent_flush = 0
        self._told: deque[Told] = deque()
        self._held = 0
        self._news = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._deadline: asyncio.Timeout | None = None
        self._is_whole = False
        self._has_begun = False
        self._started_at = perf_counter()
        self._sent_at = self._started_at
        self.status = 0

    # -- the coroutine -----------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Answer; False when the application shall, which ``plan`` then serves, reading ``unread``."""
        try:
            self._prepare()
            if await self._answer():
                return False
        except Refused as refused:
            await self._refuse(refused.status, refused.reason, refused.detail)
        except Lost as lost:
            await self._give_up(lost.reason)
        except Exception:
            log.exception("a request could not be sent on")
            await self._give_up("internal")
        finally:
            self._let_go()
        self._count()
        return True

    async def unread(self) -> Message:
        """What of the request nobody has taken yet."""
        return self._first.pop(0) if self._first else await self._receive()

    def _prepare(self) -> None:
        """Make the head that goes to the service. Raises `Refused`."""
        request, plan = self._request, self.plan
        if request.method in NOT_FORWARDED:
            raise Refused(405, "bad_method", f"{request.method} is not forwarded")
        fields = self._fields = self._hop.read(request, self._scope)
        self._is_whole = fields.length in (UNSIZED, 0)
        added = self._hop.added(self._scope, fields, plan.authority)
        ours = added + plan.cohort
        if fields.length != UNSIZED:
            ours += CHUNKED_FIELD if fields.length == CHUNKED else b"Content-Length: %d\r\n" % fields.length
        start = b"%b %b HTTP/1.1" % (request.method.encode("latin-1"), request.target)
        self._wire = CRLF.join((start, *fields.lines, ours, b""))
        if plan.targets:
            self._rehearsal = self._stage.rehearse(plan, request, fields, target=request.target, added=added)

    async def _answer(self) -> bool:
        """Ask, and send the answer on; True when the application shall answer instead. Raises `Lost`."""
        is_again = False
        while True:
            try:
                async with asyncio.timeout(self.plan.first_byte_seconds) as self._deadline:
                    await self._ask(fresh=is_again)
                    await self._begin_answer()
                break
            except TimeoutError:
                if self._connection is not None:
                    self._connection.health.failed("answer_timeout")
                raise Lost("answer_timeout") from None
            except Lost as lost:
                self._let_go()
                if not is_again and lost.is_repeatable:
                    is_again = True
                elif lost.is_unasked and self.plan.fallback is not None:
                    self._fall_back(self.plan.fallback)
                    is_again = False
                    if self.plan.decision.serve == APP:
                        return True
                else:
                    raise
        await self._relay()
        return False

    def _fall_back(self, fallback: Plan) -> None:
        """The default variant stands in: nobody was asked yet."""
        self._rehearse_no_more("fallback")
        self._wire = self.plan.fallen(self._wire)
        self.plan = fallback

    async def _ask(self, *, fresh: bool) -> None:
        """Get a connection and send the head. Raises `Lost`."""
        self._told.clear()
        self._granted = self._stage.loop.create_future()
        try:
            connection = self.plan.pool.acquire(self, fresh=fresh)
        except Refusal as refusal:
            raise Lost(str(refusal)) from None
        if connection is None:
            connection = await self._granted
        self._connection = connection
        self._sent_at = perf_counter()
        self._sent_flush = self._stage.outgoing.flushes
        connection.begin(self, is_head=self._request.method == "HEAD")
        connection.write(self._wire)

    async def _begin_answer(self) -> None:
        """Send the body on until the answer begins. Raises `Lost`."""
        if self._is_whole and self._rehearsal is not None:
            self._rehearsal.send()
        feeding = self._stage.spawn(self._feed())
        self._feeding = feeding if isinstance(feeding, asyncio.Task) else None
        while True:
            kind, value = await self._next()
            if kind == "interim":
                await self._hint(*value)
            elif kind == "head":
                self._told.appendleft((kind, value))
                return
            else:
                raise value if isinstance(value, Lost) else Lost("bad_answer")

    async def _feed(self) -> None:
        """Send the body on as it comes, then see whether the client leaves."""
        seconds = self._stage.body_idle_seconds
        try:
            while True:
                async with asyncio.timeout(None if self._is_whole else seconds):
                    await self._may_write.wait()
                    message = await self.unread()
                if message["type"] == "http.disconnect":
                    raise Lost("client_gone")
                if not self._is_whole:
                    self._feed_piece(bytes(message.get("body", b"")), bool(message.get("more_body", False)))
        except TimeoutError:
            self._tell("lost", Lost("body_timeout"))
        except Lost as lost:
            self._tell("lost", lost)
        except Exception:
            log.exception("a request's body could not be read")
            self._tell("lost", Lost("client_gone"))

    def _feed_piece(self, data: bytes, has_more: bool) -> None:
        connection, fields = self._connection, self._fields
        if connection is None or fields is None:
            return
        if self._deadline is not None and not self._has_begun:
            self._deadline.reschedule(self._stage.loop.time() + self.plan.first_byte_seconds)
        if data and self._rehearsal is not None:
            self._rehearsal.body(data)
        is_chunked = fields.length == CHUNKED
        if data:
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if is_chunked else data)
        if not has_more:
            self._is_whole = True
            if is_chunked:
                connection.write(LAST_CHUNK)
            if self._rehearsal is not None:
                self._rehearsal.send()

    async def _relay(self) -> None:
        """Send the answer on, from its head. Raises `Lost` only before that."""
        try:
            while True:
                async with asyncio.timeout(self.plan.idle_seconds):
                    kind, value = await self._next()
                if kind == "head":
                    self.status, headers = value
                    self._has_begun = True
                    start = {"status": self.status, "headers": headers}
                    await self._send({"type": "http.response.start", **start})
                elif kind == "data":
                    await self._send({"type": "http.response.body", "body": value, "more_body": True})
                elif kind == "end":
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                elif kind == "lost":
                    self._cut(value.reason)
                    return
        except TimeoutError:
            self._cut("answer_idle")
        except OSError:
            self._cut("client_gone")  # a server says so (ASGI 2.4)

    async def _next(self) -> Told:
        """What the service told next."""
        while not self._told:
            self._news.clear()
            await self._news.wait()
        kind, value = self._told.popleft()
        if kind == "data":
            before, self._held = self._held, self._held - len(value)
            if before > HELD_BYTES // 2 >= self._held:
                self._read_on()
        return kind, value

    async def _hint(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Pass early hints on where the server can (ASGI's extension)."""
        extensions = self._scope.get("extensions") or {}
        if status == 103 and "http.response.early_hint" in extensions:
            links = [value for name, value in headers if name.lower() == b"link"]
            await self._send({"type": "http.response.early_hint", "links": links})

    # -- ends --------------------------------------------------------------------------------------------

    async def _give_up(self, reason: str) -> None:
        """Answer in the service's place, unless its answer has begun or nobody waits for one."""
        if reason == "client_gone":
            self.status = 499
            self._rehearse_no_more("client_aborted")
        elif self._has_begun:
            self._cut(reason)
        elif reason == "body_timeout":
            await self._refuse(408, reason, "the request's body did not come in time")
        else:
            await self._refuse(STATUS_OF.get(reason, 502), reason, DETAIL_OF.get(reason, reason))

    async def _refuse(self, status: int, reason: str, detail: str) -> None:
        self.status = status
        self._stage.metrics.errors[reason] += 1
        self._rehearse_no_more("primary_failed")
        self._let_go()
        body = problem_body(status, reason, detail)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if reason in RETRY_AFTER:
            headers.append((b"retry-after", b"1"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _cut(self, reason: str) -> None:
        """The answer broke off: a server that is left without its end cuts the client (RFC 9112 8)."""
        self._stage.metrics.errors["cut_" + reason] += 1
        self._rehearse_no_more("client_aborted" if reason == "client_gone" else "primary_failed")

    def _rehearse_no_more(self, reason: str) -> None:
        rehearsal, self._rehearsal = self._rehearsal, None
        if rehearsal is not None:
            rehearsal.abort(reason)

    _feeding: "asyncio.Task[None] | None" = None

    def _let_go(self) -> None:
        """Leave the connection, or the queue for one; what is told after this is not heard."""
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        connection, self._connection = self._connection, None
        granted, self._granted = self._granted, None
        if connection is not None and connection.caller is self:
            connection.abandon()
        elif granted is not None and not granted.done():
            granted.cancel()
            self.plan.pool.withdraw(self)

    def _count(self) -> None:
        plan, now = self.plan, perf_counter()
        stats = plan.stats
        stats.codes[min(self.status // 100, 5)] += 1
        stats.duration.counts[bisect_left(SECONDS, now - self._started_at)] += 1
        stats.duration.total += now - self._started_at

    # -- told by the pool and the connection -------------------------------------------------------------

    def _tell(self, kind: str, value: Any) -> None:
        self._told.append((kind, value))
        self._news.set()

    def _read_on(self) -> None:
        connection = self._connection
        if connection is not None and connection.transport is not None and connection.caller is self:
            connection.transport.resume_reading()

    def on_connection(self, connection: UpstreamConnection) -> None:
        granted = self._granted
        if granted is None or granted.done():
            connection.abandon()
        else:
            granted.set_result(connection)

    def on_refused(self, reason: str) -> None:
        if self._granted is not None and not self._granted.done():
            self._granted.set_exception(
                Lost(
                    reason,
                    is_repeatable=reason in ("connect_refused", "closed") and not self.plan.pool.spreads,
                    is_unasked=reason in UNREACHED,
                )
            )

    def on_twin(self) -> None:
        """A primary's answer is never known beforehand."""

    def on_interim(self, connection: UpstreamConnection) -> None:
        self._check_sent()
        if connection.status != 100:
            self._tell("interim", (connection.status, connection.headers))

    def on_switch(self, _connection: UpstreamConnection, _rest: bytes) -> bool:
        """No other protocol was asked for."""
        return False

    def on_answer(self, connection: UpstreamConnection) -> None:
        self._check_sent()
        if self._rehearsal is not None:
            self._rehearsal.answer(connection.status, connection.headers)
        if not self._is_whole:
            connection.keep = False
        headers = [
            (name.lower(), value) for name, value in connection.headers if name.lower() not in SERVERS_OWN
        ]
        headers.append((b"via", b"1.1 " + self._hop.via_id))
        self._tell("head", (connection.status, headers))

    def _check_sent(self) -> None:
        """What lay in the kernel when the connection was lent is no answer to this request."""
        if self._stage.outgoing.flushes == self._sent_flush:
            raise ValueError("an answer before its request")

    def on_data(self, data: bytes) -> None:
        if self._rehearsal is not None:
            self._rehearsal.data(data)
        self._held += len(data)
        self._tell("data", data)

    def on_flush(self) -> None:
        connection = self._connection
        if self._held > HELD_BYTES and connection is not None and connection.transport is not None:
            connection.transport.pause_reading()

    def on_complete(self) -> None:
        connection = self._connection
        seconds = perf_counter() - self._sent_at
        histogram = self.plan.upstream
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds
        if connection is not None and not self._is_whole:
            connection.keep = False
        rehearsal, self._rehearsal = self._rehearsal, None
        if rehearsal is not None:
            rehearsal.complete(
                seconds, connection.whole if connection is not None and connection.keep else b""
            )
        self._tell("end", None)

    def on_lost(self, reason: str, *, reused: bool) -> None:
        is_unsent = bool(self._stage.outgoing.flushes == self._sent_flush)
        may_repeat = (reused or self.plan.pool.spreads) and self._request.method in IDEMPOTENT
        has_no_body = self._fields is not None and self._fields.length in (UNSIZED, 0)
        self._tell(
            "lost",
            Lost(reason, is_repeatable=(may_repeat or is_unsent) and has_no_body and not self.status),
        )

    def on_pause(self) -> None:
        self._may_write.clear()

    def on_resume(self) -> None:
        self._may_write.set()
