"""The shadow side of one request: what is told to the mirror; nothing that the mirror does comes back.

Mirroring is isolated here: every exception is counted, none is raised into the request.
"""

from typing import TYPE_CHECKING

from understudy.engine import Plan
from understudy.forwarding import CREDENTIAL, kind_of, name_of
from understudy.messages import Head
from understudy.proxy.heads import UNSIZED, Fields
from understudy.proxy.tape import Take, Tape
from understudy.shadow import Copy, Mirror, MirroredExchange, keep
from understudy.shadow.exchange import NO_FIELDS
from understudy.tracing import TRACE_FIELDS, read_traceparent

if TYPE_CHECKING:
    from understudy.proxy.exchange import Exchange


def rehearse(
    mirror: Mirror,
    plan: Plan,
    head: Head,
    fields: Fields,
    start: bytes,
    added: bytes,
    *,
    is_upgrade: bool,
    unseen: frozenset[bytes] = NO_FIELDS,
) -> "Rehearsal | None":
    """Open the books of a request that *plan* mirrors; None when no copy of it may be sent.

    *start* is the request line as it goes on, *added* the forwarding fields. What may become a tunnel
    (*is_upgrade*) is never mirrored. *unseen* are the fields that no answer is compared by (see
    `MirroredExchange`).
    """
    exchange: MirroredExchange | None = None
    try:
        decision = plan.decision
        exchange = mirror.begin(
            plan.targets,
            method=head.method,
            override=fields.override,
            allowed=decision.mirror_methods,
            is_shadow=fields.is_shadow,
            is_upgrade=is_upgrade,
            path=head.path,
            query=head.query,
            flag=decision.flag,
        )
        if exchange is None:
            return None
        exchange.head = head
        exchange.unseen = unseen
        exchange.decision = decision
        copy = Copy(start, fields.lines, fields.credentials, added, plan.cohort)
        if fields.traceparent is not None:
            _continue_trace(copy, fields.traceparent, fields.trace_at)
        return Rehearsal(mirror, plan, exchange, copy, is_sized=fields.length != UNSIZED)
    except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
        _give_up(mirror, exchange)
        return None


def _continue_trace(copy: Copy, traceparent: bytes, at: int) -> None:
    """Let each copy get a span id of its own; what is no trace context stays off copies altogether.

    Who cannot read traceparent must not hand tracestate on (W3C Trace Context 4.3).
    """
    copy.trace = read_traceparent(traceparent)
    copy.trace_at = at
    if copy.trace is None:
        copy.lines = [line for line in copy.lines if name_of(line) not in TRACE_FIELDS]
        kinds = [kind_of(name_of(line)) for line in copy.lines]
        copy.credentials = [at for at, kind in enumerate(kinds) if kind == CREDENTIAL]


def _give_up(mirror: Mirror, exchange: MirroredExchange | None) -> None:
    """Keep the books whole after an exception, whatever else breaks."""
    try:
        if exchange is None:
            mirror.broke()
        else:
            mirror.give_up(exchange)
    except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
        mirror.broke()


def taped(
    rehearsal: "Rehearsal | None", mirror: Mirror, plan: Plan, tape: Tape, exchange: "Exchange"
) -> "Rehearsal | None":
    """*rehearsal*, or one without copies, which tells *tape* too if that wants the request."""
    try:
        take = tape.begin(exchange, plan.decision, mirror.barred)
        if take is None:
            return rehearsal
        if rehearsal is None:
            rehearsal = Rehearsal(mirror, plan, None, None, is_sized=False)
        rehearsal.take = take
    except Exception:  # noqa: BLE001  recording is isolated: counted, never raised
        mirror.broke()
    return rehearsal


class Rehearsal:
    """Tells the mirror of one request and its primary answer, in the order in which they happen."""

    __slots__ = ("_body", "_copy", "_exchange", "_kept", "_mirror", "_plan", "take")

    def __init__(
        self,
        mirror: Mirror,
        plan: Plan,
        exchange: MirroredExchange | None,
        copy: Copy | None,
        *,
        is_sized: bool,
    ) -> None:
        self._mirror = mirror
        self._plan = plan
        self._exchange = exchange
        self._copy = copy
        self._body: list[bytes] | None = None
        self._kept = 0
        self.take: Take | None = None
        """Gets what is told here, too, while there is a recording."""
        if is_sized and copy is not None:
            copy.is_sized = True
            self._body = []

    def body(self, data: bytes) -> None:
        """A piece of the request's body: kept up to the cap and the budget."""
        try:
            if self.take is not None:
                self.take.body(data)
            exchange, body = self._exchange, self._body
            if exchange is None or body is None:
                return
            keep(body, data)
            self._kept += len(data)
            if self._kept > self._mirror.cap:
                self._leave("body_too_large")
            elif not exchange.hold(len(data)):
                self._leave("budget")
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def send(self) -> None:
        """The request is whole: its copies may go."""
        try:
            exchange, copy = self._exchange, self._copy
            self._copy = None
            if exchange is None or copy is None:
                return
            if self._body:
                copy.body = b"".join(self._body)
            self._body = None
            if not self._mirror.send(exchange, copy, self._plan.control):
                self._exchange = None
            elif self._kept:
                exchange.release(self._kept)  # the copies on their way are booked, and hold the body now
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def sent_to(self) -> list[str]:
        """The services that a copy was sent to; told between the request and its answer."""
        exchange = self._exchange
        return [] if exchange is None else [call.target.service for call in exchange.calls]

    def answer(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the primary's answer, as the service sent it."""
        try:
            if self.take is not None:
                self.take.answer(status, headers)
            if self._exchange is not None:
                self._exchange.primary_answer(status, headers)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def data(self, data: bytes) -> None:
        """A piece of the primary's body."""
        try:
            if self.take is not None:
                self.take.data(data)
            if self._exchange is not None:
                self._exchange.primary_data(data)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def unkept(self, length: int) -> None:
        """*length* more bytes of the primary's body came, which whoever tells of it has not kept."""
        if self._exchange is not None and length > 0:
            self._exchange.primary_size += length
            self._exchange.primary_truncated = True

    def complete(self, seconds: float, whole: bytes) -> None:
        """The primary's answer is whole; *whole* are its bytes if they came at once, else empty."""
        if self._copy is not None:
            self._leave("request_incomplete")
        try:
            if self.take is not None:
                self.take.complete(seconds)
            if self._exchange is not None:
                self._exchange.primary_complete(seconds, whole)
                self._exchange = None
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def abort(self, reason: str) -> None:
        """No comparison will come of this request; a copy that was not sent yet never is."""
        self._miss(reason)
        self._leave(reason)

    def _miss(self, reason: str) -> None:
        """Record no further, for *reason*."""
        take, self.take = self.take, None
        try:
            if take is not None:
                take.abort(reason)
        except Exception:  # noqa: BLE001  recording is isolated: counted, never raised
            self._mirror.broke()

    def _leave(self, reason: str) -> None:
        """Mirror no further, for *reason*."""
        try:
            exchange = self._exchange
            copy, self._copy, self._body = self._copy, None, None
            if exchange is None:
                return
            if copy is not None:
                self._mirror.skip(exchange, reason)
            else:
                exchange.primary_lost()
            self._exchange = None
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def _broke(self) -> None:
        """Mirror this request no further."""
        exchange, self._exchange = self._exchange, None
        self._copy = self._body = None
        _give_up(self._mirror, exchange)
        self._miss("error")
