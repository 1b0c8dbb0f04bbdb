"""The report of an application: on the evidence of its store, once that was read."""

import asyncio
import time
from typing import Any, Final

from understudy.app.intake import Intake
from understudy.app.rulebook import Rulebook
from understudy.app.traffic import traffic
from understudy.app.trouble import Trouble
from understudy.comparators import report as evidence_report
from understudy.config import Settings
from understudy.errors import StoreError
from understudy.metrics import WorkerMetrics
from understudy.store import Store

EVIDENCE_SECONDS: Final = 10.0
"""How long a report waits for the store's evidence, which is read after the rules: a hundred thousand counts
take a second."""


class Reporting:
    """Tells what *intake* knows, after `loaded` was called."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        book: Rulebook,
        *,
        settings: Settings,
        trouble: Trouble,
        metrics: WorkerMetrics,
    ) -> None:
        self._store = store
        self._intake = intake
        self._book = book
        self._settings = settings
        self._trouble = trouble
        self._metrics = metrics
        self._is_loaded = asyncio.Event()

    def loaded(self) -> None:
        """The store's evidence was read."""
        self._is_loaded.set()

    async def report(self) -> dict[str, Any]:
        """The report on all evidence in the store, and on what this process has not stored yet.

        Waits until the evidence was read. Raises `StoreError` when it cannot be, or not within
        `EVIDENCE_SECONDS`.
        """
        await self._until_loaded()
        samples: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
        for sample in await self._store.samples():
            key = (sample.service, sample.endpoint, sample.path, sample.kind)
            samples.setdefault(key, []).append({**sample.body, "id": sample.name})
        whole = evidence_report(
            self._intake.evidence,
            samples=samples,
            control_share=self._settings.shadow.control,
            rules=self._book.parsed.compare,
            templates=self._settings.endpoints.templates,
        )
        return {
            **whole,
            "confirm": self._intake.second_answers(),
            "rules_version": self._book.version,
            "generated_at": time.time(),
            "traffic": traffic([self._metrics.snapshot()]),
        }

    async def _until_loaded(self) -> None:
        try:
            async with asyncio.timeout(EVIDENCE_SECONDS):
                await self._is_loaded.wait()
        except TimeoutError:
            message = f"no evidence was read from the store in {EVIDENCE_SECONDS:g} s; {self._trouble.text}"
            raise StoreError(message) from None
