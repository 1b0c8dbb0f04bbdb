"""Where the evidence stands: what every back end must say alike."""

import pytest
from store_world import clock, make, store

from understudy.access import Deed
from understudy.store import Key, Mark, Store

COUNTS: dict[Key, int] = {("exchange", "v2", "GET /", "exchanges"): 1}
DEED = Deed(at=1.0, who="ann", origin="", action="evidence.clear")


__all__ = ["clock", "make", "store"]  # fixtures


async def add(store: Store, source: str, sequence: int) -> bool:
    return await store.add_evidence(source=source, sequence=sequence, counts=COUNTS, samples=())


async def test_an_empty_store_stands_at_nothing(store: Store) -> None:
    """Asking changes nothing."""
    assert [await store.evidence_mark(), await store.evidence_mark()] == [Mark(0, 0)] * 2


async def test_each_batch_moves_it_by_one(store: Store) -> None:
    """Of whatever source, and old ones too; one that had come before does not."""
    for number, (source, sequence) in enumerate([("a", 1), ("b", 9), ("a", 2), ("c", 1)], start=1):
        assert await add(store, source, sequence)
        assert await store.evidence_mark() == Mark(0, number)
    assert not await add(store, "a", 2)
    assert await store.evidence_mark() == Mark(0, 4)


@pytest.mark.parametrize("deed", [None, DEED])
async def test_each_clear_gives_it_another_number(store: Store, deed: Deed | None) -> None:
    """Also of what is empty already, so that everybody sees it; batches go on counting from somewhere."""
    await add(store, "a", 1)
    seen = {(await store.evidence_mark()).clearing}
    for _ in range(3):
        await store.clear_evidence(deed=deed)
        seen.add((await store.evidence_mark()).clearing)
    assert len(seen) == 4
    before = await store.evidence_mark()
    await add(store, "a", 2)
    assert await store.evidence_mark() == before._replace(batches=before.batches + 1)
    assert await store.evidence() == COUNTS
