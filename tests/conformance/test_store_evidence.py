"""Counts and their batches, as every back end must keep them alike."""

import asyncio
import random
from typing import Any

import pytest
from store_world import Make, add, clock, make, priorities, sample, store

from understudy.store import Bounds, Key, Store

__all__ = ["clock", "make", "store"]  # fixtures


async def test_counts_add_up_over_sources(store: Store) -> None:
    """Addition is all there is: two workers' counts of one key are summed, zeros leave no key."""
    one: dict[Key, int] = {
        ("exchange", "shop-v2", "GET /a", "exchanges"): 3,
        ("mirror", "shop-v2", "sent", ""): 1,
    }
    two: dict[Key, int] = {
        ("exchange", "shop-v2", "GET /a", "exchanges"): 4,
        ("mirror", "shop-v2", "sent", ""): 0,
    }

    await store.add_evidence(source="worker-1", sequence=1, counts=one, samples=[])
    await store.add_evidence(source="worker-2", sequence=1, counts=two, samples=[])
    await store.add_evidence(source="worker-2", sequence=2, counts={("new",): 0}, samples=[])

    assert await store.evidence() == {
        ("exchange", "shop-v2", "GET /a", "exchanges"): 7,
        ("mirror", "shop-v2", "sent", ""): 1,
    }


async def test_a_batch_is_added_once(store: Store) -> None:
    """A batch that was sent again, or comes late, adds neither counts nor samples."""
    assert await add(store, 5, sample(0.5)) is True
    assert await add(store, 5, sample(0.4)) is False
    assert await add(store, 4, sample(0.3)) is False
    assert await add(store, 6, sample(0.2)) is True
    assert await add(store, 5, sample(0.1), source="worker-2") is True

    assert await store.evidence() == {("exchange", "shop-v2"): 3}
    assert await priorities(store) == [0.1, 0.2, 0.5]


async def test_sequences_may_start_at_zero(store: Store) -> None:
    """Zero is a sequence like any other."""
    assert await add(store, 0) is True
    assert await add(store, 0) is False


async def test_concurrent_batches_lose_nothing(store: Store) -> None:
    """Twenty workers at once, each sending its batch twice: twenty additions."""
    added = await asyncio.gather(*(add(store, 1, source=f"worker-{number % 20}") for number in range(40)))

    assert sum(added) == 20
    assert await store.evidence() == {("exchange", "shop-v2"): 20}


async def test_any_text_may_stand_in_a_key(store: Store) -> None:
    """Paths come from answers nobody chose: separators, quotes, NUL, surrogates stay apart."""
    counts = {
        ("a,b",): 1,
        ("a", "b"): 2,
        ('"', "'"): 3,
        ("\0", "\ud800", "é"): 4,
        ("",): 5,
        ("[", "]"): 6,
        ("x" * 10_000,): 2**40,
        (random.Random(3).randbytes(10_000).hex(),): 7,
    }

    await store.add_evidence(source="worker\0\ud800", sequence=1, counts=counts, samples=[])

    assert await store.evidence() == counts


@pytest.mark.parametrize("sequence", [-1, 2**63, True, 1.0])
async def test_a_wrong_sequence_is_refused(store: Store, sequence: Any) -> None:
    """A sequence is a natural number of 63 bits."""
    with pytest.raises(ValueError, match="sequence"):
        await add(store, sequence)


async def test_sources_are_bounded(make: Make) -> None:
    """Of many worker starts the last ones are remembered, those that speak on among them."""
    store = make(bounds=Bounds(sources=2))
    await store.open()
    await add(store, 1, source="old")
    await add(store, 1, source="steady")
    await add(store, 2, source="old")
    await add(store, 1, source="new")

    assert await add(store, 2, source="old") is False
    assert await add(store, 1, source="new") is False
    assert await add(store, 1, source="steady") is True
    await store.close()


@pytest.mark.parametrize(
    "counts",
    [
        {("a",): 1, ("b",): -1},
        {("a",): 1.0},
        {("a",): True},
        {("a",): 2**63},
        {(): 1},
        {("a", 1): 1},
    ],
)
async def test_a_wrong_count_refuses_the_whole_batch(store: Store, counts: Any) -> None:
    """Nothing of the batch is added, and the same sequence may come again, mended."""
    with pytest.raises(ValueError, match="evidence"):
        await store.add_evidence(source="worker-1", sequence=1, counts=counts, samples=[sample(0.1)])

    assert await store.evidence() == {}
    assert await store.samples() == []
    assert await add(store, 1) is True
