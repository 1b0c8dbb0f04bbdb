"""The evidence of all hosts that share a store, as this one knows it: its own at once, others' soon after."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from understudy.access import Deed
from understudy.comparators import Ledger
from understudy.errors import StoreError
from understudy.store import Key, Mark, Sample, Store

TRIES: Final = 3
"""How often all counts are read when somebody clears them meanwhile; then that is left to the next look."""


class SharedEvidence:
    """``counts`` is the sum of all that the store has had up to ``as_of`` (Unix seconds; 0: never read).

    Each of this process's batches is in it once, whether the store told us so or we read it there. What
    others add or clear is seen by `look`, which asks for one small row unless there is something to read.
    `add` and `look` wait for each other, as what is read may hold what is being added; `clear` does not.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self.counts = Ledger()
        self.as_of = 0.0
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()
        self._mark: Mark | None = None
        self._clears = 0

    @property
    def is_current(self) -> bool:
        """Whether everything that this process has stored is in ``counts``."""
        return self._mark is not None

    async def look(self) -> bool:
        """Read what is not known yet; whether there was any. Raises StoreError."""
        async with self._turn:
            return await self._look()

    async def _look(self) -> bool:
        mark = await self._store.evidence_mark()
        is_news = mark != self._mark and await self._read(mark)
        self.as_of = self._clock()
        return is_news

    async def _read(self, mark: Mark) -> bool:
        """Read all counts, which are at least those of *mark*; False when they were cleared meanwhile."""
        for _ in range(TRIES):
            clears = self._clears
            counts = await self._store.evidence()
            after = await self._store.evidence_mark()
            # Counts are read in pages: some of before a clear and some of after it would be nobody's sum.
            if after.clearing == mark.clearing and clears == self._clears:
                self.counts, self._mark = counts, mark
                return True
            mark = after
        return False

    async def add(
        self, *, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        """Store a batch; False when it had been stored before. Raises StoreError, ValueError."""
        async with self._turn:
            return await self._add(source, sequence, counts, samples)

    async def _add(
        self, source: str, sequence: int, counts: Mapping[Key, int], samples: Sequence[Sample]
    ) -> bool:
        clears, mark = self._clears, self._mark
        # Whatever comes of it: if it is stored and nobody tells us, the next look has to read it.
        self._mark = None
        is_new = await self._store.add_evidence(
            source=source, sequence=sequence, counts=counts, samples=samples
        )
        if is_new and mark is not None and clears == self._clears:
            self.counts.add(counts)
            self._mark = mark._replace(batches=mark.batches + 1)
            self.as_of = self._clock()
        return is_new

    async def clear(self, *, deed: Deed | None = None) -> None:
        """Forget all evidence, on all hosts. Raises StoreError."""
        try:
            await self._store.clear_evidence(deed=deed)
        except StoreError:
            self._mark = None  # perhaps it was cleared, and only the answer was lost
            raise
        self._clears += 1
        self._mark = None
        self.counts.clear()
        self.as_of = self._clock()
