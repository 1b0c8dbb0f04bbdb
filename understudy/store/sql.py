"""A store in tables of SQL: the queries, the same for every database that has them."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Delete, Float, Select, Table, bindparam, delete, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.config import DEFAULT_ENVIRONMENT
from understudy.errors import StoreError, VersionConflict
from understudy.store import schema
from understudy.store.access import rules_deed
from understudy.store.area import Area
from understudy.store.condition import Condition
from understudy.store.environment import Environment, read_services, services_text
from understudy.store.evidence import Key, Mark, check_sequence, clearing, count_key, count_rows, digest
from understudy.store.rules import StoredRules, document_text, printable, stored_rules
from understudy.store.sample import (
    SECRET_BYTES,
    Bounds,
    Candidate,
    Sample,
    SampleRow,
    keep,
    sample_row,
    stored_sample,
)
from understudy.store.sql_access import SqlAccess, append
from understudy.store.sql_database import Database
from understudy.store.sql_exposures import Insert, SqlExposures
from understudy.store.watching import EVERY_SECONDS, newer_rules

_rules = schema.rules.c
_BRIEF = select(_rules.version, _rules.author, _rules.reason, _rules.at, _rules.sha256).order_by(
    _rules.version.desc()
)
_RULES = _BRIEF.add_columns(_rules.document.label("text"))

CLEARED = "evidence cleared"
"""Among the sources: each clearing is a batch of its own, so that everybody sees it."""

PAGE = 5000
"""Counts are read so many at a time."""

_samples = schema.samples.c
_ROW = (
    _samples.key,
    _samples.priority,
    _samples.at,
    _samples.size_bytes,
    _samples.body,
    _samples.name,
    _samples.unit,
)


class SqlStore(SqlAccess, SqlExposures):
    """The store in *database*. ``name`` is what errors call it."""

    def __init__(
        self,
        database: Database,
        *,
        insert: Insert,
        name: str,
        bounds: Bounds | None,
        clock: Callable[[], float] | ColumnElement[float],
        environment: str = DEFAULT_ENVIRONMENT,
    ) -> None:
        self.name = name
        self._environment = environment
        self._others: dict[str, SqlStore] = {environment: self}
        self._is_owner = True
        self._database = database
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._insert = insert
        added, seen = insert(schema.evidence), insert(schema.sources)
        self._add = added.on_conflict_do_update(
            index_elements=["environment", "digest"], set_={"n": schema.evidence.c.n + added.excluded.n}
        )
        self._see = seen.on_conflict_do_update(
            index_elements=["environment", "source"],
            set_={"sequence": seen.excluded.sequence, "seen": seen.excluded.seen},
        )

    async def open(self) -> None:
        """See Store.open."""
        await self._database.open()

    async def close(self) -> None:
        """See Store.close."""
        if self._is_owner:
            await self._database.close()

    @property
    def environment(self) -> str:
        """See Store.environment."""
        return self._environment

    def of(self, environment: str) -> "SqlStore":
        """See Store.of."""
        if environment not in self._others:
            other = copy(self)
            other._environment, other._is_owner = environment, False
            self._others[environment] = other
        return self._others[environment]

    async def environments(self) -> list[Environment]:
        """See Store.environments."""
        noted, newest = schema.environments.c, func.max(_rules.version).label("version")
        versions = select(_rules.environment, newest).group_by(_rules.environment).subquery()
        stored = select(_rules.environment, _rules.version, _rules.at).join(
            versions,
            (_rules.environment == versions.c.environment) & (_rules.version == versions.c.version),
        )
        async with self._database.transaction() as connection:
            held = {name: (version, at) for name, version, at in await connection.execute(stored)}
            services = await connection.execute(select(noted.environment, noted.services))
            known = {name: read_services(text) for name, text in services}
        return [
            Environment(name=name, version=version, at=at, services=known.get(name))
            for name in sorted({*held, *known})
            for version, at in [held.get(name, (0, 0.0))]
        ]

    async def note_services(self, services: Collection[str]) -> None:
        """See Store.note_services."""
        table, text = schema.environments, services_text(services)
        known = select(table.c.services).where(table.c.environment == self._environment)
        async with self._database.transaction() as connection:
            if await connection.scalar(known) == text:
                return
        noted = self._insert(table).values(environment=self._environment, services=text)
        async with self._database.transaction(writes=Area.RULES) as connection:
            await connection.execute(
                noted.on_conflict_do_update(index_elements=["environment"], set_={"services": text})
            )

    def condition(self) -> Condition:
        """See Store.condition."""
        return Condition()

    async def rules(self) -> StoredRules | None:
        """See Store.rules."""
        newest = await self.history(limit=1)
        return newest[0] if newest else None

    async def version(self) -> int:
        """See Store.version."""
        async with self._database.transaction() as connection:
            return await connection.scalar(self._newest) or 0

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer. Asks every second, and when the bell rings."""
        async with self._database.listening() as bell:
            return await newer_rules(self, than, seconds=seconds, every=EVERY_SECONDS, bell=bell)

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
        # In a thread, as everything here that reads or writes megabytes of rules: probes and evidence go on.
        text = await asyncio.to_thread(document_text, document)
        fresh = await asyncio.to_thread(
            stored_rules, version=0, text=text, author=author, reason=reason, at=at
        )
        async with self._database.transaction(writes=Area.RULES) as connection:
            actual = max(await connection.scalar(self._newest) or 0, after)
            if expected is not None and expected != actual:
                raise VersionConflict(expected=expected, actual=actual)
            stored = replace(fresh, version=actual + 1)
            await connection.execute(
                self._insert(schema.rules).values(
                    environment=self._environment,
                    version=stored.version,
                    document=text,
                    author=stored.author,
                    reason=stored.reason,
                    at=stored.at,
                    sha256=stored.sha256,
                )
            )
            told = rules_deed(
                deed, author=author, reason=reason, at=at, before=actual, environment=self._environment
            )
            await append(connection, told)
            await self._database.ring(connection)
        return stored

    async def history(self, *, limit: int = 50, is_brief: bool = False) -> list[StoredRules]:
        """See Store.history."""
        wanted = (_BRIEF if is_brief else _RULES).where(_rules.environment == self._environment)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(wanted.limit(max(limit, 0)))).mappings().all()
        if is_brief:
            return [StoredRules(document={}, **row) for row in rows]
        try:
            return [await asyncio.to_thread(stored_rules, **row) for row in rows]
        except StoreError as error:
            raise StoreError(f"store {self.name}: {error}") from error

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        return await self._first(
            _RULES.where(_rules.environment == self._environment, _rules.version == version)
        )

    async def rules_at(self, at: float) -> StoredRules | None:
        """See Store.rules_at."""
        return await self._first(
            _RULES.where(_rules.environment == self._environment, _rules.at <= at).limit(1)
        )

    async def _first(self, wanted: Select[Any]) -> StoredRules | None:
        """The version in the first row of *wanted*. Raises StoreError, also when it is damaged."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(wanted)).mappings().first()
        try:
            return None if row is None else await asyncio.to_thread(stored_rules, **row)
        except StoreError as error:
            raise StoreError(f"store {self.name}: {error}") from error

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        check_sequence(sequence)
        own = self._own
        rows = [
            {**own, "digest": digest(text), "key": text, "n": n} for text, n in count_rows(counts).items()
        ]
        # In one order everywhere, so that two writers never wait for each other's rows.
        rows.sort(key=itemgetter("digest"))
        fresh = [sample_row(sample) for sample in samples]
        async with self._database.transaction(writes=Area.EVIDENCE) as connection:
            if not await self._is_new(connection, printable(source), sequence):
                return False
            if rows:
                await connection.execute(self._add, rows)
            await self._keep(connection, fresh)
        return True

    async def evidence(self) -> Ledger:
        """See Store.evidence."""
        table, ledger, last = schema.evidence.c, Ledger(), b""
        page = select(table.key, table.n, table.digest).order_by(table.digest).limit(PAGE)
        page = page.where(table.environment == self._environment)
        while True:
            # A page is a transaction of its own: a deadline then bounds a page, and memory holds one.
            async with self._database.transaction() as connection:
                rows = (await connection.execute(page.where(table.digest > last))).all()
            ledger.add({count_key(text): n for text, n, _ in rows})
            if len(rows) < PAGE:
                return ledger
            last = rows[-1].digest

    async def evidence_mark(self) -> Mark:
        """See Store.evidence_mark."""
        table = schema.sources.c
        mine = table.environment == self._environment
        cleared = select(table.sequence).where(mine, table.source == CLEARED).scalar_subquery()
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(cleared, func.max(table.seen)).where(mine))).one()
        return Mark(clearing=row[0] or 0, batches=row[1] or 0)

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        table = schema.samples.c
        mine = table.environment == self._environment
        oldest = self._now - self._bounds.sample_age_seconds
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(*_ROW).where(mine, table.at >= oldest))).all()
        # Sorted here: databases do not agree on the order of texts.
        return [stored_sample(row) for row in sorted(SampleRow(*row) for row in rows)]

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        table = schema.samples.c
        oldest = self._now - self._bounds.sample_age_seconds
        wanted = select(*_ROW, table.whole).where(
            table.environment == self._environment, table.name == printable(name), table.at >= oldest
        )
        async with self._database.transaction() as connection:
            row = (await connection.execute(wanted.limit(1))).first()
        return None if row is None else stored_sample(SampleRow(*row))

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        wanted = self._all_of(schema.samples)
        if unit is not None:
            wanted = wanted.where(schema.samples.c.unit == printable(unit))
        async with self._database.transaction(writes=Area.EVIDENCE) as connection:
            forgotten = (await connection.execute(wanted)).rowcount
            if deed is not None:
                await append(connection, replace(deed, **self._own))
        await self._database.settle()
        return forgotten

    async def secret(self, name: str) -> bytes:
        """See Store.secret."""
        table = schema.secrets
        known = select(table.c.value).where(table.c.name == name)
        async with self._database.transaction() as connection:
            found = await connection.scalar(known)
        if found is not None:
            return bytes(found)
        fresh = self._insert(table).values(name=name, value=secrets.token_bytes(SECRET_BYTES))
        async with self._database.transaction(writes=Area.SECRETS) as connection:
            await connection.execute(fresh.on_conflict_do_nothing())
            found = await connection.scalar(known)
        if not found:
            raise StoreError(f"store {self.name}: the secret {name} does not stay there; try again")
        return bytes(found)

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        async with self._database.transaction(writes=Area.EVIDENCE) as connection:
            await connection.execute(self._all_of(schema.evidence))
            await connection.execute(self._all_of(schema.samples))
            await self._see_source(connection, CLEARED, clearing())
            if deed is not None:
                await append(connection, replace(deed, **self._own))
        await self._database.settle()

    @property
    def _now(self) -> ColumnElement[float]:
        return literal(self._clock(), Float) if callable(self._clock) else self._clock

    @property
    def _own(self) -> dict[str, Any]:
        return {"environment": self._environment}

    @property
    def _newest(self) -> Select[Any]:
        return select(func.max(_rules.version)).where(_rules.environment == self._environment)

    def _all_of(self, table: Table) -> Delete:
        return delete(table).where(table.c.environment == self._environment)

    async def _is_new(self, connection: AsyncConnection, source: str, sequence: int) -> bool:
        """Note that *source* has come to *sequence*; False when it had come that far before."""
        table = schema.sources
        mine = table.c.environment == self._environment
        last = await connection.scalar(select(table.c.sequence).where(mine, table.c.source == source))
        if last is not None and last >= sequence:
            return False
        await self._see_source(connection, source, sequence)
        if last is None:
            newest = select(table.c.source).where(mine).order_by(table.c.seen.desc())
            newest = newest.limit(self._bounds.sources)
            await connection.execute(delete(table).where(mine, table.c.source.not_in(newest)))
        return True

    async def _see_source(self, connection: AsyncConnection, source: str, sequence: int) -> None:
        """Note that *source*, the last one to be seen, has come to *sequence*."""
        table = schema.sources.c
        last = select(func.max(table.seen)).where(table.environment == self._environment)
        seen = (await connection.scalar(last) or 0) + 1
        await connection.execute(
            self._see, {**self._own, "source": source, "sequence": sequence, "seen": seen}
        )

    async def _keep(self, connection: AsyncConnection, fresh: list[SampleRow]) -> None:
        """Store what deserves it of *fresh*; drop what no longer does of what is there."""
        table = schema.samples.c
        if not fresh:
            oldest = self._now - self._bounds.sample_age_seconds
            await connection.execute(self._all_of(schema.samples).where(table.at < oldest))
            return
        light = select(table.key, table.priority, table.at, table.size_bytes, table.id)
        light = light.where(table.environment == self._environment)
        old = [Candidate(*row) for row in await connection.execute(light)]
        last, now = (await connection.execute(select(func.max(table.id), self._now))).one()
        first = (last or 0) + 1
        new = dict(enumerate(fresh, start=first))
        candidates = [*old, *(row.candidate(number) for number, row in new.items())]
        kept = {candidate.id for candidate in keep(candidates, self._bounds, now=now)}
        gone = [{"gone": candidate.id} for candidate in old if candidate.id not in kept]
        if gone:
            await connection.execute(delete(schema.samples).where(table.id == bindparam("gone")), gone)
        rows = [{**self._own, "id": number, **row._asdict()} for number, row in new.items() if number in kept]
        if rows:
            await connection.execute(self._insert(schema.samples), rows)
