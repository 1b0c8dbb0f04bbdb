"""A store in tables of SQL: the queries, the same for every database that has them."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Select, Table, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.errors import StoreError, VersionConflict
from understudy.store import schema
from understudy.store.access import rules_deed
from understudy.store.area import Area
from understudy.store.condition import Condition
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
from understudy.store.watching import EVERY_SECONDS, newer_rules

_RULES = select(
    schema.rules.c.version,
    schema.rules.c.document.label("text"),
    schema.rules.c.author,
    schema.rules.c.reason,
    schema.rules.c.at,
    schema.rules.c.sha256,
).order_by(schema.rules.c.version.desc())

_NEWEST = select(func.max(schema.rules.c.version))

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


Insert = Callable[[Table], sqlite.Insert | postgresql.Insert]
"""INSERT with ON CONFLICT, which each database's dialect has for itself, in the same words."""


class SqlStore(SqlAccess):
    """The store in *database*. ``name`` is what errors call it."""

    def __init__(
        self,
        database: Database,
        *,
        insert: Insert,
        name: str,
        bounds: Bounds | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._database = database
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._insert = insert
        added, seen = insert(schema.evidence), insert(schema.sources)
        self._add = added.on_conflict_do_update(
            index_elements=["digest"], set_={"n": schema.evidence.c.n + added.excluded.n}
        )
        self._see = seen.on_conflict_do_update(
            index_elements=["source"], set_={"sequence": seen.excluded.sequence, "seen": seen.excluded.seen}
        )

    async def open(self) -> None:
        """See Store.open."""
        await self._database.open()

    async def close(self) -> None:
        """See Store.close."""
        await self._database.close()

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
            return await connection.scalar(_NEWEST) or 0

    async def newer(self, than: int, *, seconds: float) -> StoredRules | None:
        """See Store.newer. Asks every second."""
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
        text = document_text(document)
        async with self._database.transaction(writes=Area.RULES) as connection:
            actual = max(await connection.scalar(_NEWEST) or 0, after)
            if expected is not None and expected != actual:
                raise VersionConflict(expected=expected, actual=actual)
            stored = stored_rules(version=actual + 1, text=text, author=author, reason=reason, at=at)
            await connection.execute(
                self._insert(schema.rules).values(
                    version=stored.version,
                    document=text,
                    author=stored.author,
                    reason=stored.reason,
                    at=stored.at,
                    sha256=stored.sha256,
                )
            )
            told = rules_deed(deed, author=author, reason=reason, at=at, before=actual)
            await append(connection, told)
        return stored

    async def history(self, *, limit: int = 50) -> list[StoredRules]:
        """See Store.history."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_RULES.limit(max(limit, 0)))).mappings().all()
        try:
            return [stored_rules(**row) for row in rows]
        except StoreError as error:
            raise StoreError(f"store {self.name}: {error}") from error

    async def past(self, version: int) -> StoredRules | None:
        """See Store.past."""
        return await self._first(_RULES.where(schema.rules.c.version == version))

    async def rules_at(self, at: float) -> StoredRules | None:
        """See Store.rules_at."""
        return await self._first(_RULES.where(schema.rules.c.at <= at).limit(1))

    async def _first(self, wanted: Select[Any]) -> StoredRules | None:
        """The version in the first row of *wanted*. Raises StoreError, also when it is damaged."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(wanted)).mappings().first()
        try:
            return None if row is None else stored_rules(**row)
        except StoreError as error:
            raise StoreError(f"store {self.name}: {error}") from error

    async def add_evidence(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """See Store.add_evidence."""
        check_sequence(sequence)
        rows = [{"digest": digest(text), "key": text, "n": n} for text, n in count_rows(counts).items()]
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
        cleared = select(table.sequence).where(table.source == CLEARED).scalar_subquery()
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(cleared, func.max(table.seen)))).one()
        return Mark(clearing=row[0] or 0, batches=row[1] or 0)

    async def samples(self) -> list[Sample]:
        """See Store.samples."""
        table = schema.samples.c
        oldest = self._clock() - self._bounds.sample_age_seconds
        async with self._database.transaction() as connection:
            rows = (await connection.execute(select(*_ROW).where(table.at >= oldest))).all()
        # Sorted here: databases do not agree on the order of texts.
        return [stored_sample(row) for row in sorted(SampleRow(*row) for row in rows)]

    async def sample(self, name: str) -> Sample | None:
        """See Store.sample."""
        table = schema.samples.c
        oldest = self._clock() - self._bounds.sample_age_seconds
        wanted = select(*_ROW, table.whole).where(table.name == printable(name), table.at >= oldest).limit(1)
        async with self._database.transaction() as connection:
            row = (await connection.execute(wanted)).first()
        return None if row is None else stored_sample(SampleRow(*row))

    async def forget_samples(self, *, unit: str | None, deed: Deed | None = None) -> int:
        """See Store.forget_samples."""
        wanted = delete(schema.samples)
        if unit is not None:
            wanted = wanted.where(schema.samples.c.unit == printable(unit))
        async with self._database.transaction(writes=Area.EVIDENCE) as connection:
            forgotten = (await connection.execute(wanted)).rowcount
            if deed is not None:
                await append(connection, deed)
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
            return bytes(await connection.scalar(known) or b"")

    async def clear_evidence(self, *, deed: Deed | None = None) -> None:
        """See Store.clear_evidence."""
        async with self._database.transaction(writes=Area.EVIDENCE) as connection:
            await connection.execute(delete(schema.evidence))
            await connection.execute(delete(schema.samples))
            await self._see_source(connection, CLEARED, clearing())
            if deed is not None:
                await append(connection, deed)
        await self._database.settle()

    async def _is_new(self, connection: AsyncConnection, source: str, sequence: int) -> bool:
        """Note that *source* has come to *sequence*; False when it had come that far before."""
        table = schema.sources
        last = await connection.scalar(select(table.c.sequence).where(table.c.source == source))
        if last is not None and last >= sequence:
            return False
        await self._see_source(connection, source, sequence)
        if last is None:
            newest = select(table.c.source).order_by(table.c.seen.desc()).limit(self._bounds.sources)
            await connection.execute(delete(table).where(table.c.source.not_in(newest)))
        return True

    async def _see_source(self, connection: AsyncConnection, source: str, sequence: int) -> None:
        """Note that *source*, the last one to be seen, has come to *sequence*."""
        seen = (await connection.scalar(select(func.max(schema.sources.c.seen))) or 0) + 1
        await connection.execute(self._see, {"source": source, "sequence": sequence, "seen": seen})

    async def _keep(self, connection: AsyncConnection, fresh: list[SampleRow]) -> None:
        """Store what deserves it of *fresh*; drop what no longer does of what is there."""
        table = schema.samples.c
        if not fresh:
            oldest = self._clock() - self._bounds.sample_age_seconds
            await connection.execute(delete(schema.samples).where(table.at < oldest))
            return
        light = select(table.key, table.priority, table.at, table.size_bytes, table.id)
        old = [Candidate(*row) for row in await connection.execute(light)]
        first = max((candidate.id for candidate in old), default=0) + 1
        new = dict(enumerate(fresh, start=first))
        candidates = [*old, *(row.candidate(number) for number, row in new.items())]
        kept = {candidate.id for candidate in keep(candidates, self._bounds, now=self._clock())}
        gone = [{"gone": candidate.id} for candidate in old if candidate.id not in kept]
        if gone:
            await connection.execute(delete(schema.samples).where(table.id == bindparam("gone")), gone)
        rows = [{"id": number, **row._asdict()} for number, row in new.items() if number in kept]
        if rows:
            await connection.execute(self._insert(schema.samples), rows)
