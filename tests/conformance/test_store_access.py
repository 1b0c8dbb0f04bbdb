"""Tokens and audit: what every back end must do alike."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store_world import clock, make, store

from understudy.access import Deed, Head, Role, Token, flaws
from understudy.errors import StoreError, VersionConflict
from understudy.store import Store
from understudy.store.sqlite import SqliteStore

TOKEN = Token(selector="a" * 12, name="ann", role=Role.ADMIN, digest="d" * 64, created_at=5.5, created_by="x")
DEED = Deed(at=7.25, who="ann", origin="127.0.0.1", action="token.create", target="a" * 12, reason="trial")


__all__ = ["clock", "make", "store"]  # fixtures


async def actions(store: Store) -> list[str]:
    """What was done, in order; the chain is checked on the way."""
    entries = await store.audit()
    assert list(flaws(entries, [await store.audit_head()])) == []
    return [entry.deed.action for entry in entries]


async def test_a_token_is_kept_with_its_entry(store: Store) -> None:
    """All of it, and one of the same selector is refused with no entry."""
    await store.add_token(TOKEN, deed=DEED)
    with pytest.raises(StoreError, match="there is one already"):
        await store.add_token(TOKEN, deed=DEED)

    assert await store.tokens() == [TOKEN]
    assert [entry.deed for entry in await store.audit()] == [DEED]


async def test_a_token_for_a_flag_set_stays_one(store: Store) -> None:
    """It must not come back as one for all flags."""
    token = replace(TOKEN, role=Role.EVALUATOR, flag_set="web")
    await store.add_token(token, deed=DEED)
    assert await store.tokens() == [token]


async def test_a_token_is_revoked_once(store: Store) -> None:
    """From the time of the deed on; it stays known; what is not there has no entry."""
    await store.add_token(TOKEN, deed=DEED)
    revoking = replace(DEED, at=9.0, action="token.revoke")

    assert await store.revoke_token(TOKEN.selector, deed=revoking) == replace(TOKEN, revoked_at=9.0)
    assert await store.revoke_token(TOKEN.selector, deed=replace(revoking, at=10.0)) is None
    assert await store.revoke_token("b" * 12, deed=revoking) is None
    assert await store.tokens() == [replace(TOKEN, revoked_at=9.0)]
    assert await actions(store) == ["token.create", "token.revoke"]


async def test_the_last_use_only_moves_on(store: Store) -> None:
    """Of several processes the latest counts; a selector that is not there is nothing."""
    await store.add_token(TOKEN, deed=DEED)
    await store.note_used({TOKEN.selector: 50.0, "b" * 12: 50.0})
    await store.note_used({TOKEN.selector: 40.0})
    await store.note_used({})

    assert [token.used_at for token in await store.tokens()] == [50.0]


async def test_every_version_of_the_rules_has_its_entry(store: Store) -> None:
    """With both versions; without a deed it is made of author and reason."""
    await store.put_rules({"n": 1}, expected=0, author="configuration", reason="seed", at=1.0)
    await store.put_rules({"n": 2}, expected=1, author="ann", reason="r", at=2.0, deed=DEED)

    first, second = [entry.deed for entry in await store.audit()]
    assert first == Deed(
        at=1.0,
        who="configuration",
        origin="",
        action="rules.put",
        reason="seed",
        before=0,
        after=1,
        environment="default",
    )
    assert second == replace(DEED, before=1, after=2, environment="default")


async def test_a_change_that_is_not_made_has_no_entry(store: Store) -> None:
    """The transaction is one."""
    await store.put_rules({"n": 1}, expected=0, author="ann", reason="", at=1.0)
    with pytest.raises(VersionConflict):
        await store.put_rules({"n": 2}, expected=0, author="bob", reason="", at=2.0, deed=DEED)

    assert await actions(store) == ["rules.put"]


async def test_what_is_forgotten_is_told(store: Store) -> None:
    """And nothing without a deed: intake clears up by itself."""
    await store.clear_evidence(deed=replace(DEED, action="evidence.clear"))
    await store.forget_samples(unit=None, deed=replace(DEED, action="samples.forget"))
    await store.clear_evidence()
    await store.forget_samples(unit="x")
    await store.record(replace(DEED, action="reload"))

    assert await actions(store) == ["evidence.clear", "samples.forget", "reload"]


async def test_text_that_no_database_takes_is_escaped_before_it_is_chained(store: Store) -> None:
    """So the chain verifies over what is stored."""
    odd = replace(DEED, at=3, target="a\0b\ud800", reason="é ' \" ; DROP TABLE audit")
    await store.record(odd)

    (entry,) = await store.audit()
    assert entry.deed.target == "a\\x00b\\ud800"
    assert await actions(store) == ["token.create"]


async def test_the_audit_is_read_in_pages(store: Store) -> None:
    """Beyond a number, so many at most; the head is that of the last."""
    assert (await store.audit(), await store.audit_head()) == ([], Head())
    for _ in range(5):
        last = await store.record(DEED)

    assert [entry.number for entry in await store.audit(after=1, limit=2)] == [2, 3]
    assert [entry.number for entry in await store.audit(after=4)] == [5]
    assert await store.audit(after=5) == []
    assert await store.audit_head() == Head(number=5, hash=last.hash)


async def test_writers_at_once_make_one_chain(store: Store) -> None:
    """Twenty at a time, none lost."""
    await asyncio.gather(*(store.record(replace(DEED, action=str(number))) for number in range(20)))

    assert sorted(await actions(store), key=int) == [str(number) for number in range(20)]


async def test_tokens_and_audit_survive_a_restart(tmp_path: Path) -> None:
    """They are in the file."""
    for _ in range(2):
        store = SqliteStore(tmp_path / "understudy.db")
        await store.open()
        if not await store.tokens():
            await store.add_token(TOKEN, deed=DEED)
        tokens, head = await store.tokens(), await store.audit_head()
        await store.close()

    assert (tokens, head.number) == ([TOKEN], 1)


async def test_two_processes_on_one_file_make_one_chain(tmp_path: Path) -> None:
    """The lock is the file's."""
    stores = [SqliteStore(tmp_path / "understudy.db") for _ in range(2)]
    for one in stores:
        await one.open()
    await asyncio.gather(*(one.record(DEED) for one in stores * 5))

    assert len(await actions(stores[0])) == 10
    for one in stores:
        await one.close()


