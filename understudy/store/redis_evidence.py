"""Evidence in Redis: counts in one hash, samples in three, and every batch in one script."""

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.errors import StoreError
from understudy.store.evidence import Key, Mark, check_sequence, clearing, count_key, count_of, count_rows
from understudy.store.redis_access import audited
from understudy.store.redis_link import RedisLink
from understudy.store.rules import json_text, printable
from understudy.store.sample import (
    SECRET_BYTES,
    Bounds,
    Sample,
    SampleRow,
    damaged_sample,
    keep,
    sample_row,
    stored_sample,
)

PAGE = 5000
"""Counts are read about so many at a time."""

TRIES = 50
"""How often a change of samples is tried when others change them too; the deadline comes first."""

_BATCH = (
    "evidence",
    "sources",
    "seen",
    "samples:changes",
    "samples:light",
    "samples:bodies",
    "samples:wholes",
)


class RedisEvidence:
    """The evidence behind *link*. What the choice between samples looks at is remembered here, too."""

    def __init__(
        self, link: RedisLink, environment: str, *, bounds: Bounds, clock: Callable[[], float] | None
    ) -> None:
        """Without *clock*, samples grow old by Redis's: a host whose own is wrong drops nobody's."""
        self._link = link
        self._environment = environment
        self._batch = [link.within(environment, name) for name in _BATCH]
        self._sample_keys = self._batch[3:]
        self._cleared = link.within(environment, "cleared")
        self._bounds = bounds
        self._clock = clock
        self._ahead_seconds = 0.0
        self._changes = ""
        self._light: dict[int, SampleRow] = {}

    async def add(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        check_sequence(sequence)
        counted = [part for text, n in count_rows(counts).items() for part in (text, str(n))]
        fresh = [sample_row(sample) for sample in samples]
        if not self._changes:
            await self._look()
        for _ in range(TRIES):
            changes, light = self._changes, self._light
            new, gone, kept = self._choose(light, fresh)
            is_changing = bool(gone or new)
            result = await self._link.run(
                "add_evidence",
                self._batch,
                printable(source),
                f"{sequence:019d}",
                self._bounds.sources,
                changes if is_changing else "",
                len(counted) // 2,
                *counted,
                len(gone),
                *gone,
                len(new),
                *(part for number, row in new.items() for part in (number, _light(row), row.body, row.whole)),
            )
            if result >= 0:
                if result and is_changing:
                    self._remember(changes, str(int(changes) + 1), kept)
                return bool(result)
            await self._look()
        raise self._too_busy()

    def _choose(
        self, light: dict[int, SampleRow], fresh: list[SampleRow]
    ) -> tuple[dict[int, SampleRow], list[int], dict[int, SampleRow]]:
        """(what is new and stays, the numbers of what goes, all that stays then)."""
        numbered = dict(enumerate(fresh, start=max(light, default=0) + 1))
        both = {**light, **numbered}
        candidates = [row.candidate(number) for number, row in both.items()]
        kept = {choice.id: both[choice.id] for choice in keep(candidates, self._bounds, now=self._now())}
        new = {number: row for number, row in numbered.items() if number in kept}
        return new, [number for number in light if number not in kept], kept

    def _remember(self, before: str, after: str, kept: dict[int, SampleRow]) -> None:
        """Note what this process itself has changed, unless somebody looked meanwhile."""
        if self._changes == before:
            self._changes = after
            self._light = {number: row._replace(body="", whole="") for number, row in kept.items()}

    async def _look(self) -> None:
        changes, flat, seconds = await self._link.run("samples", self._sample_keys[:2])
        self._ahead_seconds = int(seconds) - time.monotonic()
        pairs = zip(flat[::2], flat[1::2], strict=True)
        self._changes = changes.decode()
        self._light = {int(number): _row(light) for number, light in pairs}

    def _now(self) -> float:
        return self._clock() if self._clock is not None else time.monotonic() + self._ahead_seconds

    async def counts(self) -> Ledger:
        """See Store.evidence."""
        cursor, found = 0, dict[bytes, bytes]()
        while True:
            async with self._link.asking() as client:
                cursor, page = await client.hscan(self._link.key(self._batch[0]), cursor, count=PAGE)
            found.update(page)  # a key that comes twice is counted once
            if not int(cursor):
                break
        ledger = Ledger()
        texts = ((text.decode("utf-8", "replace"), n) for text, n in found.items())
        ledger.add({count_key(text): count_of(text, n) for text, n in texts})
        return ledger

    async def mark(self) -> Mark:
        """See Store.evidence_mark."""
        found = await self._link.run("evidence_mark", [self._batch[2], self._cleared])
        return Mark(clearing=int(found[0]), batches=int(found[1]))

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        await self._look()
        young = self._young()
        bodies = await self._parts("bodies", list(young))
        rows = [row._replace(body=bodies[number]) for number, row in young.items() if number in bodies]
        return [stored_sample(row) for row in sorted(rows)]

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        await self._look()
        for number, row in self._young().items():
            if row.name == printable(name):
                bodies = await self._parts("bodies", [number])
                wholes = await self._parts("wholes", [number])
                if number in bodies:
                    whole = wholes.get(number, "")
                    return stored_sample(row._replace(body=bodies[number], whole=whole))
        return None

    async def forget(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        for _ in range(TRIES):
            await self._look()
            changes, light = self._changes, self._light
            gone = [number for number, row in light.items() if unit is None or row.unit == printable(unit)]
            if await self._are_forgotten(changes, gone, deed):
                kept = {number: row for number, row in light.items() if number not in gone}
                self._remember(changes, str(int(changes) + 1), kept)
                return len(gone)
        raise self._too_busy()

    async def _are_forgotten(self, changes: str, gone: list[int], deed: Deed | None) -> bool:
        """Forget the samples *gone*; False when samples have changed since *changes*."""
        if deed is None:
            return int(await self._link.run("forget_samples", self._sample_keys, changes, *gone)) >= 0
        counted, *parts = map(self._link.key, self._sample_keys)
        guards = [("GET", counted, "", "" if changes == "0" else changes)]
        commands = [("HDEL", part, number) for number in gone for part in parts]
        done = await audited(
            self._link,
            replace(deed, environment=self._environment),
            keys=self._sample_keys,
            guards=guards,
            commands=[*commands, ("INCR", counted)],
        )
        return done == 0

    async def clear(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        changes, *parts = self._sample_keys
        keys = [changes, self._cleared, self._batch[0], *parts]
        if deed is None:
            await self._link.run("clear_evidence", keys, clearing())
        else:
            counted, cleared, *gone = map(self._link.key, keys)
            commands = [*(("UNLINK", key) for key in gone), ("INCR", counted), ("SET", cleared, clearing())]
            told = replace(deed, environment=self._environment)
            await audited(self._link, told, keys=keys, commands=commands)
        self._changes = ""

    async def secret(self, name: str) -> bytes:
        """See Store.secret."""
        key, field = self._link.key("secrets"), printable(name)
        for _ in range(TRIES):
            async with self._link.asking() as client:
                await client.hsetnx(key, field, secrets.token_bytes(SECRET_BYTES))
                found = await client.hget(key, field)
            if found:  # else it was deleted in between, as FLUSHALL does
                return bytes(found)
        raise StoreError(f"store {self._link.name}: the secret {name} does not stay there; try again")

    def _young(self) -> dict[int, SampleRow]:
        oldest = self._now() - self._bounds.sample_age_seconds
        return {number: row for number, row in self._light.items() if row.at >= oldest}

    async def _parts(self, part: str, numbers: list[int]) -> dict[int, str]:
        """Bodies or wholes by number; without those that are gone meanwhile."""
        if not numbers:
            return {}
        async with self._link.asking() as client:
            texts = await client.hmget(
                self._link.key(self._link.within(self._environment, f"samples:{part}")),
                [str(number) for number in numbers],
            )
        found = zip(numbers, texts, strict=True)
        return {number: text.decode() for number, text in found if text is not None}

    def _too_busy(self) -> StoreError:
        return StoreError(f"store {self._link.name}: the samples kept changing meanwhile; try again")


def _light(row: SampleRow) -> str:
    return json_text([row.key, row.priority, row.at, row.size_bytes, row.name, row.unit])


def _row(light: bytes) -> SampleRow:
    try:
        key, priority, at, size_bytes, name, unit = json.loads(light)
        return SampleRow(key, float(priority), float(at), int(size_bytes), "", name, unit)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged_sample("") from error
