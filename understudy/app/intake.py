"""Evidence on its way in: unequal pairs are compared, counts stored, batches acknowledged. Exactly once."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from understudy.access import Deed
from understudy.app.evidence import SharedEvidence
from understudy.app.patience import Patience
from understudy.app.trouble import Trouble
from understudy.comparators import Ledger, noise_at
from understudy.errors import StoreError
from understudy.link import Batch
from understudy.messages import Pair
from understudy.shadow import Assessment, Assessor, unit_digest
from understudy.store import Sample, Store

log = logging.getLogger("understudy.control")

STORE_RETRY_SECONDS: Final = 1.0
MOST_BATCHES: Final = 1024
"""A worker has one batch under way at a time, so there are never more than workers and their ghosts."""

JUDGED_SECONDS: Final = 2.0
"""How often what is noise is judged anew, while pairs come in."""

JUDGED_AT_ONCE: Final = 1000
"""About so many places each time, in turns: a hundredth of a second, however many there are."""

LOOK_SECONDS: Final = 2.0
"""How soon a report shows what another host has stored."""

LOOK_SHARE: Final = 20.0
"""Reading a hundred thousand counts takes a second: then it is done less often, a twentieth of the time."""

SLICE_SECONDS: Final = 0.001
"""How long comparing may hold the control process before somebody else's turn; one pair may take longer."""

PAUSES_SECONDS: Final = 5.0
"""Between the long comparisons of one batch, in all: its counts wait for them. What then is left of it is
``not_compared``; what comes meanwhile, the mirror passes over by chance."""

COMPARED_AT_THE_END: Final = 0.5
"""Of the time in which everything has to be taken, comparing gets this share: the counts must be stored."""

DRAWN_SECONDS: Final = 3600.0
"""How long a draw stands against later ones; samples grow too old for the store in days."""

UNIT_KEY: Final = "units"
"""The secret of the store that names units.

It lies beside the samples, because a unit is to be forgotten after any number of restarts; so whoever has
the store can try out whose samples it holds. What is redacted cannot be tried out: that key is another one,
made at each start and stored nowhere.
"""

Key = tuple[str, ...]


