"""Exposures in Redis: counts in one hash, the units of each variant in a sorted set by time.

The units of a flag stand in a set of their own, under a variant with no name in it, so that one which met two
variants is counted once.
"""

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from understudy.access import Deed
from understudy.store.exposures import (
    BATCH_SECONDS,
    HOUR_SECONDS,
    MOST_UNITS,
    Exposures,
    FlagUsage,
    usage_rows,
)
from understudy.store.redis_access import audited
from understudy.store.redis_link import RedisLink
from understudy.store.rules import json_text, printable

_BATCH: Final = ("exposures:batches", "exposures:hours", "exposures:last", "exposures:names")
PAGE: Final = 1000
"""So many hours are looked at at once."""


class RedisExposures:
    """The exposures of *environment* behind *link*."""

    def __init__(self, link: RedisLink, environment: str) -> None:
        self._link = link
        self._environment = environment
        self._keys = [link.within(environment, name) for name in _BATCH]

    async def add(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        hours: list[str | int] = []
        for (flag, variant, hour), n in exposures.counts.items():
            hours += [_name(flag, variant, hour), n, _name(flag, variant)]
        sets: dict[str, int] = {}
        units: list[str | int] = []
        for met in exposures.units:
            for name in (_name(met.flag, met.variant), _name(met.flag)):
                units += [sets.setdefault(name, len(sets) + 1), met.unit, repr(met.at)]
        added = await self._link.run(
            "add_exposures",
            [*self._keys, *map(self._set, sets)],
            printable(batch),
            repr(exposures.at),
            len(hours) // 3,
            *hours,
            len(sets),
            *sets,
            len(units) // 3,
            *units,
        )
        return bool(added)

    async def usage(self, *, flag: str | None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        _, hours, last, _ = map(self._link.key, self._keys)
        async with self._link.asking() as client:
            counted, times = await client.hgetall(hours), await client.hgetall(last)
        counts: dict[tuple[str, str], tuple[int, float]] = {}
        for text, n in counted.items():
            name, variant, _ = json.loads(text)
            known, _ = counts.get((name, variant), (0, 0.0))
            counts[name, variant] = (known + int(n), float(times.get(_name(name, variant).encode(), 0)))
        units: dict[tuple[str, str], int] = {}
        totals: dict[str, int] = {}
        for parts, n in zip(*await self._sizes(), strict=True):
            if len(parts) == 1 and n:
                totals[parts[0]] = n
            elif n:
                units[parts[0], parts[1]] = n
        rows = usage_rows(counts, units, totals)
        return [row for row in rows if flag is None or row.flag == printable(flag)]

    async def _sizes(self) -> tuple[list[list[str]], list[int]]:
        names = await self._names()
        async with self._link.asking() as client:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.zcard(self._link.key(self._set(name)))
            sizes = await pipeline.execute() if names else []
        return [json.loads(name) for name in names], [int(size) for size in sizes]

    async def _names(self) -> list[str]:
        async with self._link.asking() as client:
            return sorted(name.decode() for name in await client.smembers(self._link.key(self._keys[3])))

    async def forget(self, *, unit: str, deed: Deed | None) -> int:
        """See ExposureStore.forget_exposures."""
        names = await self._names()
        sets = [self._set(name) for name in names]
        async with self._link.asking() as client:
            pipeline = client.pipeline(transaction=False)
            for key in sets:
                pipeline.zscore(self._link.key(key), unit)
            scores = await pipeline.execute() if sets else []
        held = [pair for pair in zip(names, sets, scores, strict=True) if pair[2] is not None]
        commands: list[tuple[Any, ...]] = [("ZREM", self._link.key(key), unit) for _, key, _ in held]
        if deed is not None:
            told = replace(deed, environment=self._environment)
            await audited(self._link, told, keys=[key for _, key, _ in held], commands=commands)
        else:
            async with self._link.asking() as client:
                for command in commands:
                    await client.execute_command(*command)
        return sum(len(json.loads(name)) == 2 for name, _, _ in held)

    async def expire(self, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures; *most* are kept of each variant here."""
        batches, hours, _, _ = map(self._link.key, self._keys)
        names = await self._names()
        async with self._link.asking() as client:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                key = self._link.key(self._set(name))
                pipeline.zremrangebyscore(key, "-inf", f"({before!r}")
                pipeline.zremrangebyrank(key, 0, -most - 1)
            newest = await client.zrange(batches, -1, -1, withscores=True)
            if newest:
                pipeline.zremrangebyscore(batches, "-inf", newest[0][1] - BATCH_SECONDS)
            await pipeline.execute()
            counted = await client.hkeys(hours)
            gone = [text for text in counted if json.loads(text)[2] < before // HOUR_SECONDS]
            for start in range(0, len(gone), PAGE):
                await client.hdel(hours, *gone[start : start + PAGE])

    def _set(self, name: str) -> str:
        digest = blake2b(name.encode(), digest_size=16).hexdigest()
        return self._link.within(self._environment, f"exposures:units:{digest}")


def _name(*parts: str | int) -> str:
    return json_text([printable(part) if isinstance(part, str) else part for part in parts])
