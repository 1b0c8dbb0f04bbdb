"""What the admin server asks of the control process: rules to read and change, the report, how things are."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from understudy.access import Deed
from understudy.admin import AuditWatch, Change, Readiness, Reload, Succession
from understudy.app.control_metrics import Collected, board_families, store_families
from understudy.app.exposures import Exposed
from understudy.app.intake import Intake
from understudy.app.kill_deeds import KillDeeds
from understudy.app.killed import Killed, kill_families, without_store
from understudy.app.last_rules import LastRules
from understudy.app.reloading import Reloader
from understudy.app.reports import Word, report
from understudy.app.rulebook import Rulebook
from understudy.app.runtime import Runtime
from understudy.app.services import services
from understudy.app.switches import killed, switches
from understudy.app.traffic import traffic
from understudy.app.trouble import Trouble
from understudy.app.workers import Workers
from understudy.comparators import report as evidence_report
from understudy.config import Rules, store_text
from understudy.errors import StoreError
from understudy.metrics import WorkersCollector
from understudy.store import Sample, Store, StoredRules

ACK_SECONDS: Final = 1.0
"""How long a change of rules waits for the workers to say that they have it."""

STALE_SECONDS: Final = 10.0
"""A report says how old its evidence is from here on; with the store there it is seconds at most."""

HEARD_SECONDS: Final = 3.0
"""A worker connects within 0.2 s and tells its counts twice a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a control process is made of, as far as the admin server asks for it."""

    runtime: Runtime
    store: Store
    trouble: Trouble
    book: Rulebook
    workers: Workers
    intake: Intake
    reloader: Reloader
    exposed: Exposed
    killed: Killed
    audit: AuditWatch
    last: LastRules


class Plane:
    """Implements `ControlPlane`. *put_in_force* lets everybody have the rules that the rulebook has."""

    def __init__(self, parts: Parts, *, put_in_force: Callable[[], None]) -> None:
        self.succession = Succession()
        self.registry = CollectorRegistry()
        self._runtime = parts.runtime
        self._store = parts.store
        self._trouble = parts.trouble
        self._book = parts.book
        self._workers = parts.workers
        self._intake = parts.intake
        self._reloader = parts.reloader
        self._exposed = parts.exposed
        self._killed = parts.killed
        self._audit = parts.audit
        self._last = parts.last
        self._put_in_force = put_in_force
        self._kill_deeds = KillDeeds(parts.store)
        self._samples: list[Sample] = []
        self._started_at = time.monotonic()
        self._revision = time.time_ns() // 1_000_000  # beyond any that the process before this one had
        self.registry.register(
            WorkersCollector(
                parts.workers.snapshots, compared=parts.intake.comparisons, is_whole=self._has_heard_all
            )
        )
        self.registry.register(Collected(self.collect))

    async def rules(self) -> StoredRules:
        return self._book.current()

    async def newest(self) -> StoredRules:
        with contextlib.suppress(StoreError), self._trouble.watched():
            await self._book.load(time.time())
            self._put_in_force()
        return self._book.current()

    async def history(self, *, limit: int) -> list[StoredRules]:
        with self._trouble.watched():
            return await self._store.history(limit=limit, is_brief=True)

    async def past(self, version: int) -> StoredRules | None:
        with self._trouble.watched():
            return await self._store.past(version)

    async def rules_at(self, at: float) -> StoredRules | None:
        with self._trouble.watched():
            return await self._store.rules_at(at)

    async def check_rules(self, document: Any) -> Rules:
        return await self._book.check(document)

    async def put_rules(
        self,
        document: Any,
        *,
        expected: int | None,
        author: str,
        reason: str,
        origin: str = "",
        action: str = "rules.put",
        target: str = "",
    ) -> Change:
        with self._trouble.watched(is_write=True):
            stored = await self._book.put(
                document,
                expected=expected,
                author=author,
                reason=reason,
                at=time.time(),
                origin=origin,
                action=action,
                target=target,
            )
        return await self._announce(stored)

    async def kill(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        try:
            with self._trouble.watched():
                stored = await self._book.kill(
                    flag, author=author, reason=reason, at=time.time(), origin=origin
                )
        except StoreError as error:
            raise StoreError(f"{error}; {without_store(flag)}") from error
        return await self._announce(stored)

    async def revive(self, flag: str, *, author: str, reason: str, origin: str = "") -> Change:
        with self._trouble.watched():
            stored = await self._book.revive(
                flag, author=author, reason=reason, at=time.time(), origin=origin
            )
        return await self._announce(stored)

    async def _announce(self, stored: StoredRules) -> Change:
        self._put_in_force()
        workers, applied = await self._workers.applied(stored.version, seconds=ACK_SECONDS)
        return Change(rules=stored, workers=workers, applied=applied)

    def services(self) -> list[dict[str, Any]]:
        return services(self._reloader.settings.services, self._workers.snapshots.values())

    async def report(self) -> dict[str, Any]:
        samples: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
        for sample in await self._known_samples():
            key = (sample.service, sample.endpoint, sample.path, sample.kind)
            samples.setdefault(key, []).append({**sample.body, "id": sample.name})
        whole = evidence_report(
            self._intake.evidence,
            samples=samples,
            control_share=self._reloader.settings.shadow.control,
            rules=self._book.parsed.compare,
            templates=self._reloader.settings.endpoints.templates,
        )
        now, as_of = time.time(), self._intake.shared.as_of
        stale = _stale(now - as_of) if as_of else []
        rules, file = self._book.parsed, self._killed.file
        here = file.kills.among(rules)
        deeds = await self._kill_deeds.of(rules.killed, version=self._book.version)
        return {
            **whole,
            "switches": switches(rules, here),
            "killed": killed(rules, here, deeds, files=[str(path) for path in file.saying]),
            "notes": [*stale, *whole.get("notes", [])],
            "confirm": self._intake.second_answers(),
            "rules_version": self._book.version,
            "generated_at": now,
            "evidence_at": as_of or None,
            "traffic": traffic(self._workers.snapshots.values()),
        }

    async def _known_samples(self) -> list[Sample]:
        """The samples, or those known last while the store is away, if anything is known at all."""
        try:
            with self._trouble.watched():
                self._samples = await self._store.samples()
        except StoreError:
            if not self._intake.shared.as_of:
                raise
        return self._samples

    def revision(self) -> int:
        return self._revision

    def renew(self) -> None:
        """The report says something else from now on."""
        self._revision += 1

    async def sample(self, name: str) -> Sample | None:
        with self._trouble.watched():
            return await self._store.sample(name)

    async def forget_samples(self, *, unit: str | None, author: str = "", origin: str = "") -> int:
        # The audit does not name the unit: it is kept for good, and shall not remember who was forgotten.
        whose = "of everybody" if unit is None else "of one unit"
        deed = Deed(at=time.time(), who=author, origin=origin, action="samples.forget", target=whose)
        with self._trouble.watched(is_write=True):
            forgotten = await self._intake.forget_samples(unit=unit, deed=deed)
            if unit is not None:
                await self._exposed.forget(unit=unit, author=author, origin=origin)
        self.renew()
        return forgotten

    async def reload(self) -> Reload:
        return await self._reloader.reload()

    async def restart_workers(self) -> int:
        report(self._runtime.telling, Word.RESTART)
        return self._reloader.settings.workers

    async def clear_evidence(self, *, author: str = "", origin: str = "") -> None:
        deed = Deed(at=time.time(), who=author, origin=origin, action="evidence.clear")
        with self._trouble.watched(is_write=True):
            await self._intake.clear(deed=deed)
        self.renew()

    def _has_heard_all(self) -> bool:
        """Whether each worker has told its counts to this process, or had the time to."""
        return (
            self._workers.has_heard(self._reloader.settings.workers)
            or time.monotonic() - self._started_at > HEARD_SECONDS
        )

    def metrics(self) -> bytes:
        return generate_latest(self.registry)

    def readiness(self) -> Readiness:
        workers, applied = self._workers.at_version(self._book.version)
        expected = self._reloader.settings.workers
        checks: dict[str, Mapping[str, Any]] = {
            "store": {
                "ok": not self._trouble.text,
                "detail": self._trouble.text or store_text(self._reloader.settings.store),
            },
            "rules": {
                "ok": self._book.is_loaded and not self._book.trouble,
                "detail": self._book.trouble or f"version {self._book.version}",
            },
            "workers": {
                "ok": workers >= expected and applied >= expected,
                "detail": f"{applied} of {expected} workers have version {self._book.version}",
            },
        }
        if said := self._killed.said(self._book.parsed):
            # Told, so that nobody forgets it; no reason to send the traffic elsewhere.
            checks["kill_file"] = {"ok": True, "detail": said}
        return Readiness(ready=all(check["ok"] for check in checks.values()), checks=checks)

    def collect(self) -> Iterator[Metric]:
        """The control process's own families."""
        differences = CounterMetricFamily(
            "understudy_differences", "Differences found, noise included.", labels=["endpoint", "kind"]
        )
        for pair, n in self._intake.differences.items():
            differences.add_metric(list(pair), n)
        yield differences
        dropped = CounterMetricFamily(
            "understudy_exposures_lost",
            "Exposures that the control process could not keep.",
            labels=["reason"],
        )
        for reason, n in self._exposed.dropped.items():
            dropped.add_metric([reason], n)
        yield dropped
        age = GaugeMetricFamily("understudy_rules_age_seconds", "Since the rules in force were stored.")
        age.add_metric([], max(0.0, time.time() - self._book.stored_at) if self._book.is_loaded else 0.0)
        yield age
        connected = GaugeMetricFamily("understudy_workers_connected", "Workers on the link.")
        connected.add_metric([], self._workers.at_version(0)[0])
        yield connected
        yield from kill_families(self._killed.file, self._book.parsed)
        yield from board_families(self._runtime.board)
        alarms = set(self._store.condition().alarms) | ({"audit"} if self._audit.alarm else set())
        alarms |= {"sql_behind"} if self._book.behind else set()
        alarms |= {"file"} if self._last.trouble else set()
        yield from store_families(
            alarms, healed=self._store.condition().healed, is_in_trouble=bool(self._trouble.text)
        )


def _stale(seconds: float) -> list[str]:
    """What a report says of evidence that was read so long ago."""
    if seconds < STALE_SECONDS:
        return []
    return [
        f"The store is away: these figures are as of {seconds:.0f} s ago; what came since is not in them."
    ]
