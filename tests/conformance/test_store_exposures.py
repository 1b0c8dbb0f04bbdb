"""Exposures: what every back end must do alike."""

from dataclasses import replace

import pytest
from store_world import clock, make, store
from test_store_access import actions

from understudy.access import Deed
from understudy.store import Exposure, Exposures, FlagUsage, Store, VariantUsage

__all__ = ["clock", "make", "store"]  # fixtures

HOUR = 500_000
AT = HOUR * 3600.0 + 60
DEED = Deed(at=7.25, who="ann", origin="127.0.0.1", action="exposures.forget", target="of one unit")
ANN, BOB = "a" * 16, "b" * 16


def met(variant: str, unit: str, at: float = AT, flag: str = "shop") -> Exposure:
    return Exposure(flag=flag, variant=variant, unit=unit, at=at)


def told(usage: list[FlagUsage]) -> dict[str, tuple[int, dict[str, tuple[int, int, float]]]]:
    """Usage in short: units, then evaluations, units and last time by variant."""
    return {
        row.flag: (
            row.units,
            {one.variant: (one.evaluations, one.units, one.last_at) for one in row.variants},
        )
        for row in usage
    }


async def test_counts_add_up_and_a_unit_counts_once(store: Store) -> None:
    """By variant, and over all variants of a flag."""
    first = Exposures(
        counts={("shop", "stable", HOUR): 3, ("shop", "canary", HOUR): 1},
        units=[met("stable", ANN), met("stable", BOB), met("stable", ANN, AT + 1)],
        at=AT,
    )
    later = Exposures(
        counts={("shop", "stable", HOUR): 2, ("shop", "stable", HOUR + 1): 4, ("näh", "on", HOUR): 1},
        units=[met("canary", ANN), met("stable", ANN)],
        at=AT + 5.5,
    )
    assert await store.add_exposures(first, batch="one")
    assert await store.add_exposures(later, batch="two")

    assert told(await store.usage()) == {
        "näh": (0, {"on": (1, 0, AT + 5.5)}),
        "shop": (2, {"canary": (1, 1, AT), "stable": (9, 2, AT + 5.5)}),
    }
    assert await store.usage(flag="näh") == [
        FlagUsage(
            flag="näh",
            units=0,
            variants=[VariantUsage(variant="on", evaluations=1, units=0, last_at=AT + 5.5)],
        )
    ]
    assert await store.usage(flag="shpo") == []


async def test_a_batch_counts_once(store: Store) -> None:
    """A client that heard no answer may send it again."""
    batch = Exposures(counts={("shop", "stable", HOUR): 3}, units=[met("stable", ANN)], at=AT)
    assert await store.add_exposures(batch, batch="one")
    assert not await store.add_exposures(replace(batch, at=AT + 9), batch="one")

    assert told(await store.usage()) == {"shop": (1, {"stable": (3, 1, AT)})}


async def test_a_unit_is_forgotten_with_an_entry(store: Store) -> None:
    """What it met at every flag; the counts name nobody, so they stay; another unit stays too."""
    batch = Exposures(
        counts={("shop", "stable", HOUR): 3},
        units=[met("stable", ANN), met("canary", ANN), met("on", ANN, flag="look"), met("stable", BOB)],
        at=AT,
    )
    await store.add_exposures(batch, batch="one")

    assert await store.forget_exposures(unit=ANN, deed=DEED) == 3
    assert await store.forget_exposures(unit=ANN) == 0
    assert await store.forget_exposures(unit=BOB) == 1
    assert told(await store.usage()) == {"shop": (0, {"stable": (3, 0, AT)})}
    assert await actions(store) == ["exposures.forget"]


async def test_what_is_old_goes(store: Store) -> None:
    """Whole hours before the time given, units that first met it before, and batches after a day."""
    batch = Exposures(
        counts={("shop", "stable", HOUR): 3, ("shop", "stable", HOUR + 1): 4},
        units=[met("stable", ANN), met("stable", BOB, AT + 3600)],
        at=AT + 3600,
    )
    await store.add_exposures(batch, batch="one")
    await store.expire_exposures(before=AT)
    assert told(await store.usage()) == {"shop": (2, {"stable": (7, 2, AT + 3600)})}
    await store.expire_exposures(before=AT + 3600)

    assert told(await store.usage()) == {"shop": (1, {"stable": (4, 1, AT + 3600)})}
    assert not await store.add_exposures(batch, batch="one")
    await store.add_exposures(Exposures(counts={}, at=AT + 200_000), batch="two")
    await store.expire_exposures(before=AT)
    assert await store.add_exposures(batch, batch="one")


async def test_units_are_bounded(store: Store) -> None:
    """The newest stay."""
    units = [met("stable", f"{number:016x}", AT + number) for number in range(10)]
    await store.add_exposures(Exposures(counts={}, units=units, at=AT), batch="one")
    await store.expire_exposures(before=AT, most=4)

    assert [row.units for row in await store.usage()] == [4]
    assert await store.forget_exposures(unit=f"{9:016x}") == 1
    assert await store.forget_exposures(unit=f"{5:016x}") == 0


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 256, "'; DROP TABLE exposures; --", '["a"'])
async def test_any_name_may_be_met(store: Store, name: str) -> None:
    """None breaks a statement or meets another's counts."""
    batch = Exposures(counts={(name, name, HOUR): 1}, units=[met(name, ANN, flag=name)], at=AT)
    assert await store.add_exposures(batch, batch="one")
    assert [(row.units, row.variants[0].evaluations) for row in await store.usage(flag=name)] == [(1, 1)]


async def test_environments_are_apart(store: Store) -> None:
    """Counts, units, batches and what is forgotten."""
    batch = Exposures(counts={("shop", "stable", HOUR): 3}, units=[met("stable", ANN)], at=AT)
    prod = store.of("prod")
    await prod.open()
    assert await store.add_exposures(batch, batch="one")
    assert await prod.usage() == []
    assert await prod.add_exposures(batch, batch="one")
    assert await store.forget_exposures(unit=ANN) == 1
    assert told(await prod.usage()) == {"shop": (1, {"stable": (3, 1, AT)})}
