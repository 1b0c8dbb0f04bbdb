"""What a worker has to say and has not said yet: bounded, and full means drop and count."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from understudy.link.batch import Batch
from understudy.messages import Answer, Headers, Pair

MOST_PAIRS: Final = 2048
MOST_BYTES: Final = 32 * 1024 * 1024
BATCH_PAIRS: Final = 96
"""A third of a millisecond to say: while it is said, no client is served."""
BATCH_BYTES: Final = 8 * 1024 * 1024


class Outbox:
    """One batch is under way at a time; it is offered again until `acknowledge` names it."""

    def __init__(self, drain: Callable[[], Mapping[tuple[str, ...], int]] | None = None) -> None:
        self.drain = drain
        self._pairs: deque[tuple[int, Pair]] = deque()
        self._bytes = 0
        self._sequence = 0
        self._under_way: Batch | None = None

    def __len__(self) -> int:
        return len(self._pairs)

    def fullness(self) -> float:
        """What share of the room is taken, by number or by bytes, whichever is more."""
        return max(len(self._pairs) / MOST_PAIRS, self._bytes / MOST_BYTES)

    @property
    def under_way(self) -> Batch | None:
        """The batch that is sent and not acknowledged."""
        return self._under_way

    def offer(self, pair: Pair) -> bool:
        """Queue *pair*; False when there is no room."""
        size = pair_bytes(pair)
        if len(self._pairs) >= MOST_PAIRS or self._bytes + size > MOST_BYTES:
            return False
        self._pairs.append((size, pair))
        self._bytes += size
        return True

    def next_batch(self) -> Batch | None:
        """The next batch to send; None while one is under way or when there is nothing to say."""
        if self._under_way is not None:
            return None
        counts = self.drain() if self.drain is not None else {}
        pairs = self._take()
        if not counts and not pairs:
            return None
        self._sequence += 1
        self._under_way = Batch(sequence=self._sequence, counts=counts, pairs=pairs)
        return self._under_way

    def strip(self) -> Batch | None:
        """The batch under way without its pairs, which are counted as not compared: it could not be said."""
        batch = self._under_way
        if batch is None:
            return None
        counts = Counter(batch.counts)
        for pair in batch.pairs:
            counts["exchange", pair.service, pair.endpoint, "not_compared"] += 1
        self._under_way = Batch(sequence=batch.sequence, counts=counts, pairs=[])
        return self._under_way

    def acknowledge(self, sequence: int) -> bool:
        """The store has it; False when *sequence* is not the batch under way."""
        if self._under_way is None or self._under_way.sequence != sequence:
            return False
        self._under_way = None
        return True

    def _take(self) -> list[Pair]:
        taken: list[Pair] = []
        total = 0
        while self._pairs and len(taken) < BATCH_PAIRS and total < BATCH_BYTES:
            size, pair = self._pairs.popleft()
            taken.append(pair)
            total += size
        self._bytes -= total
        return taken


def pair_bytes(pair: Pair) -> int:
    """Roughly what *pair* holds in memory: bodies and fields, plus a flat kilobyte for the rest."""
    size = 1024 + len(pair.path) + len(pair.query) + len(pair.asked.lines) + len(pair.asked.body)
    size += answer_bytes(pair.primary) + answer_bytes(pair.shadow)
    if pair.control is not None:
        size += answer_bytes(pair.control)
    if pair.again is not None:
        size += sum(answer_bytes(answer) for answer in pair.again if answer is not None)
    return size


def answer_bytes(answer: Answer) -> int:
    """The bytes of an answer's body and fields."""
    return len(answer.body) + fields_bytes(answer.headers)


def fields_bytes(headers: Headers) -> int:
    """The bytes of the names and values of fields."""
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
    return size