class Intake:
    """Takes what workers send, and keeps ``shared``, the evidence of all hosts, up to date.

    *time_share*: how much of the process's time comparing may take while pairs wait; *long_share*: how much
    of it by pairs that hold the loop for long (see `Patience`). *renewed* is called when others have added
    evidence, or cleared it.
    """

    def __init__(
        self,
        store: Store,
        assessor: Assessor,
        *,
        trouble: Trouble,
        acknowledge: Callable[[str, int], None],
        control_share: float,
        time_share: float = 1.0,
        long_share: float = 1.0,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self._rests = 1 / time_share - 1
        self._patience = Patience(long_share)
        self._finishing = asyncio.Event()
        self._compare_until = math.inf
        self._judged_at_once = round(JUDGED_AT_ONCE * time_share)
        self.shared = SharedEvidence(store)
        self.comparisons: Counter[tuple[str, str, str]] = Counter()
        """Pairs by (flag, service, result), for the metrics."""
        self.differences: Counter[tuple[str, str]] = Counter()
        """Differences by (endpoint, kind), for the metrics."""
        self._store = store
        self._assessor = assessor
        self._trouble = trouble
        self._acknowledge = acknowledge
        self._renewed = renewed
        self._histories = 0
        self._look_at = 0.0
        self.control_share = control_share
        self._judged_at = 0.0
        self._unjudged: list[tuple[str, str]] = []
        self._noise: set[Key] = set()
        assessor.noise = self._noise
        self._drawn_at = time.monotonic()
        self._batches: asyncio.Queue[tuple[str, Batch]] = asyncio.Queue(maxsize=MOST_BATCHES)

    @property
    def evidence(self) -> Ledger:
        """The sum of all that the store has."""
        return self.shared.counts

    def offer(self, source: str, batch: Batch) -> None:
        """Queue a batch of *source*. Never waits; one that finds no room is sent again by its worker."""
        try:
            self._batches.put_nowait((source, batch))
        except asyncio.QueueFull:
            log.warning("too many batches wait; the worker will send this one again when it reconnects")

    async def load(self) -> None:
        """Start from what the store has. Raises `StoreError`."""
        await self.shared.look()
        self._unjudged.clear()

    async def clear(self, *, deed: Deed | None = None) -> None:
        """Forget all evidence. Raises `StoreError`."""
        await self.shared.clear(deed=deed)
        self._unjudged.clear()
        self._noise.clear()
        self._assessor.draws.forget()

    def second_answers(self) -> dict[str, Any]:
        """What came of asking again (`shadow.confirm`): how many exchanges were, how many could not be, and
        what became of the requests, by outcome."""
        told: dict[str, Any] = {"asked_again": 0, "unconfirmed": 0, "requests": {}}
        for key, n in self.evidence.items():
            if key[0] == "exchange" and key[3] in ("asked_again", "unconfirmed"):
                told[key[3]] += n
            elif key[0] == "confirm":
                outcome = f"{key[2]}_{key[3]}" if key[3] else key[2]
                told["requests"][outcome] = told["requests"].get(outcome, 0) + n
        return told

    async def put(
        self, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """Add a batch that somebody else has compared; False when it was added before.

        Raises `StoreError`, and ValueError for what can never be added.
        """
        with self._trouble.watched(is_write=True):
            is_added = await self.shared.add(source=source, sequence=sequence, counts=counts, samples=samples)
        if is_added:
            self._acknowledge(source, sequence)
        return is_added

    async def units_key(self) -> bytes:
        """What units are named with in samples. Raises `StoreError`."""
        with self._trouble.watched():
            return await self._store.secret(UNIT_KEY)

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """Forget the samples of *unit* (its text), or all; how many there were. Raises `StoreError`."""
        digest = None if unit is None else unit_digest(await self._store.secret(UNIT_KEY), unit)
        forgotten = await self._store.forget_samples(unit=digest, deed=deed)
        self._assessor.draws.forget()
        return forgotten

    async def run(self) -> None:
        """Take batches, and look at what others have stored, for ever.

        A batch that the store cannot take now is tried until it can.
        """
        while True:
            if (found := await self._next()) is None:
                await self._look()
                continue
            source, batch = found
            try:
                await self._take(source, batch)
                self._acknowledge(source, batch.sequence)
            finally:
                self._batches.task_done()

    async def _next(self) -> tuple[str, Batch] | None:
        """The next batch; None when it is time to look, also if batches come without end."""
        if asyncio.get_running_loop().time() >= self._look_at:
            return None
        try:
            async with asyncio.timeout_at(self._look_at):
                return await self._batches.get()
        except TimeoutError:
            return None

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            if await self.shared.look():
                self._unjudged.clear()
                self._renewed()
        except StoreError as error:
            self._trouble.met(error)
        self._look_at = clock() + max(LOOK_SECONDS, LOOK_SHARE * (clock() - began))

    async def finish(self, seconds: float) -> None:
        """Wait, at most *seconds*, until everything offered is taken: nobody else's turn is waited for.

        Pairs for which there is no time are ``not_compared``; the counts are stored.
        """
        self._compare_until = time.monotonic() + COMPARED_AT_THE_END * seconds
        self._finishing.set()
        try:
            async with asyncio.timeout(seconds):
                await self._batches.join()
        except TimeoutError:
            log.warning("evidence is left that the store could not take in time")

    async def _take(self, source: str, batch: Batch) -> None:
        self._refresh_noise()
        if batch.pairs:
            await self._know_store()
        began = time.monotonic()
        assessed: list[tuple[Pair, Assessment | None]] = []
        pauses_left = PAUSES_SECONDS
        for pair in batch.pairs:
            if pauses_left <= 0.0 or time.monotonic() > self._compare_until:
                assessed.append((pair, None))
                continue
            used = time.thread_time()
            is_hurried = self._patience.is_spent(time.monotonic()) and not self._finishing.is_set()
            assessment = self._assess(pair, is_hurried=is_hurried)
            assessed.append((pair, assessment))
            pause = self._patience.pause_seconds(time.thread_time() - used, time.monotonic())
            if not is_hurried and assessment is not None and assessment.found:
                pause = 0.0  # those that follow hurry, so that samples wait and counts do not
            if pause and not self._finishing.is_set():
                await self._pause(min(pause, pauses_left))
                pauses_left -= pause
                began = time.monotonic()
                continue
            took = time.monotonic() - began
            if took >= SLICE_SECONDS:
                await asyncio.sleep(took * self._rests)  # others have their turn between two comparisons
                began = time.monotonic()
        counts = Counter(batch.counts)
        for pair, assessment in assessed:
            if assessment is None:
                counts["exchange", pair.service, pair.endpoint, "not_compared"] += 1
            else:
                counts.update(assessment.counts)
        samples = [sample for _, assessment in assessed if assessment for sample in samples_of(assessment)]
        if await self._add(source, batch.sequence, counts, samples):
            for pair, assessment in assessed:
                self._count(pair, assessment)
        else:
            self._assessor.draws.forget()  # what this batch drew stands nowhere

    async def _pause(self, seconds: float) -> None:
        """Let others have the loop to themselves; not at the end, when there are none."""
        try:
            async with asyncio.timeout(seconds):
                await self._finishing.wait()
        except TimeoutError:
            pass

    async def _know_store(self) -> None:
        """Name units as the store does, and draw for the samples that it has: it may have begun anew."""
        histories = self._store.condition().histories
        if not self._assessor.unit_key or histories != self._histories:
            self._assessor.unit_key, self._histories = await self._unit_key(), histories
            self._assessor.draws.forget()

    async def _unit_key(self) -> bytes:
        """What units are named with in samples: the store's own, so that they are found after a restart."""
        while True:
            try:
                return await self._store.secret(UNIT_KEY)
            except StoreError as error:
                self._trouble.met(error)
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def _add(self, source: str, sequence: int, counts: Counter[Key], samples: list[Sample]) -> bool:
        """Store one batch; False when nothing is to be added to what is known here."""
        while True:
            try:
                is_new = await self.shared.add(
                    source=source, sequence=sequence, counts=counts, samples=samples
                )
                if not self.shared.is_current:
                    # It was stored before: by the process before this one, or by an attempt that failed late.
                    await self.load()
            except StoreError as error:
                self._trouble.met(error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
            except (ValueError, TypeError) as error:
                log.error("a batch of evidence is dropped, because no store can take it: %s", error)
                return False
            else:
                self._trouble.mended()
                return is_new

    def _assess(self, pair: Pair, *, is_hurried: bool) -> Assessment | None:
        try:
            return self._assessor.assess(pair, is_hurried=is_hurried)
        except Exception:
            # One pair is isolated from the others: else a worker would send it for ever.
            log.exception("a pair of %s could not be compared", pair.endpoint)
            return None

    def _count(self, pair: Pair, assessment: Assessment | None) -> None:
        result = "skipped" if assessment is None else assessment.result
        self.comparisons[pair.flag, pair.service, result] += 1
        for kind in assessment.kinds if assessment else ():
            self.differences[pair.endpoint, kind] += 1

    def _refresh_noise(self) -> None:
        now = time.monotonic()
        if now - self._drawn_at > DRAWN_SECONDS:
            self._drawn_at = now
            self._assessor.draws.forget()
        if now - self._judged_at < JUDGED_SECONDS:
            return
        self._judged_at = now
        try:
            self._judge_some()
        except Exception:
            # Only a label of metrics hangs on it.
            log.exception("what is noise could not be judged")

    def _judge_some(self) -> None:
        """Judge the endpoints whose turn it is; when all have had theirs, start again."""
        if not self._unjudged:
            self._unjudged = self.evidence.endpoints()
        judged = 0
        while self._unjudged and judged < self._judged_at_once:
            places = noise_at(self.evidence, self._unjudged.pop(), self.control_share)
            self._noise.difference_update(places)
            self._noise.update(place for place, is_noise in places.items() if is_noise)
            judged += len(places) + 1


def samples_of(assessment: Assessment) -> list[Sample]:
    """What was found and drew a place."""
    return [
        Sample(
            service=found.service,
            endpoint=found.endpoint,
            path=found.path,
            kind=found.kind,
            priority=found.priority,
            at=found.at,
            body=found.body,
            name=found.name,
            unit=found.unit,
            whole=found.whole,
        )
        for found in assessment.found
    ]
