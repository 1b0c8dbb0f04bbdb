"""Watches the audit from outside the store: whoever can rewrite the store cannot rewrite what was seen of it.

Inside the store the chain and its head lie side by side, so an end that was cut off together with the head
shows nowhere there. Every control process remembers the head, and tells it to the log, which is kept apart.
"""

import asyncio
import logging
from typing import Final

from understudy.access import Entry, Head
from understudy.errors import StoreError
from understudy.store import AccessStore

log = logging.getLogger("understudy.control")

EVERY_SECONDS: Final = 10.0
"""Two small queries; what was cut off between two looks was seen by nobody."""


class AuditWatch:
    """``alarm`` says what is wrong with the audit of *store*, until this process ends; empty: nothing."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._seen = Head()
        self.alarm = ""

    async def run(self) -> None:
        """Look for ever; a store that fails is told of elsewhere."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                log.debug("the audit could not be looked at: %s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Compare the audit with what was seen of it before. Raises: StoreError."""
        head = await self._store.audit_head()
        last = await self._store.audit(after=self._seen.number - 1, limit=1) if self._seen.number else []
        if flaw := _flaw(self._seen, head, last):
            if not self.alarm:
                log.error("%s; heads that were seen are in this log", flaw)
            self.alarm = flaw
        elif head != self._seen:
            self._seen = head
            log.info("audit: head %s", head)


def _flaw(seen: Head, head: Head, last: list[Entry]) -> str:
    """What is wrong with an audit that ends at *head* and has *last* where *seen* was; empty: nothing."""
    if head.number < seen.number:
        return f"audit: ends at entry {head.number}, but entry {seen.number} was there: it was cut off"
    if seen.number and [(entry.number, entry.hash) for entry in last] != [(seen.number, seen.hash)]:
        return f"audit: entry {seen.number} is gone, or another one than was seen: it was rewritten"
    return ""
