"""One shadow service as the mirror sees it: its pool, its bounds, its breaker, its counts."""

from collections import Counter
from dataclasses import dataclass, field
from random import getrandbits
from typing import Final

from understudy.forwarding import CREDENTIALS, name_of, without
from understudy.histogram import DELTAS, Histogram
from understudy.tracing import Bits, Trace
from understudy.upstream import Upstream

TRIPS_AFTER: Final = 5
"""Failures in a row that open the breaker (Envoy's consecutive_5xx default)."""

BLAMELESS: Final = frozenset({"budget", "error", "held", "shutdown", "memory", "no_files"})
"""Reasons of ours, which say nothing about the service."""

OPEN_SECONDS: Final = 10.0
"""Shorter than the 30 s of an ejected origin: a shadow restarts often while it rehearses."""


class Copy:
    """What a copy is made from: the forwarded request line and field lines, the positions of its
    credentials, the lines that the proxy added (each with its CRLF), and the captured body.

    ``trace_at``: which line names the ``trace``, if the request belongs to one.
    """

    __slots__ = ("added", "body", "cohort", "credentials", "is_sized", "lines", "start", "trace", "trace_at")

    def __init__(
        self, start: bytes, lines: list[bytes], credentials: list[int] | None, added: bytes, cohort: bytes
    ) -> None:
        self.start = start
        self.lines = lines
        self.credentials = credentials
        self.added = added
        self.cohort = cohort
        self.body = b""
        self.is_sized = False
        self.trace: Trace | None = None
        self.trace_at = -1


@dataclass(slots=True, kw_only=True, eq=False)
class Target:
    """Where copies go, and how they fared."""

    service: str
    role: str
    """``mirror``, ``control`` or ``confirm``: the first word of its evidence keys."""
    pool: Upstream
    in_flight_limit: int = 64
    stripped: frozenset[bytes] = CREDENTIALS
    own_lines: bytes = b""
    """Fields set on every copy, each with its CRLF."""
    in_flight: int = 0
    failures: int = 0
    open_until: float = 0.0
    is_retired: bool = False
    """The service changed: nothing new is asked here."""
    lent: int = 0
    """Second answers under way, which this target's bounds pay for (see `Confirming`)."""
    second: "Target | None" = field(default=None, repr=False)
    """The books of the second answers."""
    first: "Target | None" = field(default=None, repr=False)
    """Whose second answers these books are of."""
    eligible: int = 0
    sent: int = 0
    answers: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    deltas: Histogram = field(default_factory=lambda: Histogram(DELTAS))
    bits: Bits = getrandbits
    _reported: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, outcome: str, reason: str) -> None:
        """Book a copy as skipped, dropped or failed."""
        self.reasons[outcome, reason] += 1

    @property
    def outcomes(self) -> Counter[tuple[str, str]]:
        """The conservation law since the start, by (outcome, reason): eligible = sent + skipped +
        dropped; sent = answered + failed + still in flight."""
        counts = Counter(self.reasons)
        counts["eligible", ""] = self.eligible
        counts["sent", ""] = self.sent
        counts["answered", ""] = self.answers
        return counts

    @property
    def is_settled(self) -> bool:
        """Whether every copy is booked and none is under way."""
        booked = self.sent + sum(n for (outcome, _), n in self.reasons.items() if outcome != "failed")
        return not self.in_flight and booked == self.eligible

    def refuses(self, now: float) -> str:
        """Why no copy may be sent now: a reason, or empty when one may."""
        if self.in_flight + self.lent >= self.in_flight_limit:
            return "in_flight"
        if self.failures >= TRIPS_AFTER and (self.in_flight or self.open_until > now):
            return "breaker"
        return ""

    def answered(self) -> None:
        """A copy was answered: the breaker closes."""
        self.answers += 1
        self.failures = 0

    def failed(self, reason: str, now: float) -> None:
        """A copy was not answered; enough of these in a row open the breaker.

        After ``OPEN_SECONDS`` one copy alone tries; its failure opens the breaker again, its answer
        closes it. So a dead shadow costs one copy a period.
        """
        self.count("failed", reason)
        if reason in BLAMELESS:
            return
        self.failures += 1
        if self.failures >= TRIPS_AFTER:
            self.open_until = now + OPEN_SECONDS

    def drain(self) -> dict[tuple[str, str], int]:
        """Outcomes booked since the last call."""
        counts = self.outcomes
        new = {key: n - self._reported[key] for key, n in counts.items() if n != self._reported[key]}
        self._reported = counts
        return new

    def wire(self, copy: Copy, mark: bytes) -> bytes:
        """The bytes of *copy* for this service, marked and without credentials it may not see."""
        lines = copy.lines
        if copy.trace is not None:
            lines = lines.copy()
            lines[copy.trace_at] = copy.trace.child(self.bits)
        if self.stripped is CREDENTIALS:
            if copy.credentials:
                lines = without(lines, copy.credentials)
        elif self.stripped:
            lines = [line for line in lines if name_of(line).replace(b"_", b"-") not in self.stripped]
        ours = copy.added + copy.cohort + mark
        if self.own_lines:  # they replace what we add, too: a request id, a forwarding field
            added = copy.added.split(b"\r\n")
            kept = [line for line in added if name_of(line).replace(b"_", b"-") not in self.stripped]
            ours = b"\r\n".join(kept) + copy.cohort + mark + self.own_lines
        if copy.is_sized:
            ours += b"Content-Length: %d\r\n" % len(copy.body)
        return b"\r\n".join((copy.start, *lines, ours, copy.body))
