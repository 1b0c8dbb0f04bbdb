"""Waiting for rules that somebody else stored, by asking for their version again and again."""

import asyncio
from typing import Final, Protocol

from understudy.store.rules import StoredRules

EVERY_SECONDS: Final = 1.0
"""How often a store that has no bell is asked for its version: an integer, so this costs next to nothing,
and a kill switch thrown at one host is in force on all within a second."""


class Versioned(Protocol):
    """What can be watched."""

    async def version(self) -> int:
        """The newest version."""

    async def rules(self) -> StoredRules | None:
        """The newest rules."""


async def newer_rules(store: Versioned, than: int, *, seconds: float, every: float) -> StoredRules | None:
    """The newest rules of *store* once there is a version above *than*; None after *seconds* without one."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while True:
        if await store.version() > than:
            return await store.rules()
        left = until - clock()
        if left <= 0:
            return None
        await asyncio.sleep(min(left, every))
