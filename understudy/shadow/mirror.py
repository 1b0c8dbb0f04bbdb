"""Send copies of live requests to shadow services, off the request's path, within bounds.

*Shadow work may be late, lost or wrong; it may never be felt.* Everything here is synchronous
bookkeeping plus writes to the shadows' own pools; what fails is counted, never raised.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from understudy.comparators import Endpoints, bucket
from understudy.comparators.evidence import bound, forgiven
from understudy.forwarding import CONTROL_MARK, SHADOW_MARK
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.shadow.call import ShadowCall
from understudy.shadow.confirm import Confirming
from understudy.shadow.exchange import SAFE, MirroredExchange
from understudy.shadow.tally import Tally
from understudy.shadow.target import Copy, Target

log = logging.getLogger("understudy.shadow")

TOLD_SECONDS: Final = 1.0
"""A fault that repeats with every request is told this often."""


PASSING_FULL: Final = 0.5
"""How full what waits for comparing may be before exchanges are passed over. What is in flight then, at most
64 copies a service, has room in the other half."""


def never_full() -> float:
    """For a recorder that keeps everything."""
    return 0.0


class Recorder(Protocol):
    """Where evidence goes. Never waits; False means full, and the caller counts the drop."""

    def offer(self, pair: Pair) -> bool:
        """Queue an unequal pair for the comparators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of all mirroring of one worker (DESIGN 7)."""

    control_share: float = 0.1
    timeout_seconds: float = 5.0
    budget_bytes: int = 64 * 1024 * 1024
    cap_bytes: int = 1024 * 1024
    confirm: bool = False
    """Ask both sides once more before a difference counts."""


class Mirror:
    """All mirroring of one worker.

    *now* is monotonic seconds, *wall* Unix seconds, *chance* uniform in [0, 1). *fullness*: what share of the
    recorder's room is taken.
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
        fullness: Callable[[], float] = never_full,
    ) -> None:
        self._recorder = recorder
        self._fullness = fullness
        self._metrics = metrics
        self._now = now
        self._wall = wall
        self._chance = chance
        self.limits = limits
        self.cap = limits.cap_bytes
        self.budget = limits.budget_bytes
        self.held = 0
        self.barred = ""
        """Why no copies are sent at all for now: a reason to skip them, or empty."""
        self._told_at = -TOLD_SECONDS
        self.endpoints = endpoints or Endpoints()
        self.targets: dict[tuple[str, str], Target] = {}
        self._retired: list[Target] = []
        self._running: dict[ShadowCall, None] = {}
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self.confirming = Confirming(self, now=now)
        self._shares = {limits.control_share}
        """The shares of control calls in force since the last `drain`."""

    # -- called by a front door, which hands what is raised to `broke` ----------------------------

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
        is_upgrade: bool = False,
    ) -> MirroredExchange | None:
        """Open the books for one request; None when no copy of it may be sent."""
        reason = self.barred
        if is_shadow:
            reason = "loop"
        elif is_upgrade:
            reason = "upgrade"
        elif method not in allowed or (override and override not in allowed):
            reason = "method"
        exchange = None
        if not reason:
            exchange = MirroredExchange(self, targets, method, path, query, flag)
            exchange.override = override
            exchange.is_counted = self._is_counted()
            if override and override not in SAFE:
                exchange.is_repeatable = False
        for target in targets:
            target.eligible += 1
            if reason:
                target.count("skipped", reason)
        return exchange

    def _is_counted(self) -> bool:
        """Whether the answers of a new exchange shall be evidence.

        When comparing cannot keep up, a fair coin passes exchanges over before anything is known of their
        answers: those that count stay a fair sample, which those that happen to find room would not be.
        """
        full = self._fullness()
        return full < PASSING_FULL or self._chance() < (1 - full) / (1 - PASSING_FULL)

    def skip(self, exchange: MirroredExchange, reason: str) -> None:
        """No copy of *exchange* will be sent, though one might have been."""
        exchange.is_booked = True
        for target in exchange.targets:
            target.count("skipped", reason)
        exchange.close()

    def send(self, exchange: MirroredExchange, copy: Copy, control: Target | None) -> bool:
        """Send the copies of a complete request; False when every one was dropped."""
        now = self._now()
        exchange.is_booked = True
        calls = exchange.calls
        for target in exchange.targets:
            self._admit(exchange, copy, target, SHADOW_MARK, now, calls)
        if not calls:
            exchange.close()
            return False
        if (
            control is not None
            and exchange.is_repeatable
            and exchange.is_counted
            and self._chance() < self.limits.control_share
            and not control.is_retired
        ):
            control.eligible += 1
            asked: list[ShadowCall] = []
            self._admit(exchange, copy, control, CONTROL_MARK, now, asked)
            if asked:
                exchange.control = asked[0]
                calls = [*calls, asked[0]]
        exchange.copy = copy
        exchange.same_version = control
        exchange.body_bytes = len(copy.body)
        copy.body = b""  # it stands in each call's bytes
        exchange.expect(len(calls))
        for call in calls:
            self.start(call)
        return True

    def start(self, call: ShadowCall) -> None:
        """Send *call*, which is booked and awaited, and watch its deadline."""
        self._running[call] = None
        try:
            call.start()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self.broke()
            call.cancel("error")

    def give_up(self, exchange: MirroredExchange) -> None:
        """An exception broke the mirroring of this request: count it, keep the books whole."""
        self.broke()
        if exchange.is_booked:
            exchange.primary_lost()
        else:
            self.skip(exchange, "error")

    def _admit(
        self,
        exchange: MirroredExchange,
        copy: Copy,
        target: Target,
        mark: bytes,
        now: float,
        calls: list[ShadowCall],
    ) -> None:
        """Add a call to *calls*, booked as sent; or book the copy as dropped."""
        try:
            reason = target.refuses(now)
            if not reason:
                wire = target.wire(copy, mark)
                call = ShadowCall(exchange, target, wire, self.cap, self._now, now)
                if self.held + len(wire) <= self.budget:
                    target.sent += 1
                    target.in_flight += 1
                    self.held += len(wire)
                    exchange.held += len(wire)
                    calls.append(call)
                    return
                reason = "budget"
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self.broke()
            reason = "error"
        target.count("dropped", reason)

    # -- called by exchanges and calls ------------------------------------------------------------

    def ended(self, call: ShadowCall) -> None:
        """*call* was answered or failed."""
        call.target.in_flight -= 1
        self._running.pop(call, None)

    def settle(self, exchange: MirroredExchange) -> None:
        """All answers are in: count what is equal, hand on what is not."""
        control = exchange.control
        if control is not None and control.failure:
            control = None
        for call in exchange.calls:
            if not call.failure:
                self._settle_call(exchange, call, control)

    def _settle_call(self, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None) -> None:
        endpoint = self.endpoints.of(
            exchange.override or exchange.method,
            exchange.path,
            exchange.query,
            0 if exchange.primary_failed else exchange.primary_status,
        )
        key = (call.target.service, endpoint, exchange.flag)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        if exchange.primary_failed:
            tally.unpaired += 1
            return
        try:
            # What was cut off, or left unread for a while, has no time of its own.
            if not (call.is_truncated or exchange.primary_truncated or call.is_untimed):
                mine, theirs = exchange.primary_seconds, call.seconds
                at = bucket(mine)
                tally.primary[at] = tally.primary.get(at, 0) + 1
                at = bucket(theirs)
                tally.shadow[at] = tally.shadow.get(at, 0) + 1
                tally.shadow_seconds += theirs
                delta = theirs - mine
                sizes = tally.slower if delta > 0 else tally.faster
                at = bucket(abs(delta))
                sizes[at] = sizes.get(at, 0) + 1
                if theirs > forgiven(mine):
                    tally.late += 1
                call.target.deltas.observe(delta)
            if not exchange.is_counted:
                tally.passed_over += 1
            elif exchange.equals(call) and (control is None or exchange.equals(control)):
                tally.exchanges += 1
                tally.matched += 1
                if control is not None:
                    tally.controlled += 1
            elif exchange.is_starved or not self._hand_on(exchange, call, control, endpoint):
                tally.uncompared += 1
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self.broke()
            tally.uncompared += 1

    def _hand_on(
        self, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None, endpoint: str
    ) -> bool:
        """Let unequal answers be compared, now or once they are confirmed; False: there is no room."""
        pair: Pair | None = self._pair(exchange, call, control, endpoint)
        if self.limits.confirm and pair is not None:
            pair = self.confirming.confirm(pair, exchange, call, control)
        return pair is None or self._recorder.offer(pair)

    def confirmed(self, pair: Pair) -> None:
        """Second answers came, or will not: *pair* can be compared."""
        if not self._recorder.offer(pair):
            key = (pair.service, pair.endpoint, pair.flag)
            tally = self._tallies.get(key)
            if tally is None:
                tally = self._tallies[key] = Tally()
            tally.uncompared += 1

    def _pair(
        self, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None, endpoint: str
    ) -> Pair:
        primary = exchange.primary_as_answer()
        return Pair(
            service=call.target.service,
            endpoint=endpoint,
            flag=exchange.flag,
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            at=self._wall(),
            primary=primary,
            shadow=call.as_answer(primary.length_bytes),
            control=None if control is None else control.as_answer(primary.length_bytes),
            asked=exchange.asked(),
        )

    def broke(self) -> None:
        """Count the exception being handled, and tell of it at most once a second."""
        self._metrics.mirror_errors += 1
        now = self._now()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            log.error(
                "mirroring failed and was contained; %d so far", self._metrics.mirror_errors, exc_info=True
            )

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

    @property
    def running(self) -> int:
        """How many copies are under way."""
        return len(self._running)

    def reload(self, limits: Limits) -> None:
        """Work within *limits* from now on; what is held already counts."""
        self._shares.add(limits.control_share)
        self.limits = limits
        self.cap = limits.cap_bytes
        self.budget = limits.budget_bytes

    def retire(self, role: str, service: str) -> None:
        """Forget a target, and its breaker; what its last copies come to is still counted."""
        target = self.targets.pop((role, service), None)
        if target is not None:
            target.is_retired = True
            self._retired.append(target)

    def cancel_all(self, reason: str = "shutdown") -> None:
        """End every call: the worker is leaving, or needs what they hold."""
        for _ in range(2):  # what ends first may have been about to be asked once more
            for call in list(self._running):
                call.cancel(reason)

    def drain(self) -> dict[tuple[str, ...], int]:
        """The evidence counted since the last call, by the keys of `understudy.comparators`."""
        counts: Counter[tuple[str, ...]] = Counter()
        while self._tallies:
            (service, endpoint, flag), tally = self._tallies.popitem()
            try:
                self._drain_tally(counts, service, endpoint, flag, tally)
            except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
                self.broke()
        metrics = self._metrics
        flows = {"mirror": metrics.mirror, "control": metrics.control, "confirm": metrics.confirm}
        for target in (*self.targets.values(), *self._retired, *self.confirming.targets):
            flow = flows[target.role]
            for (outcome, reason), n in target.drain().items():
                counts[target.role, target.service, outcome, reason] += n
                flow[target.service, f"{outcome}_{reason}" if reason else outcome] += n
        self._retired = [target for target in self._retired if not target.is_settled]
        self.confirming.forget_retired()
        told = {key: n for key, n in counts.items() if n}
        eligible = sum([n for key, n in told.items() if key[0] == "mirror" and key[2] == "eligible"])
        if eligible:
            for share in self._shares:
                told["share", "", "", f"{share:g}"] = eligible
            self._shares = {self.limits.control_share}
        return told

    def _drain_tally(
        self, counts: Counter[tuple[str, ...]], service: str, endpoint: str, flag: str, tally: Tally
    ) -> None:
        for what, n in (
            ("exchanges", tally.exchanges),
            ("matched", tally.matched),
            ("with_control", tally.controlled),
            ("not_compared", tally.uncompared),
            ("passed_over", tally.passed_over),
            ("unpaired", tally.unpaired),
            ("late", tally.late),
        ):
            counts["exchange", service, endpoint, what] += n
        for side, buckets in (
            ("primary", tally.primary),
            ("shadow", tally.shadow),
            ("slower", tally.slower),
            ("faster", tally.faster),
        ):
            for index, n in buckets.items():
                counts["latency", service, endpoint, side, str(index)] += n
        results = self._metrics.comparisons
        results[flag, service, "match"] += tally.matched
        results[flag, service, "skipped"] += tally.uncompared + tally.unpaired + tally.passed_over
        histogram = self._metrics.histogram(self._metrics.shadow, service)
        histogram.total += tally.shadow_seconds
        for index, n in tally.shadow.items():
            histogram.counts[bisect_left(histogram.bounds, bound(index))] += n
