"""The control process: rules, evidence, admin server. Workers go on without it."""

import asyncio
import contextlib
import logging
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from understudy.admin import Change, Readiness, create_admin
from understudy.app.rulebook import Rulebook
from understudy.app.runtime import Runtime
from understudy.app.workers import Workers
from understudy.comparators import Comparison, report
from understudy.errors import StoreError
from understudy.link import Batch
from understudy.metrics import WorkersCollector
from understudy.shadow import Assessor, Redaction
from understudy.store import Sample, Store, StoredRules, open_store

log = logging.getLogger("understudy.control")

STORE_RETRY_SECONDS: Final = 1.0
ACK_SECONDS: Final = 1.0
"""How long a change of rules waits for the workers to say that they have it."""

JUDGED_SECONDS: Final = 2.0
"""How old the memory of what is noise may grow, while pairs come in."""


def run(runtime: Runtime) -> int:
    """Run the control process until SIGTERM; the exit status."""
    return uvloop.run(Control(runtime).main())


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: this process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Control:
    """Implements `ControlPlane` for the admin server, and takes what workers send."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        settings = runtime.settings
        self._settings = settings
        self._store: Store = open_store(settings.store)
        self._store_trouble = "not opened yet"
        self._book = Rulebook(self._store, seed=settings.rules, services=settings.services.keys())
        self._workers = Workers(on_batch=self._on_batch)
        self._assessor = Assessor(Comparison(settings.rules.compare), self._redaction())
        self._evidence: Counter[tuple[str, ...]] = Counter()
        self._differences: Counter[tuple[str, str]] = Counter()
        self._comparisons: Counter[tuple[str, str, str]] = Counter()
        self._judged_at = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(WorkersCollector(self._workers.snapshots))
        self._registry.register(ControlCollector(self))
        self._stop = asyncio.Event()
        self._batches: asyncio.Queue[tuple[str, Batch]] = asyncio.Queue(maxsize=256)

    def _redaction(self) -> Redaction:
        redact = self._settings.redact
        return Redaction(
            key=secrets.token_bytes(32),
            headers=redact.headers,
            paths=redact.paths,
            detectors=redact.detectors,
        )

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_reader(self._runtime.lifeline, self._orphaned)
        server = Server(
            uvicorn.Config(
                create_admin(self), log_level="warning", access_log=False, lifespan="off", ws="none"
            )
        )
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self._keep_store()),
                tasks.create_task(self._take_batches()),
            ]
            link = await loop.create_unix_server(self._workers.connection, sock=self._runtime.link_socket)
            serving = tasks.create_task(server.serve(sockets=[self._runtime.admin_socket]))
            await self._stop.wait()
            server.should_exit = True
            await serving
            link.close()
            for task in background:
                task.cancel()
        await self._store.close()
        return 0

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._runtime.lifeline)
        self._stop.set()

    # -- the store -----------------------------------------------------------------------------------

    async def _keep_store(self) -> None:
        """Open the store, however long it takes, then hand its rules to the workers."""
        while True:
            try:
                await self._store.open()
                await self._book.load(time.time())
                self._evidence = Counter(await self._store.evidence())
            except StoreError as error:
                if str(error) != self._store_trouble:
                    log.error("%s", error)
                self._store_trouble = str(error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
                continue
            self._store_trouble = ""
            self._put_in_force()
            return

    def _put_in_force(self) -> None:
        rules = self._book.parsed
        self._assessor.comparison = Comparison(rules.compare)
        self._workers.set_rules(self._book.version, rules.document)

    # -- evidence --------------------------------------------------------------------------------------

    def _on_batch(self, source: str, batch: Batch) -> None:
        try:
            self._batches.put_nowait((source, batch))
        except asyncio.QueueFull:
            log.warning("too many batches wait; the worker will send this one again when it reconnects")

    async def _take_batches(self) -> None:
        """Compare, add, acknowledge; a batch that the store cannot take now is tried until it can."""
        while True:
            source, batch = await self._batches.get()
            counts, samples = await self._assess(batch)
            while True:
                try:
                    added = await self._store.add_evidence(
                        source=source, sequence=batch.sequence, counts=counts, samples=samples
                    )
                except StoreError as error:
                    if str(error) != self._store_trouble:
                        log.error("%s", error)
                    self._store_trouble = str(error)
                    await asyncio.sleep(STORE_RETRY_SECONDS)
                    continue
                except ValueError as error:
                    log.error("a batch of evidence is dropped: %s", error)
                    added = False
                break
            if self._book.is_loaded:
                self._store_trouble = ""
            if added:
                self._evidence.update(counts)
            self._workers.acknowledge(source, batch.sequence)

    async def _assess(self, batch: Batch) -> tuple[dict[tuple[str, ...], int], list[Sample]]:
        counts: Counter[tuple[str, ...]] = Counter(batch.counts)
        samples: list[Sample] = []
        self._refresh_noise()
        for pair in batch.pairs:
            assessment = self._assessor.assess(pair)
            counts.update(assessment.counts)
            self._comparisons[pair.flag, pair.service, assessment.result] += 1
            for kind in assessment.kinds:
                self._differences[pair.endpoint, kind] += 1
            samples += [
                Sample(
                    service=found.service,
                    endpoint=found.endpoint,
                    path=found.path,
                    kind=found.kind,
                    priority=random.random(),
                    at=found.at,
                    body=found.body,
                )
                for found in assessment.found
            ]
            await asyncio.sleep(0)  # the admin server answers between two comparisons
        return dict(counts), samples

    def _refresh_noise(self) -> None:
        now = time.monotonic()
        if now - self._judged_at < JUDGED_SECONDS:
            return
        self._judged_at = now
        whole = report(self._evidence, control_share=self._settings.shadow.control)
        self._assessor.noise = frozenset(
            (endpoint["service"], endpoint["endpoint"], finding["path"], finding["kind"])
            for endpoint in whole["endpoints"]
            for finding in endpoint["findings"]
            if finding["verdict"] == "noise"
        )

    # -- ControlPlane ------------------------------------------------------------------------------------

    async def rules(self) -> StoredRules:
        return self._book.current()

    async def history(self, *, limit: int) -> list[StoredRules]:
        return await self._store.history(limit=limit)

    async def put_rules(self, document: Any, *, expected: int | None, author: str, reason: str) -> Change:
        stored = await self._book.put(
            document, expected=expected, author=author, reason=reason, at=time.time()
        )
        return await self._announce(stored)

    async def kill(self, flag: str, *, author: str, reason: str) -> Change:
        stored = await self._book.kill(flag, author=author, reason=reason, at=time.time())
        return await self._announce(stored)

    async def revive(self, flag: str, *, author: str, reason: str) -> Change:
        stored = await self._book.revive(flag, author=author, reason=reason, at=time.time())
        return await self._announce(stored)

    async def _announce(self, stored: StoredRules) -> Change:
        self._put_in_force()
        workers, applied = await self._workers.applied(stored.version, seconds=ACK_SECONDS)
        return Change(rules=stored, workers=workers, applied=applied)

    async def report(self) -> dict[str, Any]:
        samples: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
        for sample in await self._store.samples():
            key = (sample.service, sample.endpoint, sample.path, sample.kind)
            samples.setdefault(key, []).append(dict(sample.body))
        whole = report(self._evidence, samples=samples, control_share=self._settings.shadow.control)
        return {**whole, "rules_version": self._book.version, "generated_at": time.time()}

    async def clear_evidence(self) -> None:
        await self._store.clear_evidence()
        self._evidence.clear()

    def metrics(self) -> bytes:
        return generate_latest(self._registry)

    def readiness(self) -> Readiness:
        workers, applied = self._workers.at_version(self._book.version)
        expected = self._settings.workers
        checks: dict[str, Mapping[str, Any]] = {
            "store": {"ok": not self._store_trouble, "detail": self._store_trouble or self._settings.store},
            "rules": {
                "ok": self._book.is_loaded and not self._book.trouble,
                "detail": self._book.trouble or f"version {self._book.version}",
            },
            "workers": {
                "ok": workers >= expected and applied >= expected,
                "detail": f"{applied} of {expected} workers have version {self._book.version}",
            },
        }
        return Readiness(ready=all(check["ok"] for check in checks.values()), checks=checks)

    def collect(self) -> Iterator[Metric]:
        """The control process's own families."""
        comparisons = CounterMetricFamily(
            "understudy_pairs",
            "Unequal pairs by what comparing them gave.",
            labels=["flag", "service", "result"],
        )
        for labels, n in self._comparisons.items():
            comparisons.add_metric(list(labels), n)
        yield comparisons
        differences = CounterMetricFamily(
            "understudy_differences", "Differences found, noise included.", labels=["endpoint", "kind"]
        )
        for pair, n in self._differences.items():
            differences.add_metric(list(pair), n)
        yield differences
        age = GaugeMetricFamily("understudy_rules_age_seconds", "Since the rules in force were stored.")
        age.add_metric([], max(0.0, time.time() - self._book.stored_at) if self._book.is_loaded else 0.0)
        yield age
        connected = GaugeMetricFamily("understudy_workers_connected", "Workers on the link.")
        connected.add_metric([], self._workers.at_version(0)[0])
        yield connected
        trouble = GaugeMetricFamily("understudy_store_trouble", "1 while the store cannot be used.")
        trouble.add_metric([], 1.0 if self._store_trouble else 0.0)
        yield trouble


class ControlCollector:
    """Lets prometheus-client read the control process's own counts."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def collect(self) -> Iterator[Metric]:
        yield from self._control.collect()
