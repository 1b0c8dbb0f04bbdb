"""What was met, on its way to the store: hashed, batched, bounded, never twice."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from understudy.admin import Met
from understudy.app.exposures import Exposed
from understudy.config import ExposureSettings
from understudy.errors import StoreError
from understudy.exposures import Told, is_sampled
from understudy.store import Exposures, FlagUsage, MemoryStore

DAY = 86_400.0
NOW = 1_767_000_000.0


class Frail(MemoryStore):
    """Fails while ``is_away``; ``fails_late`` after it has stored."""

    is_away = False
    refuses = False
    """It says that it will never take this."""
    turns: list[asyncio.Event] | None = None
    """What each call waits for, in their order, while there is a list."""
    fails_late = False

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        if self.turns is not None:
            self.turns.append(turn := asyncio.Event())
            await turn.wait()
        if self.is_away:
            raise StoreError("store: away")
        if self.refuses:
            raise ValueError("store: no")
        done = await super().add_exposures(exposures, batch=batch)
        if self.fails_late:
            raise StoreError("store: no answer")
        return done


class Scene:
    """A store, and what is on its way to it."""

    def __init__(self, sample: float = 1.0) -> None:
        self.store = Frail()
        self.settings = ExposureSettings(sample=sample)
        self.now = NOW
        self.exposed = Exposed(self.store, settings=lambda: self.settings, clock=lambda: self.now)

    async def usage(self) -> dict[str, tuple[int, int]]:
        """Evaluations and units by variant, once all is written."""
        await self.exposed.flush()
        flags: list[FlagUsage] = await self.exposed.usage(flag=None)
        return {row.variant: (row.evaluations, row.units) for flag in flags for row in flag.variants}


@pytest.fixture
async def scene() -> Scene:
    """With an open store."""
    made = Scene()
    await made.store.open()
    return made


def told(*units: str, n: int = 0) -> Told:
    """A worker tells that *units* met stable."""
    return Told(
        at=NOW,
        counts={("shop", "stable"): n or len(units)},
        units=[("shop", "stable", unit) for unit in units],
    )


async def test_workers_and_evaluations_add_up(scene: Scene) -> None:
    """A unit that two workers and the decider saw is one."""
    scene.exposed.heard(told("ann", "bob"))
    scene.exposed.heard(told("ann", n=5))
    scene.exposed.see("shop", "stable", "ann")
    scene.exposed.see("shop", "canary", "ann")

    assert await scene.usage() == {"stable": (8, 2), "canary": (1, 1)}


async def test_no_unit_is_stored_as_it_is(scene: Scene) -> None:
    """Only sixteen digits of a keyed hash; the key is the store's."""
    scene.exposed.see("shop", "stable", "ann@example.com")
    await scene.exposed.flush()
    kept: Any = scene.store._exposures
    assert [len(unit) for _, _, unit in kept._units] == [16]
    assert "ann" not in repr(vars(kept))


async def test_what_a_store_did_not_take_is_written_later_and_once(scene: Scene) -> None:
    """Away, then stored without an answer, then well."""
    scene.exposed.heard(told("ann"))
    scene.store.is_away = True
    with pytest.raises(StoreError):
        await scene.exposed.flush()
    scene.store.is_away, scene.store.fails_late = False, True
    with pytest.raises(StoreError):
        await scene.exposed.flush()
    scene.store.fails_late = False
    scene.exposed.heard(told("bob"))

    assert await scene.usage() == {"stable": (2, 2)}


