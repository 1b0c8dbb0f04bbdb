"""One request of one client connection: decide, send on, bring the answer back.

State of a request lives here; the connection lives on. Nothing on this path is awaited.
"""

from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING, Final

from understudy.engine import Plan
from understudy.forwarding import IDEMPOTENT
from understudy.histogram import SECONDS
from understudy.proxy.access_log import Entry
from understudy.proxy.answer_heads import end_to_end, status_line
from understudy.proxy.heads import (
    CHUNKED,
    CRLF,
    SEP,
    UNSIZED,
    Fields,
    Refused,
)
from understudy.proxy.preparation import CHUNKED_FIELD, prepare
from understudy.proxy.problems import DETAIL_OF, STATUS_OF, problem
from understudy.proxy.rehearsal import Rehearsal
from understudy.proxy.upgrade import accepted, upgrade_fields
from understudy.upstream import Refusal, UpstreamConnection

if TYPE_CHECKING:
    from understudy.proxy.connection import ClientConnection

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"Connection: close\r\n"
KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

AT_ONCE_BYTES: Final = 16 * 1024
"""A piece of an answer that is not waited with: the loop may read 32 more before its turn ends."""

UNREACHED: Final = frozenset({"connect_refused", "connect_timeout", "closed", "tls_failed"})
"""Why no connection came, when the reason is the service's."""

TURN_PIECES: Final = 3 * 1024
"""Of an answer's chunks in one read, three for each: over that, others come first."""

KEEPS: Final = frozenset({404, 405, 502, 503, 504})
"""Answers of our own after which a whole, well-framed HTTP/1.1 request leaves the connection usable."""


