"""Rules documents, as every back end must keep them alike."""

import asyncio
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from store_world import NOW, Make, clock, make, put, store

from understudy.errors import StoreError, VersionConflict
from understudy.store import MemoryStore, Store

__all__ = ["clock", "make", "store"]  # fixtures


async def test_versions_count_from_one(store: Store) -> None:
    """What is put is what is read: document, version, author, reason and time."""
    stored = await store.put_rules(
        {"flags": {"shop": {"b": 1, "a": 2.5}}}, expected=0, author="ann", reason="first", at=NOW
    )

    assert (stored.version, stored.author, stored.reason, stored.at) == (1, "ann", "first", NOW)
    assert await store.rules() == stored
    assert await put(store, {"flags": {}}, expected=1) == 2


async def test_a_document_keeps_the_order_of_its_keys(store: Store) -> None:
    """The order of variants is the author's; the checksum does not depend on it."""
    first = await store.put_rules({"b": 1, "a": 2}, expected=0, author="", reason="", at=NOW)
    second = await store.put_rules({"a": 2, "b": 1}, expected=1, author="", reason="", at=NOW)

    newest = await store.rules()

    assert newest is not None
    assert list(newest.document) == ["a", "b"]
    assert list(first.document) == ["b", "a"]
    assert first.sha256 == second.sha256


async def test_the_checksum_can_be_recomputed_by_anybody(store: Store) -> None:
    """It is SHA-256 over sorted, compact, ASCII JSON: `printf '{"a":1}' | sha256sum`."""
    stored = await store.put_rules({"a": 1}, expected=0, author="", reason="", at=NOW)

    assert stored.sha256 == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"text": "é \u4e2d \U0001f600 \0 \ud800", "long": "x" * 100_000},
        {"numbers": [0, -1, 2**70, 1.5, 1e300], "null": None, "truth": [True, False]},
        {"deep": {"er": [{"still": {"deeper": []}}]}},
    ],
)
async def test_any_json_comes_back_as_it_was(store: Store, document: dict[str, Any]) -> None:
    """No text, number or shape that JSON allows is changed or refused."""
    await put(store, document)

    newest = await store.rules()

    assert newest is not None
    assert newest.document == document


async def test_a_mapping_is_an_object(store: Store) -> None:
    """A read-only mapping and a tuple are stored as the object and the list they stand for."""
    stored = await store.put_rules(
        MappingProxyType({"inner": MappingProxyType({"a": (1, 2)})}),
        expected=None,
        author="",
        reason="",
        at=NOW,
    )

    assert stored.document == {"inner": {"a": [1, 2]}}


@pytest.mark.parametrize("document", [{"a": float("nan")}, {"a": {1, 2}}, {"a": b"bytes"}, [], "text"])
async def test_what_is_no_json_object_is_refused(store: Store, document: Any) -> None:
    """Nothing of it is stored."""
    with pytest.raises(StoreError, match="rules document"):
        await put(store, document)

    assert await store.rules() is None


async def test_a_document_too_deep_is_refused(store: Store) -> None:
    """A nesting beyond the stack is an error of the document, not a crash."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}

    with pytest.raises(StoreError, match="nested too deeply"):
        await put(store, deep)


async def test_what_is_read_is_a_copy(store: Store) -> None:
    """Neither the caller's document nor an answer is tied to what is stored."""
    document = {"flags": {"shop": "stable"}}
    await put(store, document)
    document["flags"]["shop"] = "changed"
    newest = await store.rules()
    assert newest is not None
    newest.document["flags"]["shop"] = "changed too"

    again = await store.rules()

    assert again is not None
    assert again.document == {"flags": {"shop": "stable"}}


async def test_author_and_reason_may_be_any_text(store: Store) -> None:
    """Quotes are data; NUL and lone surrogates, which databases refuse, come back escaped."""
    stored = await store.put_rules(
        {}, expected=0, author="Robert'); DROP TABLE rules;--", reason="a\0b\ud800 é", at=NOW
    )

    assert stored.author == "Robert'); DROP TABLE rules;--"
    assert stored.reason == "a\\x00b\\ud800 é"
    assert await store.rules() == stored


