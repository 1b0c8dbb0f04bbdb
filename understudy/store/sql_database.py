"""What the queries ask of a database."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from understudy.store.area import Area


class Database(Protocol):
    """One database, with these tables in it once it is open. Everything raises StoreError."""

    async def open(self) -> None:
        """Connect, and bring the tables to this version."""

    async def close(self) -> None:
        """Let go of every connection, once what runs has ended."""

    def transaction(self, *, writes: Area | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction; of those that write one area there is one at a time, in all processes."""

    async def settle(self) -> None:
        """See to it that what was deleted stands nowhere any more, as far as this is in our hands."""

    async def ring(self, connection: AsyncConnection) -> None:
        """Tell who is listening that rules were stored, once the transaction of *connection* is committed."""

    def listening(self) -> AbstractAsyncContextManager[asyncio.Event]:
        """What is set whenever somebody rings; never, where nothing can be heard. Raises nothing."""