class Exchange:
    """One request and its answer. Is its own `Head`, upstream `Caller` and pool `Waiter`."""

    __slots__ = (
        "_answered",
        "_asked",
        "_chunked_out",
        "_client",
        "_early",
        "_out",
        "_pending",
        "_retried",
        "_sent_at",
        "_sent_flush",
        "_started_at",
        "_upstream",
        "_waiting",
        "_wire",
        "client_ip",
        "entry",
        "fields",
        "headers",
        "host",
        "is_complete",
        "is_over",
        "keep_alive",
        "method",
        "path",
        "plan",
        "query",
        "rehearsal",
        "status",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, client: "ClientConnection") -> None:
        self._client = client
        self.client_ip = client.peer_ip
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = "GET"
        self.path = ""
        self.query = ""
        self.host = ""
        self.version = "1.1"
        self.upgrade = b""
        self.keep_alive = True
        self.fields: Fields | None = None
        self.plan: Plan | None = None
        self.rehearsal: Rehearsal | None = None
        log = client.proxy.access_log
        self.entry: Entry | None = None if log is None else log.open()
        self.status = 0
        self.is_complete = False
        self.is_over = False
        self._upstream: UpstreamConnection | None = None
        self._waiting = False
        self._wire = b""
        self._pending: list[bytes] = []
        self._early: list[bytes] = []
        self._out: list[bytes] = []
        self._answered = False
        self._chunked_out = False
        self._retried = False
        self._asked = False
        self._started_at = 0.0
        self._sent_at = 0.0
        self._sent_flush = 0

    # -- the request, told by the client connection ------------------------------------------------

    def start(self) -> None:
        """The head is parsed and it is this request's turn."""
        self._started_at = self._sent_at = perf_counter()
        try:
            self._wire = prepare(self, self._client)
        except Refused as refused:
            self.refuse(refused.status, refused.reason, refused.detail)
            return
        except Exception as error:  # noqa: BLE001  one request is isolated from the others
            self._client.proxy.log_fault(error)
            self.refuse(500, "internal", "the proxy failed to handle this request")
            return
        self._acquire(fresh=False)

    def body(self, data: bytes) -> None:
        """A piece of the request's body, transfer coding removed."""
        fields = self.fields
        if fields is None:
            self._early.append(data)
            self._client.hold_body()
            return
        if self.rehearsal is not None:
            self.rehearsal.body(data)
        if self.entry is not None:
            self.entry.bytes_in += len(data)
        if fields.length == CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._upstream is not None:
            self._upstream.write(data)
        elif not self.is_over:
            self._pending.append(data)
            self._client.hold_body()

    def complete(self) -> None:
        """The request is whole."""
        self.is_complete = True
        if self.is_over or self.fields is None:
            return
        if self.fields.length == CHUNKED:
            if self._upstream is not None:
                self._upstream.write(LAST_CHUNK)
            else:
                self._pending.append(LAST_CHUNK)
        if self.rehearsal is not None:
            self.rehearsal.send()
            if self.entry is not None:
                self.entry.mirror = self.rehearsal.sent_to()

    def replay(self) -> None:
        """Tell what came of the body while this request stood behind another."""
        early, self._early = self._early, []
        for data in early:
            if not self.is_over:
                self.body(data)
        if self.is_complete:
            self.complete()

    @property
    def is_whole(self) -> bool:
        """Whether nothing more of the request can come."""
        return self.is_complete or self._has_no_body()

    @property
    def awaits_body(self) -> bool:
        """Whether it is the client's turn to send more of the request."""
        return self._upstream is not None and not self.is_complete

    def client_gone(self) -> None:
        """The client's connection is lost: end quietly, tell the upstream by closing."""
        if self.is_over:
            return
        self._let_go()
        if self.entry is not None:
            self.entry.reason = "client_gone"
        self._end(499)
        if self.rehearsal is not None:
            self.rehearsal.abort("client_aborted")

    # -- towards the upstream ------------------------------------------------------------------------

    def _acquire(self, *, fresh: bool) -> None:
        plan = self.plan
        assert plan is not None
        try:
            connection = plan.pool.acquire(self, fresh=fresh)
        except Refusal as refusal:
            self._give_up(str(refusal))
            return
        if connection is None:
            self._waiting = True
            return
        self._begin(connection)

    def on_connection(self, connection: UpstreamConnection) -> None:
        self._waiting = False
        self._sent_at = perf_counter()
        self._begin(connection)

    def on_refused(self, reason: str) -> None:
        self._waiting = False
        plan = self.plan
        if reason in ("connect_refused", "closed") and not self._retried and plan and not plan.pool.spreads:
            self._retried = True
            self._acquire(fresh=True)
        elif not (reason in UNREACHED and self._fall_back()):
            self._give_up(reason)

    def _fall_back(self) -> bool:
        """Ask the default variant's service instead, if nobody was asked yet and the plan allows it."""
        plan = self.plan
        if plan is None or plan.fallback is None or self._asked:
            return False
        if self.rehearsal is not None:
            self.rehearsal.abort("fallback")
            self.rehearsal = None
        self._wire = plan.fallen(self._wire)
        self.plan = plan.fallback
        self._retried = False
        self._acquire(fresh=False)
        return True

    def _begin(self, connection: UpstreamConnection) -> None:
        self._upstream = connection
        self._sent_flush = self._client.proxy.outgoing.flushes
        connection.begin(self, is_head=self.method == "HEAD")
        fields = self.fields
        connection.write(self._wire)
        if self._pending:
            for data in self._pending:
                connection.write(data)
            self._pending.clear()
            self._client.release_body()
        if fields is not None and fields.expects_continue and not self.is_whole and self.version == "1.1":
            fields.expects_continue = False
            self._client.release_body()
            self._client.write(CONTINUE)

    def on_pause(self) -> None:
        self._client.hold_body()

    def on_resume(self) -> None:
        self._client.release_body()

    def on_lost(self, reason: str, *, reused: bool) -> None:
        upstream, self._upstream = self._upstream, None
        if self._answered:
            self._cut(reason)
            return
        self._out.clear()  # of an answer that broke in its first read nothing is out
        is_unsent = self._was_not_sent(upstream)
        if not is_unsent:
            self._asked = True
        if not self._retried and (is_unsent or self._may_repeat(reused=reused)):
            self._retried = True
            self._acquire(fresh=True)
        elif not (is_unsent and self._fall_back()):
            self._give_up(reason)

    def _was_not_sent(self, upstream: UpstreamConnection | None) -> bool:
        """Whether no byte went out on *upstream*; then all of the request is pending again."""
        unsent = self._client.proxy.outgoing.take_back(upstream) if upstream is not None else []
        if not unsent or unsent[0] is not self._wire:
            return False
        self._pending = unsent[1:]
        return True

    def _may_repeat(self, *, reused: bool) -> bool:
        """Whether the request may be sent again: to an origin that closed as it was asked, or to another.

        Not once an answer has begun, though nothing of it is out: what was told of it is not untold.
        """
        if self.status:
            return False
        plan = self.plan
        is_elsewhere = plan is not None and plan.pool.spreads
        return (reused or is_elsewhere) and self.method in IDEMPOTENT and self._has_no_body()

    def _has_no_body(self) -> bool:
        return self.fields is not None and self.fields.length in (UNSIZED, 0)

    def _let_go(self) -> None:
        if self._upstream is not None:
            self._upstream.abandon()
            self._upstream = None
        elif self._waiting and self.plan is not None:
            self.plan.pool.withdraw(self)
            self._waiting = False

    # -- the answer, told by the upstream connection ---------------------------------------------------

    twin = b""

    def on_twin(self) -> None:
        """A primary's answer is never known beforehand."""

    def _is_unsent(self) -> bool:
        """Whether this request still waits for the end of the turn: what came cannot be its answer.

        It lay in the kernel when the connection was lent. Taken for the answer, it would free the
        connection with our request yet to be sent, and that one's answer would go to the next client.
        """
        return self._client.proxy.outgoing.flushes == self._sent_flush

    def on_interim(self, connection: UpstreamConnection) -> None:
        if self._is_unsent():
            raise ValueError("an answer before its request")
        if self.version != "1.1" or connection.status == 100:
            return  # our own 100 was sent when the body was asked for
        fields = end_to_end(connection.headers)
        self._client.write(status_line(connection.status, connection.reason) + CRLF + fields + CRLF)

    def on_switch(self, connection: UpstreamConnection, rest: bytes) -> bool:
        protocol = accepted(self.upgrade, self.headers, connection.headers) if self.upgrade else b""
        if not protocol or self._is_unsent():
            return False
        self._upstream = None
        head = (
            status_line(101, connection.reason),
            end_to_end(connection.headers) + self._client.proxy.via_field + upgrade_fields(protocol),
        )
        self._client.write(CRLF.join((*head, b"")))
        self._end(101)
        self._client.switch(self, connection, rest)
        return True

    def tunnel_over(self, *, bytes_in: int, bytes_out: int) -> None:
        """The tunnel that this request became is gone: now it can be told what it carried, and how long."""
        entry = self.entry
        if entry is not None:
            entry.bytes_in = bytes_in
            entry.bytes_out = bytes_out
            entry.end(self, 101, self._started_at)

    def on_answer(self, connection: UpstreamConnection) -> None:
        client = self._client
        if client.proxy.outgoing.flushes == self._sent_flush:  # inlined: the hot path
            raise ValueError("an answer before its request")
        self.status = connection.status
        length = connection.length
        headers = connection.headers
        if self.rehearsal is not None:
            self.rehearsal.answer(connection.status, headers)
        known = connection.known
        block = b"" if known is None else known.block
        if not block:
            lines = [SEP.join(field) for field in headers]
            block = CRLF.join((status_line(connection.status, connection.reason), *lines))
            if known is not None:
                known.block = block
        ours = client.proxy.via_field
        if not self.is_complete:
            self.keep_alive = False
            connection.keep = False
        if length < 0:
            if self.version == "1.1":
                self._chunked_out = True
                ours += CHUNKED_FIELD
            else:
                self.keep_alive = False
        if not self.keep_alive or client.proxy.is_draining:
            self.keep_alive = False
            ours += CLOSE
        elif self.version == "1.0":
            ours += KEEP_ALIVE
        self._out = [b"%b\r\n%b\r\n" % (block, ours)]
        client.answering()

    def on_data(self, data: bytes) -> None:
        if self.rehearsal is not None:
            self.rehearsal.data(data)
        if self.entry is not None:
            self.entry.bytes_out += len(data)
        if self._chunked_out:
            self._out += (b"%x\r\n" % len(data), data, CRLF)
        else:
            self._out.append(data)

    def on_flush(self) -> None:
        out = self._out
        if out:
            data = b"".join(out)
            self._answered = True
            self._client.write(data)
            self._client.answering()
            if len(out) > TURN_PIECES and self._upstream is not None:
                self._upstream.rest()
            out.clear()
            if len(data) >= AT_ONCE_BYTES:
                self._client.proxy.outgoing.flush()
        elif self._is_unsent() and self._upstream is not None:  # part of a head
            self._upstream.abandon()
            self.on_lost("closed", reused=True)
            return
        if self._client.is_paused and self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def client_paused(self) -> None:
        """The client reads too slowly."""
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.pause_reading()

    def client_resumed(self) -> None:
        """The client reads again."""
        if self._upstream is not None and self._upstream.transport is not None:
            self._upstream.transport.resume_reading()

    def on_complete(self) -> None:
        upstream, self._upstream = self._upstream, None
        out = self._out
        if self._chunked_out:
            out.append(LAST_CHUNK)
        if out:
            self._client.write(b"".join(out))
        now = perf_counter()
        plan = self.plan
        if plan is not None:
            histogram = plan.upstream
            seconds = now - self._sent_at
            histogram.counts[bisect_left(SECONDS, seconds)] += 1
            histogram.total += seconds
            if self.entry is not None:
                self.entry.upstream_seconds = seconds
            if self.rehearsal is not None:
                self.rehearsal.complete(
                    seconds, upstream.whole if upstream is not None and upstream.keep else b""
                )
        if upstream is not None and not self.is_complete:
            upstream.keep = False
        self._end(self.status, now)
        self._client.exchange_over(self)

    # -- ends ------------------------------------------------------------------------------------------

    def timed_out(self, *, is_client_slow: bool) -> None:
        """The upstream let too much time pass, or the client took nothing of the answer."""
        if self._upstream is not None and not self._answered:
            self._upstream.health.failed("answer_timeout")
        self._let_go()
        if self._answered:
            self._cut("client_idle" if is_client_slow else "answer_idle")
        else:
            self._give_up("answer_timeout")

    def refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer by ourselves, count why, close the connection."""
        if self.is_over:
            return
        client = self._client
        client.proxy.metrics.errors[reason] += 1
        if status not in KEEPS or not self.is_whole or self.version != "1.1" or self.method == "CONNECT":
            self.keep_alive = False
        if client.proxy.is_draining:
            self.keep_alive = False
        closes = not self.keep_alive
        answer = problem(status, reason, detail, closes=closes, is_head=self.method == "HEAD")
        client.write(answer)
        if self.entry is not None:
            self.entry.refused(reason, answer)
        self._end(status)
        if self.rehearsal is not None:
            self.rehearsal.abort("primary_failed")
        client.exchange_over(self)

    def interrupt(self, status: int, reason: str, detail: str) -> None:
        """The request broke off or broke a rule after it was sent on."""
        if self.is_over:
            return
        self._let_go()
        if self._answered:
            self._cut(reason)
        else:
            self.refuse(status, reason, detail)

    def _give_up(self, reason: str) -> None:
        self._let_go()
        self.refuse(STATUS_OF.get(reason, 502), reason, DETAIL_OF.get(reason, reason))

    def _cut(self, reason: str) -> None:
        """The answer broke off after its head was sent: cut the client, never pad (RFC 9112 8)."""
        self._client.proxy.metrics.errors["cut_" + reason] += 1
        if self.entry is not None:
            self.entry.reason = "cut_" + reason
        self._end(self.status)
        if self.rehearsal is not None:
            self.rehearsal.abort("primary_failed")
        if self._out:
            self._client.write(b"".join(self._out))
        self._client.cut()

    def _end(self, status: int, now: float = 0.0) -> None:
        self.is_over = True
        plan = self.plan
        entry = self.entry
        if entry is not None and status != 101:
            entry.end(self, status, self._started_at)
        if plan is not None:
            stats = plan.stats
            stats.codes[status // 100] += 1
            seconds = (now or perf_counter()) - self._started_at
            stats.duration.counts[bisect_left(SECONDS, seconds)] += 1
            stats.duration.total += seconds
            if plan.meetings is not None:
                plan.meetings.see(plan.decision, self)
