"""Take what passes into a recording, while one is on: bounded copies of requests and of their answers."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from understudy.decide import Decision
from understudy.link import Reel
from understudy.messages import Answer, Taken
from understudy.shadow import keep

if TYPE_CHECKING:
    from understudy.proxy.exchange import Exchange

MOST_HELD_BYTES: Final = 16 * 1024 * 1024
"""Of all that one worker holds for a recording: a quarter of what copies may take."""

MOST_BODY_BYTES: Final = 1024 * 1024
"""A longer request body is left out, as no copy is made of it either."""

MOST_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer the beginning is kept: a replay asks for it anew."""

REEL_BYTES: Final = 4 * 1024 * 1024
FLAT_BYTES: Final = 2048


class Tape:
    """One recording, as a worker sees it; ``number`` names it. It ends by itself at *until*, should nobody
    be left to end it. *now* is monotonic seconds, *wall* Unix seconds, *chance* uniform in [0, 1)."""

    def __init__(
        self,
        wanted: Mapping[str, object],
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.number = int(str(wanted["number"]))
        self.held = 0
        self._share = float(str(wanted["share"]))
        self._prefix = str(wanted["path_prefix"])
        self._route = str(wanted["route"])
        self._until = now() + float(str(wanted["seconds"]))
        self._now = now
        self._wall = wall
        self._chance = chance
        self._passed = 0
        self._missed: Counter[str] = Counter()
        self._taken: deque[tuple[int, Taken]] = deque()

    def begin(self, exchange: "Exchange", decision: Decision, barred: str) -> "Take | None":
        """Take the request of *exchange*, if the recording asks for it; *barred* says why it may not be."""
        if not exchange.path.startswith(self._prefix) or (self._route and decision.route != self._route):
            return None
        if exchange.upgrade or self._now() > self._until or self._chance() >= self._share:
            return None
        self._passed += 1
        if barred:
            self._missed[barred] += 1
            return None
        return Take(self, exchange, decision, self._wall())

    def hold(self, size: int) -> bool:
        """Book *size* bytes; False, and nothing is booked, when there is no room."""
        if self.held + size > MOST_HELD_BYTES:
            return False
        self.held += size
        return True

    def keep(self, taken: Taken, held: int) -> None:
        """*taken* is whole, and *held* bytes are booked for it."""
        self._taken.append((held, taken))

    def miss(self, reason: str, held: int) -> None:
        """A request that was begun is not taken."""
        self.held -= held
        self._missed[reason] += 1

    def reel(self) -> Reel | None:
        """What to tell next; None when there is nothing."""
        if not (self._passed or self._missed or self._taken):
            return None
        taken: list[Taken] = []
        total = 0
        while self._taken and total < REEL_BYTES:
            held, one = self._taken.popleft()
            taken.append(one)
            total += held
        self.held -= total
        passed, self._passed = self._passed, 0
        missed, self._missed = self._missed, Counter()
        return Reel(number=self.number, passed=passed, missed=dict(missed), taken=taken)


class Take:
    """One request on its way into the recording; told the same as a rehearsal is."""

    def __init__(self, tape: Tape, exchange: "Exchange", decision: Decision, at: float) -> None:
        self._tape: Tape | None = tape
        self._exchange = exchange
        self._decision = decision
        self._at = at
        self._held = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer: list[bytes] = []
        self._answer_kept = 0
        self._answer_bytes = 0
        self._hold(FLAT_BYTES + sum(len(name) + len(value) for name, value in exchange.headers))

    def body(self, data: bytes) -> None:
        """A piece of the request's body."""
        self._body_bytes += len(data)
        if self._body_bytes > MOST_BODY_BYTES:
            self._body.clear()
        elif self._hold(len(data)):
            keep(self._body, data)

    def answer(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer."""
        self._status = status
        if self._hold(sum(len(name) + len(value) for name, value in headers)):
            self._headers = headers

    def data(self, data: bytes) -> None:
        """A piece of the answer's body."""
        self._answer_bytes += len(data)
        room = MOST_ANSWER_BYTES - self._answer_kept
        if room > 0:
            piece = data[:room]
            self._answer_kept += len(piece)
            if self._hold(len(piece)):
                keep(self._answer, piece)

    def complete(self, seconds: float) -> None:
        """The answer is whole."""
        if not self._exchange.is_whole:
            self.abort("request_incomplete")
            return
        if self._tape is not None:
            taken = self._as_taken(seconds)
            tape, self._tape = self._tape, None
            tape.keep(taken, self._held)

    def abort(self, reason: str) -> None:
        """Nothing whole will come of it."""
        tape, self._tape = self._tape, None
        if tape is not None:
            tape.miss(reason, self._held)

    def _hold(self, size: int) -> bool:
        if self._tape is None:
            return False
        if not self._tape.hold(size):
            self.abort("budget")
            return False
        self._held += size
        return True

    def _as_taken(self, seconds: float) -> Taken:
        exchange, decision = self._exchange, self._decision
        return Taken(
            method=exchange.method,
            host=exchange.host,
            path=exchange.path,
            query=exchange.query,
            at=self._at,
            seconds=seconds,
            unit=(decision.unit(exchange) or "") if decision.unit is not None else "",
            unit_at=decision.unit_at,
            headers=exchange.headers,
            body=b"".join(self._body),
            body_bytes=self._body_bytes,
            answer=Answer(
                status=self._status,
                headers=self._headers,
                body=b"".join(self._answer),
                length_bytes=self._answer_bytes,
            ),
        )
