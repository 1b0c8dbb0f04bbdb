"""Evidence on its way in: exactly once, one bad pair apart from the others, the store tried until it can."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from understudy.app import intake as intake_module
from understudy.app.intake import Intake
from understudy.app.trouble import Trouble
from understudy.comparators import Comparison
from understudy.errors import StoreError
from understudy.link import Batch
from understudy.messages import Again, Answer, Asked, Pair
from understudy.shadow import Assessor, Draws, Redaction
from understudy.store import MemoryStore, Sample
from understudy.store.condition import Condition

MATCHED = ("exchange", "v2", "GET /", "matched")
EXCHANGES = ("exchange", "v2", "GET /", "exchanges")


class MoodyStore(MemoryStore):
    """A store that fails before or after it has stored, as often as told."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_before = 0
        self.fails_after = 0
        self.tries = 0

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[tuple[str, ...], int], samples: Sequence[Sample]
    ) -> bool:
        self.tries += 1
        if self.fails_before:
            self.fails_before -= 1
            raise StoreError("store: locked")
        added = await super().add_evidence(source=source, sequence=sequence, counts=counts, samples=samples)
        if self.fails_after:
            self.fails_after -= 1
            raise StoreError("store: did not answer in time")
        return added


class Desk:
    """An intake with what it tells others."""

    def __init__(self, store: MoodyStore) -> None:
        self.store = store
        self.trouble = Trouble()
        self.acknowledged: list[tuple[str, int]] = []
        self.renewals = 0
        self.assessor = Assessor(
            Comparison(), Redaction(key=b"k" * 32), Draws(chance=random.random, places=5)
        )
        self.intake = Intake(
            store,
            self.assessor,
            trouble=self.trouble,
            acknowledge=lambda source, sequence: self.acknowledged.append((source, sequence)),
            renewed=self.renew,
            control_share=0.1,
        )

    def renew(self) -> None:
        self.renewals += 1

    async def take(self, *batches: Batch, source: str = "0-1-a") -> None:
        for batch in batches:
            self.intake.offer(source, batch)
        await self.intake.finish(60.0)


@asynccontextmanager
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A running intake over an open store, which it tries again at once."""
    monkeypatch.setattr(intake_module, "STORE_RETRY_SECONDS", 0.0)
    store = MoodyStore()
    await store.open()
    made = Desk(store)
    made.trouble.opened()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.intake.run())
        yield made
        running.cancel()


def answer(body: bytes) -> Answer:
    return Answer(
        status=200, headers=[(b"Content-Type", b"application/json")], body=body, length_bytes=len(body)
    )


def pair(shadow: bytes = b'{"a":2}', *, control: bytes | None = None) -> Pair:
    return Pair(
        service="v2",
        endpoint="GET /",
        flag="shop",
        method="GET",
        path="/",
        query="",
        at=1_800_000_000.0,
        primary=answer(b'{"a":1}'),
        shadow=answer(shadow),
        control=None if control is None else answer(control),
    )


def batch(sequence: int, *pairs: Pair, matched: int = 0) -> Batch:
    counts: dict[tuple[str, ...], int] = {MATCHED: matched, EXCHANGES: matched} if matched else {}
    return Batch(sequence=sequence, counts=counts, pairs=list(pairs))


async def test_counts_and_pairs_become_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker counted plus what comparing gave; stored, known here, acknowledged."""
    async with desk(monkeypatch) as made:
        await made.take(batch(1, pair(), pair(control=b'{"a":1}'), matched=3))
        evidence = made.intake.evidence
        assert evidence == await made.store.evidence()
        assert (evidence[EXCHANGES], evidence[MATCHED]) == (5, 3)
        assert evidence["difference", "v2", "GET /", "/body/a", "value", "differing"] == 2
        assert made.acknowledged == [("0-1-a", 1)]
        assert made.intake.comparisons == {("shop", "v2", "mismatch"): 2}
        assert made.intake.differences == {("GET /", "value"): 2}