async def test_what_waits_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are dropped and counted; evaluations are not."""
    monkeypatch.setattr("understudy.app.exposures.MOST_WAITING", 2)
    scene.exposed.heard(told("ann", "bob", "dan"))

    assert scene.exposed.dropped == {"full": 1}
    assert await scene.usage() == {"stable": (3, 2)}


async def test_what_no_store_takes_is_dropped_and_counted(scene: Scene) -> None:
    """It does not stand in the way of what comes later."""
    scene.exposed.heard(told("ann", n=7))
    scene.store.refuses = True
    await scene.exposed.flush()
    scene.store.refuses = False
    scene.exposed.heard(told("bob", n=2))

    assert await scene.usage() == {"stable": (2, 1)}
    assert scene.exposed.dropped == {"refused": 7}


async def test_what_is_given_up_is_counted_and_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """What was under way and what came behind it; nothing of it is left, and nothing makes no noise."""
    scene.exposed.give_up("why")
    assert not caplog.text
    scene.exposed.heard(told("ann", n=7))
    scene.store.is_away = True
    with pytest.raises(StoreError):
        await scene.exposed.flush()
    scene.exposed.heard(told("bob", n=2))
    scene.exposed.give_up("the store is away")
    scene.store.is_away = False

    assert scene.exposed.dropped == {"unstored": 9}
    assert "the last 9 evaluations, which were not stored: the store is away" in caplog.text
    assert await scene.usage() == {}


async def test_two_who_write_at_once_lose_nothing(scene: Scene) -> None:
    """The periodic writing and a purge send the same batch; the next one fails, and stays for later."""
    turns = scene.store.turns = []
    scene.exposed.heard(told("ann"))
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(failing(scene.exposed.flush()))
        await until(lambda: len(turns) == 2)
        scene.exposed.heard(told("bob"))
        turns[0].set()
        await until(lambda: len(turns) == 3)
        turns[1].set()
        await until(lambda: len(turns) == 4)
        scene.store.is_away = True
        turns[2].set()
        turns[3].set()
    scene.store.is_away, scene.store.turns = False, None

    assert await scene.usage() == {"stable": (2, 2)}


async def failing(work: Coroutine[Any, Any, None]) -> None:
    """Do *work*, which the store does not take."""
    with pytest.raises(StoreError):
        await work


async def until(is_so: Callable[[], bool]) -> None:
    """Let others have their turns until it is so."""
    while not is_so():
        await asyncio.sleep(0)


async def test_a_row_may_stand_for_many_evaluations(scene: Scene) -> None:
    """And for none: a unit that was counted elsewhere."""
    many = [
        Met(flag="shop", variant="stable", evaluations=1000),
        Met(flag="shop", variant="stable", unit="ann", evaluations=0),
    ]
    await scene.exposed.add(many, batch="one")
    assert await scene.usage() == {"stable": (1000, 1)}


async def test_a_name_that_no_store_can_keep_is_counted(scene: Scene) -> None:
    """It would not fit into an index."""
    scene.exposed.see("f" * 300, "on", "ann")
    assert await scene.usage() == {}
    assert scene.exposed.dropped == {"name_too_long": 1}


async def test_a_client_tells_once_and_its_clock_is_not_believed(scene: Scene) -> None:
    """A batch counts once; times are held within what is kept and what is now."""
    met = [
        Met(flag="shop", variant="stable", unit="ann", at=1.0),
        Met(flag="shop", variant="stable", at=NOW + 10 * DAY),
    ]
    assert await scene.exposed.add(met, batch="one")
    assert not await scene.exposed.add(met, batch="one")

    assert await scene.usage() == {"stable": (2, 1)}
    kept: Any = scene.store._exposures
    assert sorted(hour for _, _, hour in kept._hours) == [
        int(NOW - 30 * DAY) // 3600,
        int(NOW + 300) // 3600,
    ]


async def test_a_unit_is_forgotten_with_what_waits(scene: Scene) -> None:
    """Also what was not written yet; the audit does not name it."""
    scene.exposed.see("shop", "stable", "ann")
    assert await scene.exposed.forget(unit="ann", author="root", origin="127.0.0.1") == 1

    assert await scene.usage() == {"stable": (1, 0)}
    (entry,) = await scene.store.audit()
    assert (entry.deed.action, entry.deed.who) == ("exposures.forget", "root")
    assert "ann" not in repr(entry)


async def test_a_share_is_of_units_whoever_tells(scene: Scene) -> None:
    """Decider and clients keep the same units; without a share nobody's."""
    units = [f"u{number}" for number in range(300)]
    scene.settings = ExposureSettings(sample=0.2)
    for unit in units:
        scene.exposed.see("shop", "stable", unit)
    await scene.exposed.add([Met(flag="shop", variant="canary", unit=unit) for unit in units], batch="one")
    sampled = sum(is_sampled(unit, 0.2) for unit in units)
    assert await scene.usage() == {"stable": (300, sampled), "canary": (300, sampled)}

    scene.settings = ExposureSettings(sample=0.0)
    scene.exposed.see("shop", "off", "u1")
    await scene.exposed.add([Met(flag="shop", variant="off", unit="u2")], batch="two")
    assert (await scene.usage())["off"] == (2, 0)
