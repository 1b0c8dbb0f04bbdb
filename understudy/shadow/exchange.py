"""One mirrored request: what the client got, what the shadows said, settled when all are in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from understudy.comparators import VOLATILE_HEADERS
from understudy.decide import Decision
from understudy.forwarding import HOP_BY_HOP
from understudy.messages import NOTHING_ASKED, Answer, Asked, Head
from understudy.shadow.call import ShadowCall, as_answer
from understudy.shadow.pieces import keep
from understudy.shadow.target import Copy, Target

if TYPE_CHECKING:
    from understudy.shadow.mirror import Mirror

FORGIVEN: Final = frozenset(VOLATILE_HEADERS | HOP_BY_HOP)
"""Fields whose value cannot make two byte-equal answers differ. Their presence still counts."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Only these may be asked of the primary's version a second time."""

NO_FIELDS: Final[frozenset[bytes]] = frozenset()

TWIN_BYTES: Final = 64 * 1024
"""A longer answer is parsed anew: kept whole beside its body it would be held twice."""


KEPT_BYTES: Final = 4096
"""A longer request body is no part of a sample: nobody pastes it into a shell."""


class MirroredExchange:
    """Holds the capped primary answer and the calls; settles once."""

    __slots__ = (
        "_mirror",
        "_open",
        "body_bytes",
        "calls",
        "control",
        "copy",
        "decision",
        "flag",
        "head",
        "held",
        "is_booked",
        "is_counted",
        "is_head",
        "is_repeatable",
        "is_starved",
        "method",
        "override",
        "path",
        "primary_body",
        "primary_done",
        "primary_failed",
        "primary_headers",
        "primary_seconds",
        "primary_size",
        "primary_status",
        "primary_truncated",
        "query",
        "same_version",
        "targets",
        "unseen",
    )

    def __init__(
        self, mirror: "Mirror", targets: Sequence[Target], method: str, path: str, query: str, flag: str
    ) -> None:
        self._mirror = mirror
        self.targets = targets
        self.method = method
        self.override = ""  # the method that the request asks to be taken for
        self.is_head = method == "HEAD"
        self.is_repeatable = method in SAFE
        self.path = path
        self.query = query
        self.flag = flag
        self.calls: list[ShadowCall] = []
        self.control: ShadowCall | None = None
        # What was asked and of whom, looked at only when answers differ.
        self.head: Head | None = None
        self.decision: Decision | None = None
        self.copy: Copy | None = None
        self.body_bytes = 0
        self.same_version: Target | None = None
        """Where the primary's version can be asked once more."""
        self.unseen: frozenset[bytes] = NO_FIELDS
        """Fields (lower case) that the primary's answer gets after it was seen: they are not compared."""
        self._open = 1  # the primary
        self.held = 0
        self.is_counted = True  # chosen before any answer is seen: see `Mirror.begin`
        self.is_booked = False  # every target's copy is skipped, dropped or sent
        self.is_starved = False  # the budget did not allow to keep the primary's answer
        self.primary_status = 0
        self.primary_headers: list[tuple[bytes, bytes]] = []
        self.primary_body: list[bytes] = []
        self.primary_size = 0
        self.primary_truncated = False
        self.primary_seconds = 0.0
        self.primary_done = False
        self.primary_failed = False

    def expect(self, calls: int) -> None:
        """Wait for that many calls; they must be started after."""
        self._open += calls

    def primary_answer(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head that the client gets; *headers* as the service sent them."""
        self.primary_status = status
        self.primary_headers = headers

    def primary_data(self, data: bytes) -> None:
        """A piece of the primary's body; kept up to the cap."""
        size = self.primary_size = self.primary_size + len(data)
        if self.primary_truncated:
            return
        keep(self.primary_body, data)
        if not self.hold(len(data)):
            self.primary_truncated = self.is_starved = True
        elif size > self._mirror.cap:
            self.primary_truncated = True

    def primary_complete(self, seconds: float, whole: bytes) -> None:
        """The client's answer is whole, *seconds* after the request was sent on.

        *whole*: its bytes as they came, when they came at once, else empty.
        """
        self.primary_seconds = seconds
        if whole and not self.primary_truncated and len(whole) <= TWIN_BYTES:
            for call in self.calls:
                call.twin = whole
            if self.control is not None:
                self.control.twin = whole
        self._primary_over()

    def primary_lost(self) -> None:
        """The client got no whole answer from the service: there is nothing to compare with."""
        self.primary_failed = True
        self._primary_over()

    def _primary_over(self) -> None:
        if self.primary_done:
            return
        self.primary_done = True
        self._one_less()

    def call_over(self, call: ShadowCall) -> None:
        """*call* was answered or failed."""
        try:
            self._mirror.ended(call)
            if call.failure and not self.primary_done and all(other.failure for other in self.calls):
                self._let_go()
        finally:
            self._one_less()

    def _let_go(self) -> None:
        """Nobody is left to compare with, so keep nothing of an answer that may stream for hours."""
        self.primary_truncated = self.is_starved = True
        self.primary_body = []
        self._mirror.held -= self.held
        self.held = 0

    def _one_less(self) -> None:
        self._open -= 1
        if self._open:
            return
        try:
            self._mirror.settle(self)
        finally:
            self.close()

    def close(self) -> None:
        """Give back what is held: all is settled, or nothing was sent."""
        self._mirror.held -= self.held
        self.held = 0
        # Calls point back here: without this, every mirrored request is a cycle for the collector.
        self.calls = []
        self.control = None
        self.head = None
        self.copy = None

    def asked(self) -> Asked:
        """What was asked, without credentials; while the calls are known."""
        copy, head, decision = self.copy, self.head, self.decision
        if copy is None:
            return NOTHING_ASKED
        unit = unit_at = primary = ""
        if head is not None and decision is not None:
            primary = decision.serve
            unit_at = decision.unit_at
            if decision.unit is not None:
                unit = decision.unit(head) or ""
        lines = copy.lines
        if copy.credentials:
            lines = lines.copy()
            for at in copy.credentials:
                lines[at] = lines[at].partition(b":")[0] + b":"
        return Asked(
            unit=unit,
            unit_at=unit_at,
            primary=primary,
            lines=b"\r\n".join(lines),
            body=self.body() if self.body_bytes <= KEPT_BYTES else b"",
            body_bytes=self.body_bytes,
        )

    def body(self) -> bytes:
        """The request's body, which stands at the end of each copy; empty when no call is known."""
        if not self.body_bytes or not self.calls:
            return b""
        return self.calls[0].wire[-self.body_bytes :]

    def hold(self, size: int) -> bool:
        """Book *size* bytes kept for this exchange; False when the budget is spent."""
        mirror = self._mirror
        held = mirror.held = mirror.held + size
        self.held += size
        return held <= mirror.budget

    def release(self, size: int) -> None:
        """*size* bytes booked by `hold` are no longer kept."""
        size = min(size, self.held)
        self._mirror.held -= size
        self.held -= size

    def broke(self) -> None:
        """An exception inside mirroring was contained."""
        self._mirror.broke()

    def primary_as_answer(self) -> Answer:
        """The primary's answer as a value, at most the cap of its body."""
        return as_answer(
            self.primary_status,
            self.primary_headers,
            self.primary_body,
            cap=self._mirror.cap,
            length_bytes=self.primary_size,
        )

    def equals(self, call: ShadowCall) -> bool:
        """Whether *call*'s answer equals the primary's: status, compared fields and body bytes.

        Conservative: a False only means that the comparators must look.
        """
        if call.is_twin:
            return True
        if call.status != self.primary_status or call.is_truncated or self.primary_truncated:
            return False
        mine, theirs = self.primary_body, call.body
        if mine != theirs and b"".join(mine) != b"".join(theirs):
            return False
        return call.headers == self.primary_headers or same_fields(self.primary_headers, call.headers)


def same_fields(mine: Sequence[tuple[bytes, bytes]], theirs: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether two field lists agree in names and values, volatile values forgiven.

    Fields of one name in their order; those of different names in any, as servers differ in it and it means
    nothing (RFC 9110 5.3).
    """
    if len(mine) != len(theirs):
        return False
    for (name, value), (other, other_value) in zip(mine, theirs, strict=True):
        if name != other and name.lower() != other.lower():
            return by_name(mine) == by_name(theirs)
        if value != other_value and name.lower() not in FORGIVEN:
            return False
    return True


def by_name(fields: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """The values of each name, lower case; of volatile ones how many there are."""
    table: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        lower = name.lower()
        table.setdefault(lower, []).append(b"" if lower in FORGIVEN else value)
    return table
