"""Waiting for rules that somebody else stored, by asking for their version again and again."""

import asyncio
import contextlib
from typing import Final, Protocol

from understudy.store.rules import StoredRules

EVERY_SECONDS: Final = 1.0
"""How often a store is asked for its version whose bell may not ring (a pooler before PostgreSQL) or that has
none: an integer, so this costs next to nothing, and a kill at one host is in force on all in a second."""


class Versioned(Protocol):
    """What can be watched."""

    async def version(self) -> int:
        """The newest version."""

    async def rules(self) -> StoredRules | None:
        """The newest rules."""


async def newer_rules(
    store: Versioned, than: int, *, seconds: float, every: float, bell: asyncio.Event | None = None
) -> StoredRules | None:
    """The newest rules of *store* once there is a version above *than*; None after *seconds* without one.

    It is asked *every* so many seconds, and when *bell* is set, which is only a hint.
    """
    bell = bell or asyncio.Event()
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        bell.clear()
        if await store.version() > than:
            return await store.rules()
        left = until - clock()
        if left <= 0:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(left, every)):
                await bell.wait()
