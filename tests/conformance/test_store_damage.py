"""Rows that a hand, a disk or an old dump has damaged: told as such, cleared on demand, never a crash."""

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from store_servers import redis_url
from store_world import empty_postgres, empty_redis

from understudy.access import Deed, Role, Token
from understudy.config import RedisPlace
from understudy.errors import StoreError
from understudy.store import Key, Sample, Store
from understudy.store.postgres import PostgresStore
from understudy.store.redis_store import RedisStore
from understudy.store.sqlite import SqliteStore

DAMAGED = ("", "{", "7", "[]", "[7]", '{"a": "b"}', "\ufffd", "null")
"""What stands where the text of a JSON array of texts should."""

WEEK = 7 * 86_400.0


def sample(at: float = 1.0, name: str = "one") -> Sample:
    return Sample(
        service="s", endpoint="e", path="/p", kind="value", priority=0.5, at=at, body={"n": 1}, name=name
    )


async def filled(store: Store, at: float) -> None:
    await store.open()
    counts: dict[Key, int] = {("a", "b"): 5}
    assert await store.add_evidence(source="w", sequence=1, counts=counts, samples=[sample(at)])


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "u.db")
    await filled(store, time.time())
    yield store
    await store.close()


@pytest.fixture
async def redis() -> AsyncIterator[tuple[RedisStore, Any]]:
    """A store, and a client beside it."""
    store = RedisStore(await empty_redis())
    await filled(store, time.time())
    async with Redis.from_url(redis_url()) as client:
        yield store, client
    await store.close()


def spoil(folder: Path, statement: str, *given: object) -> None:
    with sqlite3.connect(folder / "u.db") as connection:
        assert connection.execute(statement, given).rowcount == 1
    connection.close()


async def is_cleared(store: Store, ask: Callable[[], Awaitable[object]]) -> bool:
    """Whether clearing the evidence mends what *ask* stumbled over."""
    await store.clear_evidence()
    return not await ask()


@pytest.mark.parametrize("text", DAMAGED)
async def test_a_damaged_count_is_told(sqlite: SqliteStore, tmp_path: Path, text: str) -> None:
    """With the mend, which works."""
    spoil(tmp_path, "UPDATE evidence SET key = ?", text)
    with pytest.raises(StoreError, match=r"^evidence: the count .* is damaged; delete it there, or clear"):
        await sqlite.evidence()
    assert await is_cleared(sqlite, sqlite.evidence)


@pytest.mark.parametrize("text", DAMAGED)
async def test_a_damaged_sample_is_told(sqlite: SqliteStore, tmp_path: Path, text: str) -> None:
    """In the list and by itself."""
    spoil(tmp_path, "UPDATE samples SET key = ?", text)
    with pytest.raises(StoreError, match=r"^samples: one is damaged; clear the evidence"):
        await sqlite.samples()
    with pytest.raises(StoreError, match=r"^samples: one is damaged"):
        await sqlite.sample("one")
    assert await is_cleared(sqlite, sqlite.samples)


@pytest.mark.parametrize(
    ("column", "text"), [("role", "king"), ("roles", "{"), ("roles", '{"prod": "king"}')]
)
async def test_a_damaged_token_is_told(sqlite: SqliteStore, tmp_path: Path, column: str, text: str) -> None:
    """A guess could give rights, so nobody gets any."""
    token = Token(
        selector="abc", name="ci", role=Role.VIEWER, digest="0" * 64, created_at=1.0, created_by="ann"
    )
    deed = Deed(at=1.0, who="ann", origin="", action="token.create", target="ci", reason="")
    await sqlite.add_token(token, deed=deed)
    spoil(tmp_path, f"UPDATE tokens SET {column} = ?", text)
    with pytest.raises(StoreError, match=r"^tokens: .*damaged"):
        await sqlite.tokens()


@pytest.mark.parametrize("text", DAMAGED)
async def test_redis_tells_of_damage_alike(redis: tuple[RedisStore, Any], text: str) -> None:
    """Counts, numbers, what the choice of samples looks at, and their bodies."""
    store, client = redis
    places = "{understudy-conformance}:"
    await client.hset(f"{places}evidence", text, "1")
    with pytest.raises(StoreError, match=r"^evidence: the count .* is damaged"):
        await store.evidence()
    await client.delete(f"{places}evidence")
    await client.hset(f"{places}evidence", '["a"]', "many")
    with pytest.raises(StoreError, match=r"^evidence: the count .* is damaged"):
        await store.evidence()
    for part in ("bodies", "light") if text not in ("7", "null", "[]", "[7]", '{"a": "b"}') else ("light",):
        await client.hset(f"{places}samples:{part}", "1", text)
        with pytest.raises(StoreError, match=r"^samples: .* damaged; clear the evidence"):
            await store.samples()
    assert await is_cleared(store, store.samples)
    assert not await store.evidence()
    assert await store.add_evidence(source="w", sequence=2, counts={}, samples=[sample(time.time())])


async def test_a_secret_that_vanishes_is_made_again(
    redis: tuple[RedisStore, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUSHALL between making and reading it: an empty key would let anybody compute what it hides."""
    store, beside = redis
    emptied = 0

    class Emptying(Redis):
        async def hget(self, name: str, key: str) -> Any:  # type: ignore[override]
            nonlocal emptied
            if emptied < 2:
                emptied += 1
                await beside.delete(name)
            return await super().hget(name, key)

    monkeypatch.setattr("understudy.store.redis_link.Redis", Emptying)
    place: RedisPlace = await empty_redis()
    racing = RedisStore(place)
    await racing.open()
    assert len(await racing.secret("units")) == 32
    assert emptied == 2
    assert await racing.secret("units") == await store.secret("units")
    await racing.close()


@pytest.mark.parametrize("kind", ["postgres", "redis"])
async def test_a_host_with_a_wrong_clock_drops_nobodys_samples(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples grow old by the store's clock: a host that is eight days ahead sees them, and leaves them."""
    right = time.time()
    store: Store = (
        PostgresStore(await empty_postgres()) if kind == "postgres" else RedisStore(await empty_redis())
    )
    await filled(store, right)
    old = sample(right - WEEK - 60, name="old")
    assert await store.add_evidence(source="w", sequence=2, counts={}, samples=[old])
    monkeypatch.setattr(time, "time", lambda: right + 8 * 86_400)
    assert await store.add_evidence(source="v", sequence=1, counts={}, samples=[])
    assert await store.add_evidence(source="v", sequence=2, counts={}, samples=[sample(right, name="two")])

    assert {found.name for found in await store.samples()} == {"one", "two"}
    assert await store.sample("one") is not None
    assert await store.sample("old") is None
    await store.close()
