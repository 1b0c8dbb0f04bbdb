"""One copy on its way to a shadow service, and the capped answer it brings back."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from understudy.forwarding import IDEMPOTENT
from understudy.messages import Answer, Head
from understudy.shadow.pieces import keep
from understudy.shadow.target import Target
from understudy.upstream import Refusal, UpstreamConnection

if TYPE_CHECKING:
    from understudy.shadow.exchange import MirroredExchange

MOST_CRUMBS: Final = 8192
"""Pieces of an answer that take this worker's time, 3 ms of it: over 1,600 a second in the 5 s it has."""

CRUMB_BYTES: Final = 64

BEGINNING_BYTES: Final = 64 * 1024
"""Of a cut-off answer beside a short whole one: a sample shows a quarter of it. Joining a mebibyte took a
millisecond of an application's loop."""


class ShadowCall:
    """Sends one copy, collects one answer; tells its exchange exactly once that it is over.

    ``status`` is 0 until an answer head came. ``failure`` names why no answer came.
    """

    __slots__ = (
        "_cap",
        "_connection",
        "_done",
        "_exchange",
        "_now",
        "_retried",
        "body",
        "failure",
        "headers",
        "is_truncated",
        "is_twin",
        "is_untimed",
        "pieces",
        "seconds",
        "sent_at",
        "size",
        "started_at",
        "status",
        "target",
        "twin",
        "wire",
    )

    def __init__(
        self,
        exchange: "MirroredExchange",
        target: Target,
        wire: bytes,
        cap: int,
        now: Callable[[], float],
        started_at: float,
    ) -> None:
        self._exchange = exchange
        self.target = target
        self.wire = wire
        self._cap = cap
        self._now = now
        self.started_at = started_at
        self.sent_at = started_at
        self.seconds = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.size = 0
        self.pieces = 0
        self.is_truncated = False
        self.is_untimed = False  # its answer was left unread for a while
        self.failure = ""
        self.twin = b""
        self.is_twin = False
        self._retried = False
        self._done = False
        self._connection: UpstreamConnection | None = None

    @property
    def is_done(self) -> bool:
        return self._done

    @property
    def head(self) -> Head | None:
        """What the client asked; None once the exchange is settled."""
        return self._exchange.head

    def took(self, seconds: float) -> None:
        """The answer that comes now was made in *seconds*; what the call waited for before is not counted."""
        self.sent_at = self._now() - seconds

    def start(self, *, fresh: bool = False) -> None:
        """Send the copy, or wait for a connection of the shadow's own pool."""
        try:
            connection = self.target.pool.acquire(self, fresh=fresh)
        except Refusal as refusal:
            self._fail(str(refusal))
            return
        if connection is not None:
            self._connection = connection
            connection.begin(self, is_head=self._exchange.is_head)
            connection.write(self.wire)

    def cancel(self, reason: str) -> None:
        """End the call now: its deadline passed, it broke, or the worker is leaving."""
        if self._done:
            return
        try:
            connection = self._connection
            if reason == "timeout" and connection is not None:
                if connection.is_held:
                    reason = "held"
                elif not self.status:
                    connection.health.failed(reason)
            self._let_go()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._exchange.broke()
        self._fail(reason)

    def on_connection(self, connection: UpstreamConnection) -> None:
        try:
            self._connection = connection
            self.sent_at = self._now()
            connection.begin(self, is_head=self._exchange.is_head)
            connection.write(self.wire)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def on_refused(self, reason: str) -> None:
        if not self._done:
            self._fail(reason)

    def on_twin(self) -> None:
        if self._done:
            return
        try:
            self.is_twin = True
            primary = self._exchange
            self.status = primary.primary_status
            self.headers = primary.primary_headers
            self.body = primary.primary_body
            self._answer()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def on_interim(self, connection: UpstreamConnection) -> None:
        """A shadow's interim answers go nowhere."""

    def on_switch(self, _connection: UpstreamConnection, _rest: bytes) -> bool:
        """A copy asks for no other protocol."""
        return False

    def on_answer(self, connection: UpstreamConnection) -> None:
        self.status = connection.status
        headers = connection.headers
        unseen = self._exchange.unseen
        if unseen:
            headers = [field for field in headers if field[0].lower() not in unseen]
        self.headers = headers

    def on_data(self, data: bytes) -> None:
        if self._done:
            return
        try:
            self.size += len(data)
            self.pieces += 1
            keep(self.body, data)
            if not self._exchange.hold(len(data)):
                self.cancel("budget")
            elif self.pieces > MOST_CRUMBS and self.size < self.pieces * CRUMB_BYTES:
                self.cancel("crumbs")
            elif self.size > self._cap:
                self.is_truncated = True
                self._let_go()
                self._answer()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def on_flush(self) -> None:
        """Nothing is written on the way; the answer is settled when it is whole."""

    def on_complete(self) -> None:
        if self._done:
            return
        try:
            self._answer()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke()

    def on_lost(self, reason: str, *, reused: bool) -> None:
        if self._done:
            return
        self._connection = None
        if reused and not self.status and not self._retried and self._exchange.method in IDEMPOTENT:
            # The service closed an idle connection as we used it: that says nothing of the new version.
            self._retried = True
            try:
                self.start(fresh=True)
            except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
                self._broke()
        elif reason == "internal":
            self._broke()
        else:
            self._fail(reason)

    def on_pause(self) -> None:
        """A copy is at most the cap: it is written at once."""

    def on_resume(self) -> None:
        """See `on_pause`."""

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        else:
            self.target.pool.withdraw(self)

    def _broke(self) -> None:
        """An exception of ours: count it, end the call."""
        self._exchange.broke()
        self.cancel("error")

    def _answer(self) -> None:
        self._done = True
        connection, self._connection = self._connection, None
        if connection is not None and connection.was_held:
            self.is_untimed = True
        try:
            self.seconds = self._now() - self.sent_at
            self.target.answered()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._exchange.broke()
            self.failure = "error"
            self.target.count("failed", "error")
        self._tell()

    def _fail(self, reason: str) -> None:
        self._done = True
        self._connection = None
        self.failure = reason
        try:
            self.target.failed(reason, self._now())
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._exchange.broke()
        self._tell()

    def _tell(self) -> None:
        try:
            self._exchange.call_over(self)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._exchange.broke()

    def as_answer(self, primary_bytes: int) -> Answer:
        """The answer as a value, at most the cap of its body.

        *primary_bytes*: the length of the primary's body. It stands in for the length of a cut-off answer
        that declared none, so that nothing is made of a length that nobody knows; and of a cut-off answer
        no more is kept than differs from that one by being longer. 0: nothing is known of the primary's.
        """
        length, cap = 0, self._cap
        if self.is_truncated:
            length = declared_bytes(self.headers) or max(primary_bytes, cap + 1)
            if primary_bytes and not any(name.lower() == b"content-encoding" for name, _ in self.headers):
                cap = min(cap, max(primary_bytes + 1, BEGINNING_BYTES))  # coded, bytes say nothing of length
        return as_answer(self.status, self.headers, self.body, cap=cap, length_bytes=length)


def as_answer(
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    body: Sequence[bytes],
    *,
    cap: int,
    length_bytes: int = 0,
) -> Answer:
    """Build the value that travels; a body over *cap* bytes is cut there exactly, so that two compare.

    *length_bytes*: what the whole body has, if *body* is not the whole.
    """
    size = sum([len(piece) for piece in body])
    kept = body if size <= cap else list(within(body, cap))
    return Answer(status=status, headers=headers, body=b"".join(kept), length_bytes=length_bytes or size)


def within(pieces: Sequence[bytes], size: int) -> Iterator[bytes]:
    """The first *size* bytes of *pieces*, none of which is copied but the one that is cut."""
    for piece in pieces:
        if size <= 0:
            return
        yield piece[:size]
        size -= len(piece)


def declared_bytes(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """What Content-Length says, which llhttp has checked; 0 without one."""
    return next((int(value) for name, value in headers if name.lower() == b"content-length"), 0)
