"""Who put a kill switch on, when and why."""

import pytest

from understudy.access import Deed
from understudy.app.kill_deeds import KillDeeds
from understudy.errors import StoreError
from understudy.store import MemoryStore


def deed(action: str, target: str, who: str, environment: str = "default") -> Deed:
    """*who* did it, at a moment of no matter."""
    return Deed(at=1.0, who=who, origin="", action=action, target=target, environment=environment)


@pytest.fixture
async def store() -> MemoryStore:
    """Its audit has a history."""
    made = MemoryStore()
    await made.open()
    for one in (
        deed("flag.kill", "shop", "ann"),
        deed("flag.revive", "shop", "ann"),
        deed("flag.kill", "shop", "bob"),
        deed("flag.kill", "shop", "eve", "staging"),
        deed("bulk", "flag.put new, flag.kill banner", "ci"),
        deed("flag.kill", "old", "ann"),
        deed("flag.revive", "old", "ann"),
        *[deed("flag.put", "other", "ci")] * 1_500,
    ):
        await made.record(one)
    return made


async def test_the_last_kill_is_the_one(store: MemoryStore) -> None:
    """By itself or among other changes, in this environment; after a revival nobody is named."""
    found = await KillDeeds(store).of(("shop", "banner", "old", "never"), version=1)
    assert {key: deed.who for key, deed in found.items()} == {"shop": "bob", "banner": "ci"}


async def test_the_audit_is_read_once_for_each_version(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And while the store is away what was known is told, of what is still killed."""
    deeds = KillDeeds(store)
    await deeds.of(("shop", "banner"), version=1)

    async def away() -> None:
        raise StoreError("away")

    monkeypatch.setattr(store, "audit_head", away)
    assert set(await deeds.of(("shop", "banner"), version=1)) == {"shop", "banner"}
    assert set(await deeds.of(("shop",), version=2)) == {"shop"}
    assert await deeds.of((), version=3) == {}
