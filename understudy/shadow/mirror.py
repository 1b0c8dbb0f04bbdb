"""Send copies of live requests to shadow services, off the request's path, within bounds.

*Shadow work may be late, lost or wrong; it may never be felt.* Everything here is synchronous
bookkeeping plus writes to the shadows' own pools; what fails is counted, never raised.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from understudy.comparators import Endpoints, bucket
from understudy.forwarding import CONTROL_MARK, SHADOW_MARK
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.shadow.call import ShadowCall
from understudy.shadow.exchange import MirroredExchange
from understudy.shadow.target import Copy, Target

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Only these may be asked of the primary service a second time."""


class Recorder(Protocol):
    """Where evidence goes. Never waits; False means full, and the caller counts the drop."""

    def offer(self, pair: Pair) -> bool:
        """Queue an unequal pair for the comparators."""


class Tally:
    """Counts of one (service, endpoint) since the last flush."""

    __slots__ = ("controlled", "exchanges", "matched", "primary", "shadow", "uncompared")

    def __init__(self) -> None:
        self.exchanges = 0
        self.matched = 0
        self.controlled = 0
        self.uncompared = 0
        self.primary: Counter[int] = Counter()
        self.shadow: Counter[int] = Counter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of all mirroring of one worker (DESIGN 7)."""

    control_share: float = 0.1
    timeout_seconds: float = 5.0
    budget_bytes: int = 64 * 1024 * 1024
    cap_bytes: int = 1024 * 1024


class Mirror:
    """All mirroring of one worker.

    *now* is monotonic seconds, *wall* Unix seconds, *chance* uniform in [0, 1).
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        metrics: WorkerMetrics,
        now: Callable[[], float],
        wall: Callable[[], float],
        chance: Callable[[], float],
        limits: Limits,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._recorder = recorder
        self._metrics = metrics
        self._now = now
        self._wall = wall
        self._chance = chance
        self.limits = limits
        self.cap = limits.cap_bytes
        self.held = 0
        self.endpoints = endpoints or Endpoints()
        self.targets: dict[tuple[str, str], Target] = {}
        self._running: dict[ShadowCall, None] = {}
        self._tallies: dict[tuple[str, str], Tally] = {}

    # -- called by a front door; guard each with `contain` ----------------------------------------

    def begin(
        self,
        targets: Sequence[Target],
        *,
        method: str,
        override: str,
        allowed: frozenset[str],
        is_shadow: bool,
        path: str,
        query: str,
        flag: str,
        started_at: float,
    ) -> MirroredExchange | None:
        """Open the books for one request; None when no copy of it may be sent."""
        reason = ""
        if is_shadow:
            reason = "loop"
        elif method not in allowed or (override and override not in allowed):
            reason = "method"
        for target in targets:
            target.count("eligible")
            if reason:
                target.count("skipped", reason)
        if reason:
            return None
        return MirroredExchange(
            self, targets, method=method, path=path, query=query, flag=flag, started_at=started_at
        )

    def skip(self, exchange: MirroredExchange, reason: str) -> None:
        """No copy of *exchange* will be sent, though one might have been."""
        for target in exchange.targets:
            target.count("skipped", reason)

    def send(self, exchange: MirroredExchange, copy: Copy, control: Target | None) -> bool:
        """Send the copies of a complete request; False when every one was dropped."""
        now = self._now()
        calls = [
            call
            for target in exchange.targets
            if (call := self._admit(exchange, copy, target, SHADOW_MARK, now))
        ]
        if not calls:
            return False
        exchange.calls.extend(calls)
        if control is not None and exchange.method in SAFE and self._chance() < self.limits.control_share:
            control.count("eligible")
            call = self._admit(exchange, copy, control, CONTROL_MARK, now)
            if call is not None:
                exchange.control = call
                calls.append(call)
        exchange.expect(len(calls))
        for call in calls:
            self._running[call] = None
            call.start(is_head=exchange.is_head)
        return True

    def _admit(
        self, exchange: MirroredExchange, copy: Copy, target: Target, mark: bytes, now: float
    ) -> ShadowCall | None:
        """A call within the bounds, booked as sent; None, booked as dropped, when it is not."""
        reason = target.refuses(now)
        wire = b""
        if not reason:
            try:
                wire = target.wire(copy, mark)
            except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
                self._metrics.mirror_errors += 1
                reason = "error"
            if self.held + len(wire) > self.limits.budget_bytes:
                reason = "budget"
        if reason:
            target.count("dropped", reason)
            return None
        target.count("sent")
        target.in_flight += 1
        self.hold(exchange, len(wire))
        return ShadowCall(exchange, target, wire, cap=self.cap, now=self._now, started_at=now)

    # -- called by exchanges and calls ------------------------------------------------------------

    def hold(self, exchange: MirroredExchange, size: int) -> bool:
        """Book *size* bytes kept for *exchange*; False when the budget is spent."""
        self.held += size
        exchange.held += size
        return self.held <= self.limits.budget_bytes

    def ended(self, call: ShadowCall) -> None:
        """*call* was answered or failed."""
        call.target.in_flight -= 1
        self._running.pop(call, None)

    def settle(self, exchange: MirroredExchange) -> None:
        """All answers are in: count what is equal, hand on what is not."""
        self.held -= exchange.held
        exchange.held = 0
        control = exchange.control
        if control is not None and control.failure:
            control = None
        for call in exchange.calls:
            if not call.failure and not exchange.primary_failed:
                self._settle_call(exchange, call, control)

    def _settle_call(self, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None) -> None:
        service = call.target.service
        endpoint = self.endpoints.of(exchange.method, exchange.path)
        tally = self._tallies.get((service, endpoint))
        if tally is None:
            tally = self._tallies[service, endpoint] = Tally()
        tally.primary[bucket(exchange.primary_seconds)] += 1
        tally.shadow[bucket(call.seconds)] += 1
        call.target.durations.observe(call.seconds)
        call.target.deltas.observe(call.seconds - exchange.primary_seconds)
        if exchange.equals(call) and (control is None or exchange.equals(control)):
            tally.exchanges += 1
            tally.matched += 1
            if control is not None:
                tally.controlled += 1
            self._metrics.comparisons[exchange.flag, service, "match"] += 1
        elif not self._recorder.offer(self._pair(exchange, call, control, endpoint)):
            tally.uncompared += 1
            self._metrics.comparisons[exchange.flag, service, "skipped"] += 1

    def _pair(
        self, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None, endpoint: str
    ) -> Pair:
        return Pair(
            service=call.target.service,
            endpoint=endpoint,
            flag=exchange.flag,
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            at=self._wall(),
            primary=exchange.primary_as_answer(),
            shadow=call.as_answer(),
            control=None if control is None else control.as_answer(),
        )

    def broke(self) -> None:
        """Count an exception that was contained."""
        self._metrics.mirror_errors += 1

    # -- called by the worker's clock and link ----------------------------------------------------

    def sweep(self, now: float) -> None:
        """End the calls whose total deadline has passed; the oldest stand first."""
        limit = now - self.limits.timeout_seconds
        expired = []
        for call in self._running:
            if call.started_at > limit:
                break
            expired.append(call)
        for call in expired:
            call.cancel("timeout")

    def cancel_all(self) -> None:
        """End every call: the worker is leaving."""
        for call in list(self._running):
            call.cancel("shutdown")

    def drain(self) -> dict[tuple[str, ...], int]:
        """The evidence counted since the last call, by the keys of `understudy.comparators`."""
        counts: dict[tuple[str, ...], int] = {}
        for target in self.targets.values():
            for (outcome, reason), n in target.drain().items():
                counts[target.role, target.service, outcome, reason] = n
        for (service, endpoint), tally in self._tallies.items():
            for what in ("exchanges", "matched"):
                if n := getattr(tally, what):
                    counts["exchange", service, endpoint, what] = n
            if tally.controlled:
                counts["exchange", service, endpoint, "with_control"] = tally.controlled
            if tally.uncompared:
                counts["exchange", service, endpoint, "not_compared"] = tally.uncompared
            for side, buckets in (("primary", tally.primary), ("shadow", tally.shadow)):
                for index, n in buckets.items():
                    counts["latency", service, endpoint, side, str(index)] = n
        self._tallies.clear()
        return counts
