"""What a store tells of who met which variant, read beside the application that wrote it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from understudy.app.intake import UNIT_KEY
from understudy.middleware import exposing, stage
from understudy.shadow import unit_digest
from understudy.store import Store, open_store

Counts = dict[tuple[str, str], int]

FLAGS: dict[str, Any] = {
    "new_cart": {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"==": [{"var": "targetingKey"}, "ann"]}, "on", "off"]},
    },
    "colour": {"state": "ENABLED", "variants": {"blue": "#00f"}, "defaultVariant": "blue"},
    "none": {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": None},
}
"""Flags that no route consults; of ``none`` nobody meets a variant."""

TARGETED = {
    "if": [
        {"in": [{"var": "targetingKey"}, ["carl", "cora"]]},
        "canary",
        {"if": [{"in": [{"var": "targetingKey"}, ["dan"]]}, "dark", "stable"]},
    ]
}
"""Carl and Cora meet the canary, Dan is mirrored."""


@pytest.fixture(autouse=True)
def patient_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an application loses after two seconds, as it ends on a busy machine, would be missing here."""
    monkeypatch.setattr(stage, "LAST_BATCHES_SECONDS", 25.0)
    monkeypatch.setattr(exposing, "LAST_SECONDS", 25.0)


def configuration(folder: Path, service: str, **more: Any) -> dict[str, Any]:
    """A SQLite store and all kinds of variants; *service* is the canary and the shadow."""
    shop = {
        "state": "ENABLED",
        "variants": {"stable": {}, "canary": {"serve": "v2"}, "dark": {"mirror": ["v2"]}},
        "defaultVariant": "stable",
        "targeting": TARGETED,
    }
    return {
        "store": f"sqlite:///{folder}/understudy.db",
        "services": {"v2": {"url": service}},
        "flags": {"shop": shop, **FLAGS},
        "routes": [
            {"path": "/plain", "serve": "app"},
            {"path": "/", "flag": "shop", "unit": "header:x-user"},
        ],
        "shadow": {"control": 0},
        **more,
    }


async def usage(store: Store) -> tuple[Counts, Counts]:
    """Evaluations and units by flag and variant."""
    found = [(flag.flag, row) for flag in await store.usage() for row in flag.variants]
    return (
        {(flag, row.variant): row.evaluations for flag, row in found},
        {(flag, row.variant): row.units for flag, row in found if row.units},
    )


async def opened(config: dict[str, Any]) -> Store:
    """The store of *config*."""
    store = open_store(config["store"])
    await store.open()
    return store


async def stored(config: dict[str, Any]) -> tuple[Counts, Counts]:
    """What is in the store of *config* now."""
    store = await opened(config)
    try:
        return await usage(store)
    finally:
        await store.close()


async def forget(config: dict[str, Any], unit: str) -> int:
    """Forget *unit*, as a control process does that has the same store."""
    store = await opened(config)
    try:
        return await store.forget_exposures(unit=unit_digest(await store.secret(UNIT_KEY), unit))
    finally:
        await store.close()


async def until_stored(config: dict[str, Any], counts: Counts) -> None:
    """Wait until the store has *counts* while the application runs. Raises TimeoutError."""
    store = await opened(config)
    limit = time.monotonic() + 60
    try:
        while (found := (await usage(store))[0]) != counts:
            if time.monotonic() > limit:
                raise TimeoutError(str(found))
            await asyncio.sleep(0.05)
    finally:
        await store.close()
