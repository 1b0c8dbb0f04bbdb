"""Who met which variant in an application, on its way to the store: in batches, beside the requests."""

import asyncio
import time
from typing import Final

from understudy.app.exposures import Exposed
from understudy.config import ExposureSettings
from understudy.errors import StoreError
from understudy.exposures import Sightings
from understudy.metrics import WorkerMetrics
from understudy.middleware.remote import ControlStore
from understudy.store import Store

LAST_SECONDS: Final = 2.0
"""For what was met last, at the end."""
TOO_LONG: Final = "the store takes too long"


class Exposing:
    """Takes what *sightings* hold to *store*, which names units, unless a control process does."""

    def __init__(
        self, store: Store, sightings: Sightings, *, settings: ExposureSettings, metrics: WorkerMetrics
    ) -> None:
        self._sightings = sightings
        self._metrics = metrics
        self._why = ""
        if isinstance(store, ControlStore):
            # It has a share of its own, which is one of units as they are: a digest cannot be tried.
            self._exposed = Exposed(store, settings=lambda: settings, named=lambda _key, unit: unit)
        else:
            self._exposed = Exposed(store, settings=lambda: settings)

    def gather(self) -> None:
        """Put what was met with what waits for the store; tell what found no room."""
        told = self._sightings.take(time.time())
        if told is not None:
            self._exposed.heard(told)
        self._count_dropped()

    def _count_dropped(self) -> None:
        dropped = self._metrics.exposures_dropped
        for reason, n in self._exposed.dropped.items():
            dropped[reason] = n
        dropped["full"] = self._sightings.dropped + self._exposed.dropped["full"]

    async def run(self) -> None:
        """Write what waits, and let go of what is too old, for ever."""
        await self._exposed.run()

    async def finish(self) -> None:
        """Write what was met last, within `LAST_SECONDS`."""
        self.gather()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._exposed.flush()
        except (StoreError, TimeoutError) as error:
            self._why = str(error)

    def end(self, why: str) -> None:
        """Count and tell what was met and is not stored, because of *why* unless `finish` knows better.

        Nothing may be on its way to the store any more.
        """
        self.gather()
        self._exposed.give_up(self._why or why or TOO_LONG)
        self._count_dropped()
