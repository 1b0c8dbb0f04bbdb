"""Every back end of the store, empty, with a clock that stands; and what is put into it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from store_servers import postgres_url, redis_url

from understudy.config import PostgresPlace, RedisPlace, postgres_place, redis_place
from understudy.store import MemoryStore, Sample, Store
from understudy.store.last_good import LastGood
from understudy.store.layered import LayeredStore
from understudy.store.postgres import PostgresStore
from understudy.store.redis_copy import RedisCopy
from understudy.store.redis_link import RedisLink
from understudy.store.redis_store import RedisStore
from understudy.store.schema import metadata
from understudy.store.sqlite import SqliteStore

NOW = 1_700_000_000.0
DAY = 86_400.0
PATIENCE_SECONDS = 60.0
"""A server that is there answers, however busy the machine."""
Make = Callable[..., Store]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis", "layered"])
async def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Make:
    """Makes the store of one back end, always the same one, which is empty before the test."""
    settings: dict[str, Any] = {"clock": clock, "deadline_seconds": PATIENCE_SECONDS}
    match request.param:
        case "memory":
            return partial(MemoryStore, clock=clock)
        case "sqlite":
            return partial(SqliteStore, tmp_path / "understudy.db", **settings)
        case "postgres":
            return partial(PostgresStore, await empty_postgres(), **settings)
        case "layered":
            layers = (await empty_postgres(), await empty_redis(), tmp_path / "rules.json")
            return partial(layered, *layers, **settings)
        case _:
            return partial(RedisStore, await empty_redis(), **settings)


def layered(sql: PostgresPlace, redis: RedisPlace, file: Path, **settings: Any) -> LayeredStore:
    copy = RedisCopy(RedisLink(redis, deadline_seconds=PATIENCE_SECONDS))
    return LayeredStore(PostgresStore(sql, **settings), copy, LastGood(file))


async def empty_postgres() -> PostgresPlace:
    url = f"{postgres_url()}?schema=understudy_conformance"
    connection = await asyncpg.connect(postgres_url())
    try:
        if await connection.fetchval("SELECT to_regclass('understudy_conformance.rules') IS NOT NULL"):
            tables = ", ".join(f"understudy_conformance.{name}" for name in metadata.tables)
            await connection.execute(f"TRUNCATE {tables}")
    finally:
        await connection.close()
    return postgres_place(url)


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    opened = make()
    await opened.open()
    yield opened
    await opened.close()


async def empty_redis() -> RedisPlace:
    place = redis_place(f"{redis_url()}?prefix=understudy-conformance")
    async with Redis.from_url(redis_url()) as client:
        async for key in client.scan_iter("{understudy-conformance}:*"):
            await client.delete(key)
    return place


async def put(store: Store, document: dict[str, Any], expected: int | None = None) -> int:
    stored = await store.put_rules(document, expected=expected, author="ann", reason="trial", at=NOW)
    return stored.version


def sample(priority: float, *, path: str = "/body/price", at: float = NOW, body: object = "x") -> Sample:
    return Sample(
        service="shop-v2",
        endpoint="GET /orders/{id}",
        path=path,
        kind="value",
        priority=priority,
        at=at,
        body={"primary": body},
    )


async def add(store: Store, sequence: int, *samples: Sample, source: str = "worker-1", n: int = 1) -> bool:
    return await store.add_evidence(
        source=source, sequence=sequence, counts={("exchange", "shop-v2"): n}, samples=samples
    )


async def priorities(store: Store) -> list[float]:
    return [kept.priority for kept in await store.samples()]


def whole_sample(priority: float, *, unit: str = "", path: str = "/body/price") -> Sample:
    """A sample with a name of 16 digits, made of its priority."""
    return replace(
        sample(priority, path=path),
        name=f"{int(priority * 1e6):016x}",
        unit=unit,
        whole={"primary": {"body": "x" * 50}, "shadow": {"body": [priority]}},
    )
