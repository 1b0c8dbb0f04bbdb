"""What every back end must do alike."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from store_servers import postgres_url, redis_url

from understudy.config import PostgresPlace, RedisPlace, postgres_place, redis_place
from understudy.errors import StoreError, VersionConflict
from understudy.store import Bounds, Key, MemoryStore, Sample, Store
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
    match request.param:
        case "memory":
            return partial(MemoryStore, clock=clock)
        case "sqlite":
            return partial(SqliteStore, tmp_path / "understudy.db", clock=clock)
        case "postgres":
            return partial(PostgresStore, await empty_postgres(), clock=clock)
        case "layered":
            layers = (await empty_postgres(), await empty_redis(), tmp_path / "rules.json")
            return partial(layered, *layers, clock=clock)
        case _:
            return partial(RedisStore, await empty_redis(), clock=clock)


def layered(sql: PostgresPlace, redis: RedisPlace, file: Path, **settings: Any) -> LayeredStore:
    copy = RedisCopy(RedisLink(redis, deadline_seconds=1.0))
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


async def test_a_new_store_holds_nothing(store: Store) -> None:
    """There is no version 0: an empty store answers None and empty collections."""
    assert await store.rules() is None
    assert await store.history() == []
    assert await store.evidence() == {}
    assert await store.samples() == []


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

    newer = await store.newer(1, seconds=5)

    assert newer == await store.rules()
    assert await store.version() == 2
    assert await store.newer(2, seconds=0) is None


async def test_newer_rules_are_waited_for(make: Make, store: Store) -> None:
    """What another process stores meanwhile is seen within little more than a second."""
    other = store if isinstance(store, MemoryStore) else make()
    await other.open()
    waiting = asyncio.gather(store.newer(0, seconds=10))
    await asyncio.sleep(0)
    await put(other, {"n": 1})

    (newer,) = await asyncio.wait_for(waiting, 3)

    assert newer is not None
    assert newer.document == {"n": 1}
    await other.close()


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


@pytest.mark.parametrize("sequence", [-1, 2**63, True, 1.0])
async def test_a_wrong_sequence_is_refused(store: Store, sequence: Any) -> None:
    """A sequence is a natural number of 63 bits."""
    with pytest.raises(ValueError, match="sequence"):
        await add(store, sequence)


@pytest.mark.parametrize(
    "wrong",
    [sample(float("nan")), sample(float("inf")), sample(0.1, at=float("nan")), sample(0.1, body={1, 2})],
)
async def test_a_wrong_sample_refuses_the_whole_batch(store: Store, wrong: Sample) -> None:
    """Priority and time are finite, the body is JSON; else neither samples nor counts are added."""
    with pytest.raises(ValueError, match=r"finite|not JSON"):
        await add(store, 1, sample(0.5), wrong)

    assert await store.evidence() == {}
    assert await store.samples() == []


async def test_a_sample_comes_back_as_it_was(store: Store) -> None:
    """Every field, any text."""
    odd = Sample(
        service="é",
        endpoint='GET /"\0',
        path="/body/\ud800",
        kind="value",
        priority=0.25,
        at=NOW,
        body={"primary": "\0\ud800", "shadow": [1, None, {"a": 2.5}]},
    )
    await add(store, 1, odd)

    assert await store.samples() == [odd]


async def test_five_samples_a_key_stay(store: Store) -> None:
    """However they come, the five lowest priorities of each path stay, in order."""
    chance = random.Random(7)
    drawn = [chance.random() for _ in range(200)]
    for sequence in range(20):
        batch = drawn[sequence * 10 : sequence * 10 + 10]
        await add(store, sequence, *(sample(priority) for priority in batch), sample(0.5, path="/status"))

    found = await store.samples()

    assert [kept.priority for kept in found if kept.path == "/body/price"] == sorted(drawn)[:5]
    assert sum(kept.path == "/status" for kept in found) == 5


async def test_early_and_late_samples_are_kept_alike(make: Make) -> None:
    """Forty batches of one, two stay: over 150 runs each batch is kept 7.5 times on average.

    Chi-square over 40 cells, 39 degrees of freedom: below 72.1 in 99.9 % of fair draws; the seed is
    fixed, so the test gives the same answer every time.
    """
    store = make(bounds=Bounds(samples_per_key=2, samples=300))
    chance = random.Random(11)
    await store.open()
    for sequence in range(40):
        batch = [
            sample(chance.random(), path=f"/{run}", at=NOW + sequence, body=sequence) for run in range(150)
        ]
        await add(store, sequence, *batch)
    found = [kept.body["primary"] for kept in await store.samples()]
    await store.close()

    expected = 300 / 40
    squares = sum((found.count(sequence) - expected) ** 2 / expected for sequence in range(40))
    assert len(found) == 300
    assert squares < 72.1


async def test_samples_are_bounded_in_all(make: Make) -> None:
    """Over the total, every path keeps one before any keeps two."""
    store = make(bounds=Bounds(samples_per_key=3, samples=4))
    await store.open()
    await add(store, 1, *(sample(priority, path="/busy") for priority in (0.01, 0.02, 0.03)))
    await add(store, 2, sample(0.9, path="/rare"), sample(0.8, path="/seldom"), sample(0.7, path="/busy"))

    found = [(kept.path, kept.priority) for kept in await store.samples()]
    await store.close()

    assert found == [("/busy", 0.01), ("/busy", 0.02), ("/rare", 0.9), ("/seldom", 0.8)]


async def test_samples_are_bounded_in_bytes(make: Make) -> None:
    """Bodies of 113 bytes under a bound of 300: two stay."""
    store = make(bounds=Bounds(sample_bytes=300))
    await store.open()
    await add(store, 1, *(sample(priority, body="x" * 99) for priority in (0.3, 0.1, 0.2)))

    found = await priorities(store)
    await store.close()

    assert found == [0.1, 0.2]


async def test_samples_grow_old(store: Store, clock: Clock) -> None:
    """After seven days a sample is gone, whether or not anything came since."""
    await add(store, 1, sample(0.1, at=NOW - DAY), sample(0.2, at=NOW))
    clock.now = NOW + 6.5 * DAY
    assert await priorities(store) == [0.2]
    clock.now = NOW + 7.5 * DAY

    assert await priorities(store) == []
    await add(store, 2, n=4)
    clock.now = NOW
    assert await priorities(store) == []
    assert await store.evidence() == {("exchange", "shop-v2"): 5}


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


async def test_clearing_forgets_counts_and_samples(store: Store) -> None:
    """Rules stay, and a batch from before the clearing does not come back by being sent again."""
    await put(store, {"a": 1})
    await add(store, 1, sample(0.1))

    await store.clear_evidence()

    assert await store.evidence() == {}
    assert await store.samples() == []
    assert await store.rules() is not None
    assert await add(store, 1, sample(0.1)) is False
    assert await add(store, 2, sample(0.2)) is True
    assert await store.evidence() == {("exchange", "shop-v2"): 1}


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


def whole_sample(priority: float, *, unit: str = "", path: str = "/body/price") -> Sample:
    """A sample with a name of 16 digits, made of its priority."""
    return replace(
        sample(priority, path=path),
        name=f"{int(priority * 1e6):016x}",
        unit=unit,
        whole={"primary": {"body": "x" * 50}, "shadow": {"body": [priority]}},
    )


async def test_a_sample_is_found_by_its_name(store: Store) -> None:
    """Whole; a list of samples goes without what only one reader at a time wants."""
    kept = whole_sample(0.5, unit="abc")
    await add(store, 1, kept, whole_sample(0.25))

    assert await store.sample(kept.name) == kept
    assert [(found.name, found.unit, found.whole) for found in await store.samples()] == [
        (whole_sample(0.25).name, "", None),
        (kept.name, "abc", None),
    ]
    for unknown in ("", "ffffffffffffffff", "\ud800", "%"):
        assert await store.sample(unknown) is None


async def test_an_old_sample_is_not_found(store: Store, clock: Clock) -> None:
    """What the list does not show any more is not there by name either."""
    kept = whole_sample(0.5)
    await add(store, 1, kept)
    clock.now += 8 * DAY

    assert await store.sample(kept.name) is None


async def test_the_whole_counts_against_the_bound(make: Make) -> None:
    """Bodies and wholes share the bytes that samples may take."""
    store = make(bounds=Bounds(sample_bytes=300))
    await store.open()
    await add(store, 1, *(whole_sample(priority) for priority in (0.3, 0.1, 0.2)))

    assert await priorities(store) == [0.1, 0.2]
    await store.close()


async def test_samples_are_forgotten_by_unit(store: Store) -> None:
    """Those of one unit, wherever they are; counts and everybody else's stay."""
    await add(
        store,
        1,
        whole_sample(0.1, unit="alice"),
        whole_sample(0.2, unit="bob"),
        whole_sample(0.3),
        whole_sample(0.4, unit="alice", path="/status"),
    )

    assert await store.forget_samples(unit="alice") == 2
    assert await store.forget_samples(unit="alice") == 0
    assert await priorities(store) == [0.2, 0.3]
    assert await store.evidence() == {("exchange", "shop-v2"): 1}
    assert await store.forget_samples(unit=None) == 2
    assert await store.samples() == []
    assert await add(store, 1, whole_sample(0.1)) is False


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


async def test_what_is_forgotten_stands_in_no_file(tmp_path: Path) -> None:
    """Not in a free page, not in the write-ahead log."""
    store = SqliteStore(tmp_path / "understudy.db", clock=Clock())
    await store.open()
    marks = [f"forget-me-{number}" for number in range(20)]
    wholes = [
        replace(
            whole_sample(0.01 * (number + 1), unit="alice", path=f"/{number}"), whole={"primary": mark * 200}
        )
        for number, mark in enumerate(marks)
    ]
    await add(store, 1, *wholes)

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert all(mark.encode() in files() for mark in marks)

    assert await store.forget_samples(unit="alice") == 20

    assert not any(mark.encode() in files() for mark in marks)
    await store.close()
