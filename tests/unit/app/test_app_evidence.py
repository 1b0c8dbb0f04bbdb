"""The evidence of several hosts with one store: what each shows is the sum, whatever comes between."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import Deed
from understudy.app.evidence import SharedEvidence
from understudy.comparators import Ledger
from understudy.errors import StoreError
from understudy.store import Key, Mark, MemoryStore, Sample

KEYS = [("exchange", "v2", endpoint, "exchanges") for endpoint in ("GET /a", "GET /b", "GET /c")]
Step = tuple[int, str, int]


class Slow(MemoryStore):
    """Others get their turn in the middle of everything, counts are read in pages, answers get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loses = False
        self.reads = 0

    async def evidence_mark(self) -> Mark:
        await asyncio.sleep(0)
        mark = await super().evidence_mark()
        await asyncio.sleep(0)
        return mark

    async def evidence(self) -> Ledger:
        self.reads += 1
        pages = Ledger()
        for key in KEYS:
            await asyncio.sleep(0)
            pages.add({key: (await super().evidence()).get(key, 0)})
        return pages

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        await asyncio.sleep(0)
        added = await super().add_evidence(source=source, sequence=sequence, counts=counts, samples=samples)
        self._lose()
        await asyncio.sleep(0)
        return added

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        await asyncio.sleep(0)
        await super().clear_evidence(deed=deed)
        self._lose()
        await asyncio.sleep(0)

    def _lose(self) -> None:
        if self.loses:
            self.loses = False
            raise StoreError("store: did not answer in time")


class Host:
    """A control process: one task adds and looks, others clear."""

    def __init__(self, store: Slow, name: str) -> None:
        self.store = store
        self.name = name
        self.sequence = 0
        self.shared = SharedEvidence(store)

    async def do(self, what: str, at: int) -> None:
        if what == "look":
            await self.shared.look()
        elif what == "clear":
            await self.shared.clear()
        else:
            self.store.loses = what == "lose"
            self.sequence += 1
            await self.send({KEYS[at % 3]: at + 1})
            self.store.loses = False

    async def send(self, counts: Mapping[Key, int]) -> None:
        """As the intake does: again, until the store has said that it has it."""
        while True:
            try:
                await self.shared.add(source=self.name, sequence=self.sequence, counts=counts, samples=())
                return
            except StoreError:
                pass


async def hosts() -> tuple[Slow, list[Host]]:
    store = Slow()
    await store.open()
    return store, [Host(store, "one"), Host(store, "two")]


steps = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(["add", "add", "lose", "look", "look", "clear"]), st.integers(0, 5)
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_what_a_host_shows_after_a_look_is_the_sum(given_steps: list[Step]) -> None:
    """After any steps of two hosts, one by one; and its own batches are there before it looks."""
    asyncio.run(one_by_one(given_steps))


async def one_by_one(given_steps: list[Step]) -> None:
    store, both = await hosts()
    for which, what, at in given_steps:
        host = both[which]
        await host.do("look", 0)
        await host.do(what, at)
        if what == "lose":
            await host.do("look", 0)
        assert host.shared.counts == await store.evidence()
    for host in both:
        await host.do("look", 0)
        assert host.shared.counts == await store.evidence()


@settings(max_examples=50, deadline=None)
@given(steps, steps, st.lists(st.integers(0, 12), max_size=3))
def test_steps_that_overlap_lose_and_double_nothing(
    first: list[Step], second: list[Step], clears: list[int]
) -> None:
    """Both hosts at once, with clears in the middle of adds and of reads: then a look shows the sum."""
    asyncio.run(at_once(first, second, clears))


async def at_once(first: list[Step], second: list[Step], clears: list[int]) -> None:
    store, both = await hosts()

    async def work(host: Host, given_steps: list[Step]) -> None:
        for _, what, at in given_steps:
            await host.do("look" if what == "clear" else what, at)

    async def clear(after: int) -> None:
        for _ in range(after):
            await asyncio.sleep(0)
        with contextlib.suppress(StoreError):
            await both[after % 2].shared.clear()

    await asyncio.gather(work(both[0], first), work(both[1], second), *map(clear, clears))
    for host in both:
        await host.do("look", 0)
        assert host.shared.counts == await store.evidence()


async def test_one_host_alone_reads_its_counts_once() -> None:
    """What it adds itself it knows: a look then asks for the mark alone, however much there is."""
    store, (host, _) = await hosts()
    for _ in range(5):
        await host.do("look", 0)
        await host.do("add", 1)
    assert (host.shared.counts[KEYS[1]], store.reads) == (10, 1)


async def test_news_are_told_and_dated() -> None:
    """Whether there was any, and until when the counts hold; a store that is away changes neither."""
    store, (host, other) = await hosts()
    now = iter([5.0, 6.0, 7.0])
    host.shared = SharedEvidence(store, clock=lambda: next(now))
    assert host.shared.as_of == 0.0
    assert [await host.shared.look(), await host.shared.look()] == [True, False]
    await other.do("add", 0)
    assert (await host.shared.look(), host.shared.as_of) == (True, 7.0)
    await store.close()
    with pytest.raises(StoreError):
        await host.shared.look()
    assert (host.shared.counts[KEYS[0]], host.shared.as_of) == (1, 7.0)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_clear_is_seen_by_both(lost: bool) -> None:
    """Also when the answer to it was lost: then by the one who asked, too."""
    store, both = await hosts()
    for host in both:
        await host.do("add", 2)
        await host.do("look", 0)
    store.loses = lost
    try:
        await both[0].shared.clear()
    except StoreError:
        assert lost
    for host in both:
        await host.do("look", 0)
    assert [host.shared.counts for host in both] == [{}, {}]


async def test_tasks_of_one_host_may_add_at_once() -> None:
    """Applications send what they have compared while workers do: each batch is in the sum once."""
    store, (host, _) = await hosts()
    await host.shared.look()
    one: dict[Key, int] = {KEYS[0]: 1}
    adds = [host.shared.add(source=f"app-{n}", sequence=1, counts=one, samples=()) for n in range(8)]
    await asyncio.gather(*adds, *(host.shared.look() for _ in range(8)))
    assert host.shared.counts == await store.evidence() == {KEYS[0]: 8}
    await host.shared.look()
    assert host.shared.counts == {KEYS[0]: 8}
