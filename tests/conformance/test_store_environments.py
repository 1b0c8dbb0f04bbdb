"""Several environments in one store: what every back end must keep apart, and what it must share."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis
from store_servers import redis_url
from store_world import Make, add, clock, empty_redis, make, put, sample
from test_store_access import DEED, TOKEN

from understudy.access import Role, flaws
from understudy.errors import VersionConflict
from understudy.store import Environment, Store
from understudy.store.location import last_good_path
from understudy.store.redis_store import RedisStore

__all__ = ["clock", "make"]  # fixtures

SERVICES = ("shop-v2", "shop-v1")


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    """Of the environment ``dev``."""
    opened = make(environment="dev")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def prod(store: Store) -> Store:
    """Of the environment ``prod``, over the same connection."""
    other = store.of("prod")
    await other.open()
    return other


async def test_a_store_is_of_one_environment(store: Store, prod: Store) -> None:
    """It says which; asked for its own, or twice for one, it is the same store."""
    assert (store.environment, prod.environment) == ("dev", "prod")
    assert store.of("dev") is store
    assert store.of("prod") is prod
    assert prod.of("dev") is store


async def test_rules_of_one_never_show_in_another(store: Store, prod: Store) -> None:
    """Neither the newest, nor its number, nor history, nor a version by number; each counts from one."""
    for number in range(3):
        await put(store, {"in": "dev", "n": number})
    assert (await prod.rules(), await prod.version(), await prod.history()) == (None, 0, [])
    assert await prod.past(1) is None

    assert await put(prod, {"in": "prod"}, expected=0) == 1
    assert [stored.document["in"] for stored in await store.history()] == ["dev"] * 3
    newest, past = await prod.rules(), await store.past(1)
    assert newest is not None
    assert past is not None
    assert (newest.document, past.document) == ({"in": "prod"}, {"in": "dev", "n": 0})


async def test_a_version_of_another_is_no_conflict(store: Store, prod: Store) -> None:
    """Compare-and-set looks at its own environment alone."""
    await put(store, {"n": 1})
    await put(prod, {"n": 1})
    await put(prod, {"n": 2}, expected=1)
    with pytest.raises(VersionConflict):
        await put(store, {"n": 2}, expected=2)


async def test_evidence_and_samples_of_one_never_show_in_another(store: Store, prod: Store) -> None:
    """The same source may count in both, and what one forgets the other keeps."""
    mine, theirs = replace(sample(0.5), name="mine", unit="u"), replace(sample(0.5), name="theirs", unit="u")
    assert await add(store, 1, mine, n=3)
    assert await add(prod, 1, theirs, n=40)
    assert not await add(prod, 1, theirs, n=40)

    assert await store.evidence() == {("exchange", "shop-v2"): 3}
    assert await prod.evidence() == {("exchange", "shop-v2"): 40}
    assert [kept.name for kept in await store.samples()] == ["mine"]
    assert await prod.sample("mine") is None
    assert await store.forget_samples(unit="u") == 1
    await store.clear_evidence()
    assert await store.evidence() == {}
    assert [kept.name for kept in await prod.samples()] == ["theirs"]
    assert await prod.evidence() == {("exchange", "shop-v2"): 40}


async def test_tokens_secrets_and_audit_are_of_all(store: Store, prod: Store) -> None:
    """One chain, whose entries name the environment, and verify."""
    await store.add_token(TOKEN, deed=DEED)
    await put(prod, {"n": 1})
    await put(store, {"n": 1})
    await store.clear_evidence(deed=replace(DEED, action="evidence.clear"))
    await prod.forget_samples(unit=None, deed=replace(DEED, action="samples.forget"))

    assert await prod.tokens() == [TOKEN]
    assert await prod.secret("unit") == await store.secret("unit")
    entries = await prod.audit()
    assert entries == await store.audit()
    assert [(entry.deed.action, entry.deed.environment) for entry in entries] == [
        ("token.create", ""),
        ("rules.put", "prod"),
        ("rules.put", "dev"),
        ("evidence.clear", "dev"),
        ("samples.forget", "prod"),
    ]
    assert list(flaws(entries, [await store.audit_head()])) == []


async def test_a_token_keeps_its_roles(store: Store) -> None:
    """By environment; with a role for all others, or with none."""
    both = replace(TOKEN, roles={"dev": Role.EDITOR, "prod": Role.VIEWER})
    some = replace(TOKEN, selector="b" * 12, created_at=6.0, role=None, roles={"dev": Role.ADMIN})
    for token in (both, some):
        await store.add_token(token, deed=DEED)
    await store.note_used({both.selector: 9.0})
    await store.revoke_token(some.selector, deed=replace(DEED, at=8.0))

    assert await store.tokens() == [replace(both, used_at=9.0), replace(some, revoked_at=8.0)]


async def test_a_store_tells_what_it_holds(store: Store, prod: Store) -> None:
    """Environments with rules, or with services that were noted; the newest version of each."""
    assert await store.environments() == []
    await put(store, {"n": 1})
    await put(store, {"n": 2})
    await prod.note_services(SERVICES)
    assert await prod.environments() == [
        Environment(name="dev", version=2, at=1_700_000_000.0),
        Environment(name="prod", services=("shop-v1", "shop-v2")),
    ]

    await put(prod, {"n": 1})
    await store.note_services([])
    await prod.note_services(SERVICES[:1])
    assert await store.environments() == [
        Environment(name="dev", version=2, at=1_700_000_000.0, services=()),
        Environment(name="prod", version=1, at=1_700_000_000.0, services=("shop-v2",)),
    ]


async def test_a_change_from_elsewhere_is_heard(store: Store, prod: Store) -> None:
    """Rules put into another environment reach who waits there, and nobody else."""
    async with asyncio.TaskGroup() as tasks:
        here = tasks.create_task(store.newer(0, seconds=0.5))
        there = tasks.create_task(prod.newer(0, seconds=60.0))
        await put(store.of("prod"), {"n": 1})

    heard = there.result()
    assert heard is not None
    assert heard.document == {"n": 1}
    assert here.result() is None


async def test_the_connection_ends_with_the_store_that_opened_it(store: Store, prod: Store) -> None:
    """Closing another environment's store leaves it open."""
    await prod.close()
    await put(store, {"n": 1})

    assert await store.version() == 1


async def test_the_first_environment_keeps_the_keys_it_always_had() -> None:
    """In Redis an upgrade moves nothing: others have names of their own beside them."""
    store = RedisStore(await empty_redis())
    await store.open()
    await put(store, {"n": 1})
    await add(store.of("prod"), 1, sample(0.5))
    await put(store.of("prod"), {"n": 1})
    await store.close()
    async with Redis.from_url(redis_url()) as client:
        keys = [key.decode() async for key in client.scan_iter("{understudy-conformance}:*")]

    ours = {key.removeprefix("{understudy-conformance}:") for key in keys}
    assert {name for name in ours if not name.startswith("environment:prod:")} == {
        "rules",
        "audit",
        "audit-head",
        "environments",
    }
    assert {"environment:prod:rules", "environment:prod:evidence"} < ours


def test_last_good_rules_are_in_a_file_of_their_environment() -> None:
    """That of the first has the name that is configured; a name with dots keeps its end."""
    path = Path("/var/lib/last.good.json")

    assert last_good_path(path, "default") == path
    assert last_good_path(path, "prod") == Path("/var/lib/last.good.prod.json")