async def test_a_chain_whose_head_was_removed_goes_no_further(tmp_path: Path) -> None:
    """Nobody could tell any more what was cut off."""
    store = SqliteStore(tmp_path / "understudy.db")
    await store.open()
    await store.record(DEED)
    await store.close()
    with closing(sqlite3.connect(tmp_path / "understudy.db")) as connection, connection:
        connection.execute("DELETE FROM audit_head")
    await store.open()
    with pytest.raises(StoreError, match="its head is gone"):
        await store.record(DEED)
    with pytest.raises(StoreError, match="its head is gone"):
        await store.audit_head()
    await store.close()


async def test_what_was_cut_off_in_the_table_shows_against_the_head(tmp_path: Path) -> None:
    """The head is kept apart from the entries."""
    store = SqliteStore(tmp_path / "understudy.db")
    await store.open()
    for _ in range(3):
        await store.record(DEED)
    await store.close()
    with closing(sqlite3.connect(tmp_path / "understudy.db")) as connection, connection:
        connection.execute("DELETE FROM audit WHERE number = 3")
    await store.open()
    found = list(flaws(await store.audit(), [await store.audit_head()]))
    await store.close()
    assert found == ["entry 3 is missing at the end: truncated"]


async def test_every_version_can_be_had_again(store: Store) -> None:
    """By its number; None for one that never was."""
    for number in range(1, 4):
        await store.put_rules({"n": number}, expected=None, author="ann", reason=str(number), at=1.0)

    found = [await store.past(version) for version in (1, 2, 3)]
    assert [stored and (stored.version, stored.document, stored.reason) for stored in found] == [
        (number, {"n": number}, str(number)) for number in range(1, 4)
    ]
    assert [await store.past(version) for version in (0, -1, 4)] == [None] * 3
