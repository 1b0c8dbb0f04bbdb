"""API tokens and the audit chain in SQL, for every database that SQLAlchemy knows."""

from collections.abc import Mapping

from sqlalchemy import RowMapping, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from understudy.access import Deed, Entry, Head, Role, Token, chain
from understudy.errors import StoreError
from understudy.store import schema
from understudy.store.access import read_roles, roles_text, stored_deed
from understudy.store.area import Area
from understudy.store.sql_database import Database

_HEAD = select(schema.audit_head.c.number, schema.audit_head.c.hash)


class SqlAccess:
    """The part of a store in SQL that `AccessStore` names. Needs ``_database``."""

    _database: Database

    async def tokens(self) -> list[Token]:
        """See AccessStore.tokens."""
        table = schema.tokens
        wanted = select(table).order_by(table.c.created_at, table.c.selector)
        async with self._database.transaction() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
        return [_token(row) for row in rows]

    async def add_token(self, token: Token, *, deed: Deed) -> None:
        """See AccessStore.add_token."""
        table = schema.tokens.c
        values = {column.name: getattr(token, column.name) for column in schema.tokens.columns}
        values |= {"role": token.role or "", "roles": roles_text(token.roles)}
        async with self._database.transaction(writes=Area.ACCESS) as connection:
            known = select(func.count()).where(table.selector == token.selector)
            if await connection.scalar(known):
                raise StoreError(f"token {token.selector}: there is one already")
            await connection.execute(insert(schema.tokens).values(values))
            await append(connection, deed)

    async def revoke_token(self, selector: str, *, deed: Deed) -> Token | None:
        """See AccessStore.revoke_token."""
        table = schema.tokens
        working = (table.c.selector == selector) & (table.c.revoked_at == 0.0)
        async with self._database.transaction(writes=Area.ACCESS) as connection:
            done = await connection.execute(update(table).where(working).values(revoked_at=deed.at))
            if not done.rowcount:
                return None
            await append(connection, deed)
            row = (
                (await connection.execute(select(table).where(table.c.selector == selector))).mappings().one()
            )
        return _token(row)

    async def note_used(self, used: Mapping[str, float]) -> None:
        """See AccessStore.note_used."""
        table = schema.tokens
        rows = [{"named": selector, "seen": at} for selector, at in used.items()]
        if not rows:
            return
        later = (table.c.selector == bindparam("named")) & (table.c.used_at < bindparam("seen"))
        async with self._database.transaction(writes=Area.ACCESS) as connection:
            await connection.execute(update(table).where(later).values(used_at=bindparam("seen")), rows)

    async def record(self, deed: Deed) -> Entry:
        """See AccessStore.record."""
        async with self._database.transaction(writes=Area.ACCESS) as connection:
            return await append(connection, deed)

    async def audit(self, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See AccessStore.audit."""
        table = schema.audit
        wanted = select(table).where(table.c.number > after).order_by(table.c.number).limit(max(limit, 0))
        async with self._database.transaction() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
        return [_entry(row) for row in rows]

    async def audit_head(self) -> Head:
        """See AccessStore.audit_head."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_HEAD)).mappings().first()
            return Head(**row) if row is not None else await _first_head(connection)


async def append(connection: AsyncConnection, deed: Deed) -> Entry:
    """Add the entry of *deed* inside the writing transaction of *connection*."""
    # The row of the head is locked, where a database has rows to lock: one writer at a time.
    row = (await connection.execute(_HEAD.with_for_update())).mappings().first()
    head = Head(**row) if row is not None else await _first_head(connection)
    if row is None:
        await connection.execute(insert(schema.audit_head).values(id=1, number=0, hash=""))
    entry = chain(head, stored_deed(deed))
    await connection.execute(insert(schema.audit).values({"environment": "", **entry.plain()}))
    await connection.execute(update(schema.audit_head).values(number=entry.number, hash=entry.hash))
    return entry


async def _first_head(connection: AsyncConnection) -> Head:
    """The head of a chain that has not begun. Raises StoreError when it has."""
    if await connection.scalar(select(func.count()).select_from(schema.audit)):
        raise StoreError("audit: its head is gone from the store, so entries may be missing at its end")
    return Head()


def _token(row: RowMapping) -> Token:
    try:
        role = Role(row["role"]) if row["role"] else None
        return Token(**{**row, "role": role, "roles": read_roles(row["roles"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"tokens: {str(row['selector'])[:40]!r} is damaged: {error}") from error


def _entry(row: RowMapping) -> Entry:
    plain = dict(row)
    number, previous, hashed = plain.pop("number"), plain.pop("previous"), plain.pop("hash")
    return Entry(number=number, deed=Deed(**plain), previous=previous, hash=hashed)
