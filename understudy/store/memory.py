"""A store that lives and ends with its process."""

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.config import DEFAULT_ENVIRONMENT
from understudy.errors import StoreError, VersionConflict
from understudy.store.access import rules_deed
from understudy.store.condition import Condition
from understudy.store.environment import Environment
from understudy.store.evidence import Key, Mark, check_sequence, count_rows
from understudy.store.exposures import MOST_UNITS, Exposures, FlagUsage
from understudy.store.memory_access import MemoryAccess
from understudy.store.memory_exposures import MemoryExposures
from understudy.store.rules import StoredRules, document_text, stored_rules
from understudy.store.sample import (
    SECRET_BYTES,
    Bounds,
    Sample,
    SampleRow,
    keep,
    sample_row,
    stored_sample,
)
from understudy.store.watching import EVERY_SECONDS, newer_rules


class MemoryStore(MemoryAccess):
    """``memory://``: for tests, demonstrations and trials. Nothing survives the process."""

    def __init__(
        self,
        *,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        super().__init__()
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._secrets: dict[str, bytes] = {}
        self._all: dict[str, MemoryStore] = {}
        self._is_owner = True
        self._begin(environment)

    def _begin(self, environment: str) -> None:
        """Hold nothing of *environment* yet; what is of all of them stays."""
        self.environment = environment
        self._all[environment] = self
        self._services: tuple[str, ...] | None = None
        self._is_open = False
        self._versions: list[dict[str, Any]] = []
        self._counts = Ledger()
        self._mark = Mark(0, 0)
        self._sources: dict[str, int] = {}
        self._samples: list[SampleRow] = []
        self._exposures = MemoryExposures()

    async def open(self) -> None:
        """See Store.open."""
        self._is_open = True

    async def close(self) -> None:
        """See Store.close."""
        for store in self._all.values() if self._is_owner else ():
            store._is_open = False

    def of(self, environment: str) -> "MemoryStore":
        """See Store.of."""
        if environment not in self._all:
            other = copy(self)
            other._is_owner = False
            other._begin(environment)
        return self._all[environment]

    async def environments(self) -> list[Environment]:
        """See Store.environments."""
        self._check_open()
        told = [store._told() for _, store in sorted(self._all.items())]
        return [
            environment for environment in told if environment.version or environment.services is not None
        ]

    def _told(self) -> Environment:
        newest: dict[str, Any] = self._versions[-1] if self._versions else {"version": 0, "at": 0.0}
        return Environment(
            name=self.environment, version=newest["version"], at=newest["at"], services=self._services
        )

    async def note_services(self, services: Collection[str]) -> None:
        """See Store.note_services."""
        self._check_open()
        self._services = tuple(sorted(services))

    def condition(self) -> Condition:
        """See Store.condition."""
        return Condition()

    async def rules(self) -> StoredRules | None:
        """See Store.rules."""
        self._check_open()
        return stored_rules(**self._versions[-1]) if self._versions else None

    async def version(self) -> int:
        """See Store.version."""
        self._check_open()
        return int(self._versions[-1]["version"]) if self._versions else 0

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer."""
        return await newer_rules(self, than, seconds=seconds, every=EVERY_SECONDS)

    async def put_rules(
        self,
        document: Mapping[str, Any],
        *,
        expected: int | None,
        author: str,
        reason: str,
        at: float,
        deed: Deed | None = None,
        after: int = 0,
    ) -> StoredRules:
        """See Store.put_rules."""
        self._check_open()
        text = document_text(document)
        actual = max(await self.version(), after)
        if expected is not None and expected != actual:
            raise VersionConflict(expected=expected, actual=actual)
        row: dict[str, Any] = {
            "version": actual + 1,
            "text": text,
            "author": author,
            "reason": reason,
            "at": at,
        }
        stored = stored_rules(**row)
        self._versions.append(row)
        told = rules_deed(
            deed, author=author, reason=reason, at=at, before=actual, environment=self.environment
        )
        self._append(told)
        return stored

    async def history(self, *, limit: int = 50, is_brief: bool = False) -> list[StoredRules]:
        """See Store.history."""
        self._check_open()
        found = [stored_rules(**row) for row in self._versions[: -max(limit, 0) - 1 : -1]]
        return [replace(rules, document={}) for rules in found] if is_brief else found

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        self._check_open()
        found = [row for row in self._versions if row["version"] == version]
        return stored_rules(**found[0]) if found else None

    async def rules_at(self, at: float) -> StoredRules | None:
        """See Store.rules_at."""
        self._check_open()
        found = [row for row in self._versions if row["at"] <= at]
        return stored_rules(**found[-1]) if found else None

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        self._check_open()
        check_sequence(sequence)
        count_rows(counts)  # what no store can take, this one does not take either
        fresh = [sample_row(sample) for sample in samples]
        if self._sources.get(source, sequence - 1) >= sequence:
            return False
        self._remember(source, sequence)
        self._mark = self._mark._replace(batches=self._mark.batches + 1)
        self._counts.add(counts)
        self._keep(self._samples + fresh)
        return True

    async def evidence(self) -> Ledger:
        """See Store.evidence."""
        self._check_open()
        return Ledger(self._counts)

    async def evidence_mark(self) -> Mark:
        """See Store.evidence_mark."""
        self._check_open()
        return self._mark

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        self._check_open()
        self._keep(self._samples)
        return [stored_sample(row._replace(whole="")) for row in sorted(self._samples)]

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        self._check_open()
        self._keep(self._samples)
        return next((stored_sample(row) for row in self._samples if row.name == name), None)

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        self._check_open()
        kept = [row for row in self._samples if unit is not None and row.unit != unit]
        forgotten = len(self._samples) - len(kept)
        self._samples = kept
        if deed is not None:
            self._append(replace(deed, environment=self.environment))
        return forgotten

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        self._check_open()
        return self._exposures.add(exposures, batch=batch)

    async def usage(self, *, flag: str | None = None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        self._check_open()
        return self._exposures.usage(flag=flag)

    async def forget_exposures(self, *, unit: str, deed: Deed | None = None) -> int:
        """See ExposureStore.forget_exposures."""
        self._check_open()
        forgotten = self._exposures.forget(unit=unit)
        if deed is not None:
            self._append(replace(deed, environment=self.environment))
        return forgotten

    async def expire_exposures(self, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures."""
        self._check_open()
        self._exposures.expire(before=before, most=most)

    async def secret(self, name: str) -> bytes:
        """See Store.secret."""
        self._check_open()
        return self._secrets.setdefault(name, secrets.token_bytes(SECRET_BYTES))

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        self._check_open()
        self._counts.clear()
        self._mark = self._mark._replace(clearing=self._mark.clearing + 1)
        self._samples.clear()
        if deed is not None:
            self._append(replace(deed, environment=self.environment))

    def _remember(self, source: str, sequence: int) -> None:
        self._sources.pop(source, None)
        self._sources[source] = sequence
        while len(self._sources) > self._bounds.sources:
            del self._sources[next(iter(self._sources))]

    def _keep(self, rows: list[SampleRow]) -> None:
        candidates = [row.candidate(number) for number, row in enumerate(rows)]
        self._samples = [rows[kept.id] for kept in keep(candidates, self._bounds, now=self._clock())]

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreError("store memory://: is not open")
