"""Who met which variant in an application, on its way to the store: in batches, beside the requests."""

import asyncio
import logging
import time
from typing import Final

from understudy.app.exposures import Exposed
from understudy.config import ExposureSettings
from understudy.errors import StoreError
from understudy.exposures import Sightings
from understudy.metrics import WorkerMetrics
from understudy.middleware.remote import ControlStore
from understudy.store import Store

log = logging.getLogger("understudy.middleware")

LAST_SECONDS: Final = 2.0
"""For what was met last, at the end."""


class Exposing:
    """Takes what *sightings* hold to *store*, which names units, unless a control process does."""

    def __init__(
        self, store: Store, sightings: Sightings, *, settings: ExposureSettings, metrics: WorkerMetrics
    ) -> None:
        self._sightings = sightings
        self._metrics = metrics
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
            log.warning("the last exposures are lost: %s", str(error) or "the store takes too long")