async def test_a_batch_that_comes_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence and metrics alike; the second is acknowledged too, so that the worker goes on."""
    async with desk(monkeypatch) as made:
        await made.take(batch(1, pair(), matched=2), batch(1, pair(), matched=2), batch(2, matched=1))
        assert made.intake.evidence[EXCHANGES] == 4
        assert made.intake.comparisons["shop", "v2", "mismatch"] == 1
        assert [sequence for _, sequence in made.acknowledged] == [1, 1, 2]


async def test_sources_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's successor numbers from one again."""
    async with desk(monkeypatch) as made:
        await made.take(batch(1, matched=2))
        await made.take(batch(1, matched=2), source="0-2-b")
        assert made.intake.evidence[MATCHED] == 4


async def test_a_store_that_is_locked_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, nothing counted twice, and the trouble is told while it lasts."""
    async with desk(monkeypatch) as made:
        made.store.fails_before = 3
        made.intake.offer("0-1-a", batch(1, pair(), matched=2))
        while made.store.tries < 2:
            await asyncio.sleep(0)
        assert made.trouble.text == "store: locked"
        assert made.acknowledged == []
        await made.intake.finish(60.0)
        assert made.trouble.text == ""
        assert made.intake.evidence[EXCHANGES] == 3
        assert await made.store.evidence() == made.intake.evidence


async def test_a_store_that_stored_and_then_failed_is_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer was lost, not the batch: what is known here follows what is stored."""
    async with desk(monkeypatch) as made:
        made.store.fails_after = 1
        await made.take(batch(1, pair(), matched=2), batch(2, matched=1))
        assert made.intake.evidence[EXCHANGES] == 4
        assert await made.store.evidence() == made.intake.evidence
        assert [sequence for _, sequence in made.acknowledged] == [1, 2]


async def test_a_pair_that_cannot_be_compared_is_counted_and_harms_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not compared, skipped, and the process lives: else its worker would send it for ever."""
    assess = Assessor.assess

    def moody(self: Assessor, given: Pair, *, is_hurried: bool) -> object:
        if given.shadow.body == b"poison":
            raise RecursionError("injected")
        return assess(self, given, is_hurried=is_hurried)

    async with desk(monkeypatch) as made:
        monkeypatch.setattr(Assessor, "assess", moody)
        await made.take(batch(1, pair(), pair(b"poison"), pair()))
        assert made.intake.evidence[EXCHANGES] == 2
        assert made.intake.evidence["exchange", "v2", "GET /", "not_compared"] == 1
        assert made.intake.comparisons == {("shop", "v2", "mismatch"): 2, ("shop", "v2", "skipped"): 1}
        assert made.acknowledged == [("0-1-a", 1)]


async def test_a_batch_that_no_store_can_take_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that are no counts: told in the log, acknowledged, so that those after it come through."""
    async with desk(monkeypatch) as made:
        await made.take(Batch(sequence=1, counts={MATCHED: -1}, pairs=[]), batch(2, matched=1))
        assert made.intake.evidence == {MATCHED: 1, EXCHANGES: 1}
        assert [sequence for _, sequence in made.acknowledged] == [1, 2]


async def test_noise_is_known_from_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that the control differs in as often is labelled noise in the metrics."""
    monkeypatch.setattr(intake_module, "JUDGED_SECONDS", 0.0)
    async with desk(monkeypatch) as made:
        for sequence in range(1, 41):
            await made.take(batch(sequence, pair(b'{"a":%d}' % (sequence + 1), control=b'{"a":0}')))
        results = made.intake.comparisons
        assert results["shop", "v2", "noise"] > 0
        assert results["shop", "v2", "noise"] + results["shop", "v2", "mismatch"] == 40


async def test_evidence_can_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and in the store; what was sent before does not come back."""
    async with desk(monkeypatch) as made:
        await made.take(batch(1, matched=5))
        await made.intake.clear()
        await made.take(batch(1, matched=5), batch(2, matched=1))
        assert made.intake.evidence[MATCHED] == 1
        assert (await made.store.evidence())[MATCHED] == 1


