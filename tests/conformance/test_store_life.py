"""How a store begins and ends, and the secrets that outlive it, alike in every back end."""

from pathlib import Path

import pytest
from store_world import Make, clock, make, put, store

from understudy.errors import StoreError
from understudy.store import Store
from understudy.store.sqlite import SqliteStore

__all__ = ["clock", "make", "store"]  # fixtures


async def test_a_new_store_holds_nothing(store: Store) -> None:
    """There is no version 0: an empty store answers None and empty collections."""
    assert await store.rules() is None
    assert await store.history() == []
    assert await store.evidence() == {}
    assert await store.samples() == []


async def test_a_store_must_be_open(make: Make) -> None:
    """Before `open` and after `close` every operation says so; both may be repeated."""
    store = make()
    with pytest.raises(StoreError, match="not open"):
        await store.rules()

    await store.open()
    await store.open()
    await put(store, {"a": 1})
    await store.close()
    await store.close()

    with pytest.raises(StoreError, match="not open"):
        await put(store, {"a": 2})
    with pytest.raises(StoreError, match="not open"):
        await store.evidence()


async def test_a_store_opens_again(make: Make) -> None:
    """One object, closed and opened, holds what it held."""
    store = make()
    await store.open()
    await put(store, {"a": 1})
    await store.close()

    await store.open()
    newest = await store.rules()
    await store.close()

    assert newest is not None
    assert newest.document == {"a": 1}


async def test_a_secret_is_made_once(store: Store, make: Make) -> None:
    """32 bytes that nobody chose; the same at every later call, and each name has its own."""
    first = await store.secret("units")

    assert len(first) == 32
    assert await store.secret("units") == first
    assert await store.secret("others") != first
    await store.clear_evidence()
    assert await store.secret("units") == first


async def test_a_secret_survives_a_restart(tmp_path: Path) -> None:
    """Else nobody would find a unit's samples again."""
    made = []
    for _ in range(2):
        store = SqliteStore(tmp_path / "understudy.db")
        await store.open()
        made.append(await store.secret("units"))
        await store.close()
    assert made[0] == made[1]