@pytest.mark.parametrize(("expected", "actual"), [(0, 2), (1, 2), (3, 2)])
async def test_a_lost_compare_and_set_names_both_versions(store: Store, expected: int, actual: int) -> None:
    """Older and newer expectations lose alike, and nothing is stored."""
    await put(store, {"a": 1})
    await put(store, {"a": 2})

    with pytest.raises(VersionConflict) as caught:
        await put(store, {"a": 3}, expected=expected)

    assert (caught.value.expected, caught.value.actual) == (expected, actual)
    assert [version.document for version in await store.history()] == [{"a": 2}, {"a": 1}]


async def test_a_version_is_expected_of_an_empty_store(store: Store) -> None:
    """Expecting version 1 where there is none is a conflict with version 0."""
    with pytest.raises(VersionConflict) as caught:
        await put(store, {}, expected=1)

    assert caught.value.actual == 0


async def test_of_concurrent_puts_exactly_one_wins(store: Store) -> None:
    """Twenty editors who saw the same version: one is stored, nineteen are told."""
    await put(store, {"editor": None})

    outcomes = await asyncio.gather(
        *(put(store, {"editor": number}, expected=1) for number in range(20)), return_exceptions=True
    )

    assert [outcome for outcome in outcomes if outcome == 2] == [2]
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 19
    assert len(await store.history()) == 2


async def test_of_two_hosts_one_wins(make: Make, store: Store) -> None:
    """Twenty editors on two hosts who saw the same version: one is stored, nineteen are told."""
    other = store if isinstance(store, MemoryStore) else make()
    await other.open()
    await put(store, {"n": 0})

    outcomes = await asyncio.gather(
        *(put(each, {"n": number}, expected=1) for number in range(10) for each in (store, other)),
        return_exceptions=True,
    )

    assert [outcome for outcome in outcomes if outcome == 2] == [2]
    assert sum(isinstance(outcome, VersionConflict) for outcome in outcomes) == 19
    await other.close()


async def test_unconditional_puts_are_all_kept(store: Store) -> None:
    """Twenty concurrent puts without expectation take twenty versions without a gap."""
    versions = await asyncio.gather(*(put(store, {"n": n}) for n in range(20)))

    assert sorted(versions) == list(range(1, 21))


async def test_history_is_newest_first_and_bounded(store: Store) -> None:
    """Of three versions the newest two are given; a limit of 0 gives none."""
    for number in (1, 2, 3):
        await put(store, {"n": number})

    assert [version.version for version in await store.history(limit=2)] == [3, 2]
    assert [version.version for version in await store.history()] == [3, 2, 1]
    assert await store.history(limit=0) == []
    assert await store.history(limit=-1) == []


async def test_a_brief_history_is_the_same_without_the_documents(store: Store) -> None:
    """More versions than are read at a time."""
    for number in range(25):
        await put(store, {"n": number})

    whole = await store.history(limit=23)
    assert [rules.document["n"] for rules in whole] == list(range(24, 1, -1))
    brief = await store.history(limit=23, is_brief=True)
    assert brief == [replace(rules, document={}) for rules in whole]


async def test_newer_rules_are_told_at_once(store: Store) -> None:
    """Those that are there already are not waited for; none is None, after the time given."""
    assert await store.version() == 0
    assert await store.newer(0, seconds=0) is None
    await put(store, {"n": 1})
    await put(store, {"n": 2})

    newer = await store.newer(1, seconds=60)

    assert newer == await store.rules()
    assert await store.version() == 2
    assert await store.newer(2, seconds=0) is None


async def test_newer_rules_are_waited_for(make: Make, store: Store) -> None:
    """What another process stores meanwhile is seen within little more than a second."""
    other = store if isinstance(store, MemoryStore) else make()
    await other.open()
    waiting = asyncio.gather(store.newer(0, seconds=60))
    await asyncio.sleep(0)
    await put(other, {"n": 1})

    (newer,) = await asyncio.wait_for(waiting, 70)

    assert newer is not None
    assert newer.document == {"n": 1}
    await other.close()