async def test_too_many_batches_are_refused_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded; nobody acknowledges what was not taken."""
    monkeypatch.setattr(intake_module, "MOST_BATCHES", 2)
    store = MoodyStore()
    await store.open()
    made = Desk(store)
    for sequence in range(5):
        made.intake.offer("0-1-a", batch(sequence + 1, matched=1))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.intake.run())
        await made.intake.finish(60.0)
        running.cancel()
    assert [sequence for _, sequence in made.acknowledged] == [1, 2]


async def test_finish_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that never takes it must not keep the process alive."""
    async with desk(monkeypatch) as made:
        made.store.fails_before = 10**9
        made.intake.offer("0-1-a", batch(1, matched=1))
        await made.intake.finish(0.05)
        assert made.acknowledged == []


async def test_second_answers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many exchanges were confirmed, how many could not be, and what became of the requests."""
    async with desk(monkeypatch) as made:
        confirmed = pair()._replace(again=Again(answer(b"1"), answer(b"2"), None))
        counts: dict[tuple[str, ...], int] = {
            ("confirm", "v1", "sent", ""): 2,
            ("confirm", "v2", "sent", ""): 3,
        }
        counts["confirm", "v2", "failed", "timeout"] = 1
        pairs = [confirmed, pair()._replace(unconfirmed="timeout"), pair()]
        await made.take(Batch(sequence=1, counts=counts, pairs=pairs))
        assert made.intake.second_answers() == {
            "asked_again": 1,
            "unconfirmed": 1,
            "requests": {"sent": 5, "failed_timeout": 1},
        }


async def test_samples_are_named_by_the_unit_and_forgotten_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text stands nowhere; who knows it finds the samples, and only those."""
    async with desk(monkeypatch) as made:
        asked = [
            Asked(unit=unit, unit_at="header:x-user", lines=b"A: b") for unit in ("alice-1", "bob-22", "")
        ]
        await made.take(batch(1, *(pair()._replace(asked=each) for each in asked)))
        kept = await made.store.samples()
        assert len({sample.unit for sample in kept}) == 3
        assert "alice" not in str(kept)
        assert await made.intake.forget_samples(unit="alice-1") == 1
        assert await made.intake.forget_samples(unit="alice-1") == 0
        assert await made.intake.forget_samples(unit=None) == 2


async def test_a_store_without_its_secret_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample is named with a key that would be lost."""
    async with desk(monkeypatch) as made:
        secret, fails = made.store.secret, [StoreError("store: locked")] * 2

        async def moody(name: str) -> bytes:
            if fails:
                raise fails.pop()
            return await secret(name)

        monkeypatch.setattr(made.store, "secret", moody)
        await made.take(batch(1, pair()._replace(asked=Asked(unit="alice"))))
        (kept,) = await made.store.samples()
        assert kept.unit
        assert made.trouble.text == ""


async def test_a_store_that_began_anew_names_units_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody would find there what is to be forgotten. It has no samples yet: what comes is drawn."""
    asked = pair()._replace(asked=Asked(unit="alice"))
    async with desk(monkeypatch) as made:
        for sequence in range(1, 20):
            await made.take(batch(sequence, asked))
        made.store._secrets.clear()
        assert await made.intake.forget_samples(unit="alice") == 0
        await made.store.clear_evidence()
        monkeypatch.setattr(made.store, "condition", lambda: Condition(histories=1))
        await made.take(batch(20, asked))
        assert await made.intake.forget_samples(unit="alice") == 1


