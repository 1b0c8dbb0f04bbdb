"""Exposures in SQL, for every database that SQLAlchemy knows."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Delete, Table, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from understudy.access import Deed
from understudy.store import schema
from understudy.store.area import Area
from understudy.store.exposures import (
    BATCH_SECONDS,
    HOUR_SECONDS,
    MOST_UNITS,
    Exposures,
    FlagUsage,
    usage_rows,
)
from understudy.store.rules import printable
from understudy.store.sql_access import append
from understudy.store.sql_database import Database

_hours, _units, _batches = schema.exposures, schema.exposed_units, schema.exposure_batches
Insert = Callable[[Table], sqlite.Insert | postgresql.Insert]
"""INSERT with ON CONFLICT, which each database's dialect has for itself, in the same words."""


class SqlExposures:
    """The part of a store in SQL that `ExposureStore` names. Needs what is declared here."""

    _database: Database
    _environment: str
    _insert: Insert

    async def add_exposures(self, exposures: Exposures, *, batch: str) -> bool:
        """See ExposureStore.add_exposures."""
        own = {"environment": self._environment}
        hours = [
            {**own, "flag": printable(flag), "variant": printable(variant), "hour": hour, "n": n}
            | {"last_at": exposures.at}
            for (flag, variant, hour), n in sorted(exposures.counts.items())
        ]
        # In one order everywhere, so that two writers never wait for each other's rows.
        units = [
            {**own, "flag": flag, "variant": variant, "unit": unit, "at": at}
            for (flag, variant, unit), at in sorted(
                {
                    (printable(met.flag), printable(met.variant), met.unit): met.at for met in exposures.units
                }.items()
            )
        ]
        mark = self._insert(_batches).values(**own, batch=printable(batch), at=exposures.at)
        async with self._database.transaction(writes=Area.EXPOSURES) as connection:
            if not (await connection.execute(mark.on_conflict_do_nothing())).rowcount:
                return False
            if hours:
                await connection.execute(self._adding(), hours)
            if units:
                await connection.execute(self._insert(_units).on_conflict_do_nothing(), units)
        return True

    def _adding(self) -> sqlite.Insert | postgresql.Insert:
        added = self._insert(_hours)
        new, old = added.excluded, _hours.c
        last_at = case((new.last_at > old.last_at, new.last_at), else_=old.last_at)
        return added.on_conflict_do_update(
            index_elements=["environment", "flag", "variant", "hour"],
            set_={"n": old.n + new.n, "last_at": last_at},
        )

    async def usage(self, *, flag: str | None = None) -> list[FlagUsage]:
        """See ExposureStore.usage."""
        hours, units = _hours.c, _units.c
        met = select(hours.flag, hours.variant, func.sum(hours.n), func.max(hours.last_at))
        met = met.where(hours.environment == self._environment).group_by(hours.flag, hours.variant)
        mine = units.environment == self._environment
        by_variant = select(units.flag, units.variant, func.count()).where(mine)
        by_variant = by_variant.group_by(units.flag, units.variant)
        by_flag = select(units.flag, func.count(units.unit.distinct())).where(mine).group_by(units.flag)
        if flag is not None:
            met = met.where(hours.flag == printable(flag))
            by_variant = by_variant.where(units.flag == printable(flag))
            by_flag = by_flag.where(units.flag == printable(flag))
        async with self._database.transaction() as connection:
            counts = {
                (name, variant): (int(n), float(at)) for name, variant, n, at in await connection.execute(met)
            }
            variants = {(name, variant): int(n) for name, variant, n in await connection.execute(by_variant)}
            totals = {name: int(n) for name, n in await connection.execute(by_flag)}
        return usage_rows(counts, variants, totals)

    async def forget_exposures(self, *, unit: str, deed: Deed | None = None) -> int:
        """See ExposureStore.forget_exposures."""
        async with self._database.transaction(writes=Area.EXPOSURES) as connection:
            gone = self._of(_units).where(_units.c.unit == printable(unit))
            forgotten = (await connection.execute(gone)).rowcount
            if deed is not None:
                await append(connection, replace(deed, environment=self._environment))
        await self._database.settle()
        return forgotten

    async def expire_exposures(self, *, before: float, most: int = MOST_UNITS) -> None:
        """See ExposureStore.expire_exposures."""
        units, batches = _units.c, _batches.c
        last_hour = int(before // HOUR_SECONDS)
        beyond = select(units.at).where(units.environment == self._environment).order_by(units.at.desc())
        newest = select(func.max(batches.at)).where(batches.environment == self._environment)
        async with self._database.transaction(writes=Area.EXPOSURES) as connection:
            await connection.execute(self._of(_hours).where(_hours.c.hour < last_hour))
            await connection.execute(self._of(_units).where(units.at < before))
            over = await connection.scalar(beyond.offset(most).limit(1))
            if over is not None:
                await connection.execute(self._of(_units).where(units.at <= over))
            last = await connection.scalar(newest)
            if last is not None:
                await connection.execute(self._of(_batches).where(batches.at <= last - BATCH_SECONDS))

    def _of(self, table: Table) -> Delete:
        return delete(table).where(table.c.environment == self._environment)
