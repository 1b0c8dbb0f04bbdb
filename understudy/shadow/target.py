"""One shadow service as the mirror sees it: its pool, its bounds, its breaker, its counts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from understudy.forwarding import CREDENTIALS, PARTS_PER_FIELD, REQUEST_LINE_PARTS, SHADOW_FIELD, without
from understudy.metrics import DELTAS, Histogram
from understudy.upstream import Pool

TRIPS_AFTER: Final = 5
"""Failures in a row that open the breaker (Envoy's consecutive_5xx default)."""

OPEN_SECONDS: Final = 10.0
"""Shorter than the 30 s of an ejected origin: a shadow restarts often while it rehearses."""


@dataclass(slots=True, kw_only=True)
class Copy:
    """What a copy is made from: the parts of the forwarded head, where its credentials stand, what
    the proxy added, and the captured body. ``cohort`` is the flag and variant fields."""

    parts: list[bytes]
    credentials: list[int] | None
    added: bytes
    cohort: bytes
    body: bytes = b""
    is_sized: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Target:
    """Where copies go. ``outcomes`` is the conservation law, by (outcome, reason)."""

    service: str
    role: str
    """``mirror`` or ``control``: the first word of its evidence keys."""
    pool: Pool
    in_flight_limit: int = 64
    stripped: frozenset[bytes] = CREDENTIALS
    set_headers: tuple[tuple[bytes, bytes], ...] = ()
    in_flight: int = 0
    failures: int = 0
    open_until: float = 0.0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: Histogram = field(default_factory=Histogram)
    deltas: Histogram = field(default_factory=lambda: Histogram(DELTAS))
    _reported: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, outcome: str, reason: str = "") -> None:
        """Book one step of the conservation law."""
        self.outcomes[outcome, reason] += 1

    def refuses(self, now: float) -> str:
        """Why no copy may be sent now: a reason, or empty when one may."""
        if self.in_flight >= self.in_flight_limit:
            return "in_flight"
        if self.open_until > now:
            return "breaker"
        return ""

    def answered(self) -> None:
        """A copy was answered: the breaker closes."""
        self.count("answered")
        self.failures = 0

    def failed(self, reason: str, now: float) -> None:
        """A copy was not answered; enough of these in a row open the breaker.

        After ``OPEN_SECONDS`` the next single failure opens it again, so a dead shadow costs one
        copy a period.
        """
        self.count("failed", reason)
        self.failures += 1
        if self.failures >= TRIPS_AFTER:
            self.open_until = now + OPEN_SECONDS

    def drain(self) -> dict[tuple[str, str], int]:
        """Outcomes booked since the last call."""
        new = {key: n - self._reported[key] for key, n in self.outcomes.items() if n != self._reported[key]}
        self._reported = Counter(self.outcomes)
        return new

    def wire(self, copy: Copy, mark: bytes) -> bytes:
        """The bytes of *copy* for this service, marked and without credentials it may not see."""
        parts = copy.parts
        if self.stripped is CREDENTIALS:
            if copy.credentials:
                parts = without(parts, copy.credentials)
        elif self.stripped:
            parts = without(parts, self._positions(parts))
        framing = b"Content-Length: %d\r\n" % len(copy.body) if copy.is_sized else b""
        own = b"".join(b"%b: %b\r\n" % field for field in self.set_headers)
        return b"".join(
            (
                *parts,
                copy.added,
                own,
                copy.cohort,
                SHADOW_FIELD,
                b": ",
                mark,
                b"\r\n",
                framing,
                b"\r\n",
                copy.body,
            )
        )

    def _positions(self, parts: list[bytes]) -> list[int]:
        start = REQUEST_LINE_PARTS
        return [at for at in range(start, len(parts), PARTS_PER_FIELD) if parts[at].lower() in self.stripped]