def test_trouble_is_told_once_and_mended_by_a_write() -> None:
    """Reading proves nothing; before the store is open its reason stays."""
    trouble = Trouble()
    assert trouble.text
    with pytest.raises(StoreError), trouble.watched():
        raise StoreError("rules: not read yet")
    assert trouble.text == "the store is not opened yet"
    trouble.met(StoreError("no database"))
    trouble.mended()
    assert trouble.text == "no database"
    trouble.opened()
    assert trouble.text == ""
    with pytest.raises(StoreError), trouble.watched(is_write=True):
        raise StoreError("locked")
    with trouble.watched():
        pass
    assert trouble.text == "locked"
    with trouble.watched(is_write=True):
        pass
    assert trouble.text == ""


class Impatient:
    """Says to hurry, and to pause after every comparison."""

    def is_spent(self, _now: float) -> bool:
        return True

    def pause_seconds(self, _held: float, _now: float) -> float:
        return 0.02


async def test_long_comparisons_pause_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is not held for ever: what is left of it is counted as not compared."""
    monkeypatch.setattr(intake_module, "PAUSES_SECONDS", 0.03)
    async with desk(monkeypatch) as made:
        made.intake._patience = Impatient()  # type: ignore[assignment]
        counts: dict[tuple[str, ...], int] = {EXCHANGES: 5}
        made.intake.offer("0-1-a", Batch(sequence=1, counts=counts, pairs=[pair() for _ in range(5)]))
        async with asyncio.timeout(60):
            while not made.acknowledged:
                await asyncio.sleep(0.001)
        assert made.intake.evidence["exchange", "v2", "GET /", "not_compared"] == 3


class Spent:
    """Long holds are not paid for after the first."""

    def __init__(self) -> None:
        self.holds = 0

    def is_spent(self, _now: float) -> bool:
        return self.holds > 0

    def pause_seconds(self, _held: float, _now: float) -> float:
        self.holds += 1
        return 60.0 if self.holds == 1 else 0.0


async def test_samples_wait_and_counts_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where long holds are spent every pair is compared, and only what has no sample yet gets one."""
    async with desk(monkeypatch) as made:
        made.intake._patience = Spent()  # type: ignore[assignment]
        counts: dict[tuple[str, ...], int] = {EXCHANGES: 5}
        pairs = [*(pair() for _ in range(4)), pair(b'{"b": 1}')]
        made.intake.offer("0-1-a", Batch(sequence=1, counts=counts, pairs=pairs))
        async with asyncio.timeout(60):
            while not made.acknowledged:
                await asyncio.sleep(0.001)
        assert made.intake.evidence["difference", "v2", "GET /", "/body/a", "value", "differing"] == 4
        assert ("exchange", "v2", "GET /", "not_compared") not in made.intake.evidence
        samples = await made.store.samples()
        assert sorted((s.path, s.kind) for s in samples) == [
            ("/body/a", "missing"),
            ("/body/a", "value"),
            ("/body/b", "extra"),
        ]


async def test_at_the_end_nothing_is_paused_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair is compared: no request waits any more."""
    monkeypatch.setattr(intake_module, "PAUSES_SECONDS", 0.03)
    async with desk(monkeypatch) as made:
        made.intake._patience = Impatient()  # type: ignore[assignment]
        counts: dict[tuple[str, ...], int] = {EXCHANGES: 5}
        await made.take(Batch(sequence=1, counts=counts, pairs=[pair() for _ in range(5)]))
        assert made.intake.evidence["difference", "v2", "GET /", "/body/a", "value", "differing"] == 5


async def test_counts_are_stored_at_the_end_though_nothing_can_be_compared_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was sent has an outcome in the books, whatever there is no time for."""
    async with desk(monkeypatch) as made:
        counts: dict[tuple[str, ...], int] = {EXCHANGES: 5}
        made.intake.offer("0-1-a", Batch(sequence=1, counts=counts, pairs=[pair() for _ in range(5)]))
        await made.intake.finish(0.0)
        async with asyncio.timeout(60):
            while not made.acknowledged:
                await asyncio.sleep(0.001)
        assert made.intake.evidence[EXCHANGES] == 5
        assert made.intake.evidence["exchange", "v2", "GET /", "not_compared"] == 5
