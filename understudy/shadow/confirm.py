"""Confirmation: before a difference counts, all sides are asked the same request once more.

A race between the two answers and whatever they read is gone the second time; a fault is not. What differs
both times counts, for the shadow and for the control alike. Noise is learned from their counts, so neither
may be favoured: a side counts exactly when it would have counted had everything been asked twice (to ask
again only where one differs saves requests and changes no count), and one second answer that does not come
lets the first ones count on both sides.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from understudy.comparators import Comparison
from understudy.comparators.content import JSON, codings_of, content_type
from understudy.forwarding import CONTROL_MARK, SHADOW_MARK
from understudy.messages import Again, Answer, Pair
from understudy.shadow.call import ShadowCall
from understudy.shadow.exchange import MirroredExchange
from understudy.shadow.target import Copy, Target

if TYPE_CHECKING:
    from understudy.shadow.mirror import Mirror

JSON_BYTES: Final = 16 * 1024
OTHER_BYTES: Final = 2 * 1024
"""Bodies in which a worker looks itself whether anything counts: a millisecond's work, which clients may wait
for. A page or a form takes ten times as long as JSON of its size."""


class Confirmation(MirroredExchange):
    """Second answers on their way: the primary's version, the shadow and, if it was asked, the control."""

    __slots__ = ("_pair", "again")

    def __init__(self, mirror: "Mirror", exchange: MirroredExchange, pair: Pair) -> None:
        super().__init__(mirror, (), exchange.method, exchange.path, exchange.query, exchange.flag)
        self._pair = pair
        self.head = exchange.head
        self.unseen = exchange.unseen
        self.again: list[ShadowCall] = []
        self._open = 0

    def call_over(self, call: ShadowCall) -> None:
        """*call* was answered or failed."""
        try:
            first = call.target.first
            if first is not None:
                first.lent -= 1
            self._mirror.ended(call)
        finally:
            self._one_less()

    def _one_less(self) -> None:
        self._open -= 1
        if self._open:
            return
        try:
            self._mirror.confirmed(self._confirmed())
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._mirror.broke()
            self._mirror.confirmed(self._pair._replace(unconfirmed="error"))
        finally:
            self.close()
            self.again = []

    def _confirmed(self) -> Pair:
        """The pair with the second answers, or with why there are none."""
        for call in self.again:
            if call.failure:
                return self._pair._replace(unconfirmed=call.failure)
        primary = self.again[0].as_answer(0)
        shadow, *control = [call.as_answer(primary.length_bytes) for call in self.again[1:]]
        again = Again(primary=primary, shadow=shadow, control=control[0] if control else None)
        return self._pair._replace(again=again)


class Confirming:
    """Asks once more within the bounds of the first time; *now* is monotonic seconds.

    ``targets`` are the books of what was asked: the same conservation law, in the role ``confirm``.
    """

    def __init__(self, mirror: "Mirror", *, now: Callable[[], float]) -> None:
        self.comparison = Comparison()
        self.targets: list[Target] = []
        self._mirror = mirror
        self._now = now

    def confirm(
        self, pair: Pair, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None
    ) -> Pair | None:
        """*pair* as it is to be compared now; None when it waits for second answers.

        A method that is not safe is never asked again, nor is anything when no difference would count.
        """
        if not exchange.is_repeatable:
            return pair
        try:
            if not self._counts(pair):
                return pair
            reason = self._ask(pair, exchange, call, control)
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._mirror.broke()
            reason = "error"
        return pair._replace(unconfirmed=reason) if reason else None

    def forget_retired(self) -> None:
        """Let go of books that nothing will be added to."""
        self.targets = [
            target
            for target in self.targets
            if target.first is None or not target.first.is_retired or not target.is_settled
        ]

    def _counts(self, pair: Pair) -> bool:
        """Whether a difference in *pair* would count by the rules; True when that takes too long to tell."""
        answers = [pair.primary, pair.shadow]
        if pair.control is not None:
            answers.append(pair.control)
        if any(is_long(answer) for answer in answers):
            return True
        return any(self._differs(pair, answer) for answer in answers[1:])

    def _differs(self, pair: Pair, answer: Answer) -> bool:
        found = self.comparison.compare(pair.endpoint, pair.primary, answer, method=pair.method)
        return any(not difference.ignored for difference in found)

    def _ask(
        self, pair: Pair, exchange: MirroredExchange, call: ShadowCall, control: ShadowCall | None
    ) -> str:
        """Ask all sides of *pair* once more; why not, when they cannot be."""
        same_version, copy = exchange.same_version, exchange.copy
        if same_version is None or copy is None:
            return "unknown"
        sides = [(same_version, CONTROL_MARK), (call.target, SHADOW_MARK)]
        if control is not None:
            sides.append((control.target, CONTROL_MARK))
        books = [self._books(target) for target, _ in sides]
        confirmation = Confirmation(self._mirror, exchange, pair)
        reason = self._bar(books)
        if not reason:
            try:
                confirmation.again = self._calls(confirmation, sides, books, copy, exchange.body())
            except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
                self._mirror.broke()
                reason = "error"
        size = held_bytes(pair) + sum(len(call.wire) for call in confirmation.again)
        if not reason and self._mirror.held + size > self._mirror.budget:
            reason = "budget"
        for book in books:
            book.eligible += 1
            if reason:
                book.count("dropped", reason)
        if not reason:
            confirmation.hold(size)
            self._send(confirmation)
        return reason

    def _send(self, confirmation: Confirmation) -> None:
        for call in confirmation.again:
            call.target.sent += 1
            call.target.in_flight += 1
            if call.target.first is not None:
                call.target.first.lent += 1
        confirmation.expect(len(confirmation.again))
        for call in confirmation.again:
            self._mirror.start(call)

    def _calls(
        self,
        confirmation: Confirmation,
        sides: list[tuple[Target, bytes]],
        books: list[Target],
        copy: Copy,
        body: bytes,
    ) -> list[ShadowCall]:
        copy.body = body
        now = self._now()
        return [
            ShadowCall(confirmation, book, target.wire(copy, mark), self._mirror.cap, self._now, now)
            for (target, mark), book in zip(sides, books, strict=True)
        ]

    def _bar(self, books: list[Target]) -> str:
        """Why nothing may be asked again now; empty when it may."""
        if self._mirror.barred:
            return self._mirror.barred
        now = self._now()
        for book in books:
            first = book.first
            if first is None or first.is_retired:
                return "retired"
            if first.in_flight + first.lent + books.count(book) > first.in_flight_limit:
                return "in_flight"
            reason = first.refuses(now) or book.refuses(now)
            if reason:
                return reason
        return ""

    def _books(self, target: Target) -> Target:
        """The books of second answers that *target* is asked for."""
        if target.second is None:
            target.second = Target(
                service=target.service,
                role="confirm",
                pool=target.pool,
                in_flight_limit=target.in_flight_limit,
                first=target,
            )
            self.targets.append(target.second)
        return target.second


def is_long(answer: Answer) -> bool:
    """Whether a worker has no time to look into *answer*: a few coded bytes may be 8 MiB."""
    kind = content_type(answer.header(b"content-type"))
    most = JSON_BYTES if kind.reading == JSON else OTHER_BYTES
    return len(answer.body) > most or bool(codings_of(answer))


def held_bytes(pair: Pair) -> int:
    """The bodies that wait for their confirmation."""
    size = len(pair.primary.body) + len(pair.shadow.body)
    return size if pair.control is None else size + len(pair.control.body)
