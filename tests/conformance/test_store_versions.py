"""Versions of a store that were given, were forgotten, or were the newest once, in every back end alike."""

import pytest
from store_world import clock, make, store

from understudy.errors import VersionConflict
from understudy.store import Store

__all__ = ["clock", "make", "store"]  # fixtures


async def put(store: Store, expected: int | None, after: int) -> int:
    stored = await store.put_rules({}, expected=expected, author="a", reason="", at=1.0, after=after)
    return stored.version


async def test_versions_that_were_given_are_not_given_again(store: Store) -> None:
    """By whoever knows of them; the store itself goes on from there, and the gap is no trouble."""
    assert [await put(store, 0, 0), await put(store, 7, 7), await put(store, 8, 3)] == [1, 8, 9]
    assert await put(store, None, 0) == 10
    assert [rules.version for rules in await store.history()] == [10, 9, 8, 1]
    assert (await store.version(), await store.past(5)) == (10, None)
    assert [entry.deed.before for entry in await store.audit()] == [0, 7, 8, 9]


async def test_who_expects_an_older_one_is_told_the_highest(store: Store) -> None:
    """Of those that were given, here or elsewhere."""
    await put(store, 0, 0)
    with pytest.raises(VersionConflict) as found:
        await put(store, 1, 7)
    assert (found.value.expected, found.value.actual) == (1, 7)
    assert await store.version() == 1


async def test_the_rules_of_a_time_are_found(store: Store) -> None:
    """By the clocks of those who stored them; of two that disagree, the higher version counts."""
    for at in (10.0, 30.0, 20.0, 40.0):
        await store.put_rules({"at": at}, expected=None, author="a", reason="", at=at)
    found = [await store.rules_at(at) for at in (9.9, 10.0, 25.0, 35.0, 40.0, 1e12)]
    assert [rules and rules.version for rules in found] == [None, 1, 3, 3, 4, 4]
    assert found[-1] == await store.rules()
