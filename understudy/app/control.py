"""The control process: rules, evidence, admin server. Workers go on without it."""

import asyncio
import contextlib
import gc
import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import uvloop

from understudy.access import Deed, Entry
from understudy.admin import (
    AuditWatch,
    Environments,
    Keyring,
    OfrepCounts,
    create_admin,
)
from understudy.app.admin_server import AdminServer
from understudy.app.control_metrics import Collected
from understudy.app.exposures import Exposed
from understudy.app.intake import STORE_RETRY_SECONDS, Intake
from understudy.app.issuer import issuer_of
from understudy.app.kill_watch import KillWatch
from understudy.app.killed import Killed
from understudy.app.last_rules import last_rules
from understudy.app.past import Past
from understudy.app.plane import Parts, Plane
from understudy.app.recordings import Recordings
from understudy.app.reloading import Reloader
from understudy.app.reports import Word, report
from understudy.app.rulebook import Rulebook
from understudy.app.runtime import Runtime
from understudy.app.syncing import syncing
from understudy.app.trouble import Trouble
from understudy.app.workers import Workers
from understudy.comparators import Comparison
from understudy.config import KillFile, Settings, first_origins
from understudy.errors import StoreError, UnderstudyError
from understudy.link import Batch
from understudy.shadow import Assessor, Draws, Redaction
from understudy.store import Bounds, Store, open_store

log = logging.getLogger("understudy.control")

START_SECONDS: Final = 0.5
"""How long a start waits for a store when the host has its last good rules: traffic waits meanwhile."""

FOLLOWED_SECONDS: Final = 60.0
"""How long one wait for others' rules lasts; how soon they are seen is the store's to say."""

LAST_BATCHES_SECONDS: Final = 2.0


YIELDING: Final = 10
"""Steps of nice(2), a tenth of a worker's share: comparing takes what requests leave of a core, and a change
of rules, some milliseconds of work, is still done within 0.1 s. Only once the first rules are out:
new workers wait for them, and on a busy machine that wait is long enough with a whole share."""


def run(runtime: Runtime) -> int:
    """Run the control process until SIGTERM; the exit status."""
    # Thousands of pairs a second are no garbage in cycles; the default thresholds would scan for it all day.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    return uvloop.run(Control(runtime).main())


class Control:
    """Keeps the store, takes what workers send, and puts rules in force; `Plane` is what others see of it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        settings = runtime.settings
        self._store: Store = open_store(settings.store, environment=settings.environment)
        self._keyring = Keyring(
            self._store, issuer=issuer_of(settings.admin), environment=settings.environment
        )
        self._audit = AuditWatch(self._store)
        self._trouble = Trouble()
        self._book = Rulebook(self._store, seed=settings.rules, services=settings.services.keys())
        self._killed = Killed(KillFile(runtime.kill_paths, memory=runtime.killed_path), record=self._record)
        past = Past(runtime.past_path)
        self._recordings = Recordings(lambda: self._assessor.redaction)
        self._exposed = Exposed(self._store, settings=lambda: self._settings.exposures)
        self._workers = Workers(
            on_batch=self._on_batch,
            on_ahead=self._on_ahead,
            past=past,
            on_reel=self._recordings.heard,
            on_exposures=self._exposed.heard,
        )
        self._assessor = Assessor(
            Comparison(settings.rules.compare),
            self._redaction(settings),
            Draws(chance=random.random, places=Bounds().samples_per_key),
        )
        self._assessor.origins = first_origins(settings.services)
        self._intake = Intake(
            self._store,
            self._assessor,
            trouble=self._trouble,
            acknowledge=self._taken,
            renewed=self._renewed,
            control_share=settings.shadow.control,
        )
        self._reloader = Reloader(runtime, book=self._book, workers=self._workers, apply=self._apply)
        self._recordings.announce = self._workers.set_tape
        self._last = last_rules(settings, runtime.base)
        self._plane = Plane(
            Parts(
                runtime=runtime,
                store=self._store,
                trouble=self._trouble,
                book=self._book,
                workers=self._workers,
                intake=self._intake,
                reloader=self._reloader,
                exposed=self._exposed,
                killed=self._killed,
                audit=self._audit,
                last=self._last,
            ),
            put_in_force=self._put_in_force,
        )
        self._plane.succession.history = runtime.history
        self._counts = OfrepCounts()
        self._plane.registry.register(Collected(self._counts.collect))
        self._is_orphan = self._is_yielding = False
        self._stop = asyncio.Event()
        self._is_tried = asyncio.Event()
        self._is_loaded = asyncio.Event()
        self._has_evidence = asyncio.Event()
        self._ahead: asyncio.Queue[tuple[int, Mapping[str, Any]]] = asyncio.Queue()
        self._environments = Environments(self._store, self._plane, services=lambda: self._settings.services)

    @property
    def _settings(self) -> Settings:
        return self._reloader.settings

    def _apply(self, settings: Settings) -> None:
        """Put reloaded *settings* in force here; the rules may fit again, or be another stand-in now."""
        self._assessor.redaction = self._redaction(settings)
        self._assessor.origins = first_origins(settings.services)
        self._intake.control_share = settings.shadow.control
        self._environments.is_changed.set()
        if self._book.is_loaded:
            self._put_in_force()

    def _redaction(self, settings: Settings) -> Redaction:
        redact = settings.redact
        return Redaction(
            key=self._runtime.redaction_key,
            headers=redact.headers,
            paths=redact.paths,
            detectors=redact.detectors,
        )

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
        loop.add_reader(self._runtime.lifeline, self._orphaned)
        admin = create_admin(
            self._plane,
            stopping=self._stop,
            recordings=self._recordings,
            evidence=self._intake,
            keyring=self._keyring,
            environments=self._environments,
            origins=self._settings.admin.origins,
            exposures=self._exposed,
            counts=self._counts,
        )
        server = AdminServer(admin)
        KillWatch(self._killed.file, self._on_kill_file).begin()
        sync = syncing(self._plane, self._settings.admin.sync, keyring=self._keyring)
        async with asyncio.TaskGroup() as tasks, sync:
            background = [
                tasks.create_task(self._start_alone()),
                tasks.create_task(self._keep_store()),
                tasks.create_task(self._last.run()),
                tasks.create_task(self._take_batches()),
                tasks.create_task(self._follow()),
                tasks.create_task(self._catch_up()),
                tasks.create_task(self._reloader.run()),
                tasks.create_task(self._keep_keyring()),
                tasks.create_task(self._watch_audit()),
                tasks.create_task(self._keep_exposures()),
                tasks.create_task(self._killed.run(ready=self._is_loaded)),
                tasks.create_task(self._keep_services()),
                *([tasks.create_task(issuer.run())] if (issuer := self._keyring.issuer) else []),
            ]
            link = await loop.create_unix_server(self._workers.connection, sock=self._runtime.link_socket)
            serving = tasks.create_task(server.serve(sockets=[self._runtime.admin.socket]))
            report(self._runtime.telling, Word.READY)
            await self._stop.wait()
            self._recordings.end("shutdown")
            server.should_exit = True
            await serving
            link.close()
            await self._intake.finish(LAST_BATCHES_SECONDS)
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(LAST_BATCHES_SECONDS):
                    await self._exposed.flush()
            for task in background:
                task.cancel()
        self._exposed.give_up(self._trouble.text or "the store takes too long")
        try:
            await self._store.close()
        except StoreError as error:
            log.error("%s", error)
        if self._is_orphan:
            shutil.rmtree(self._runtime.link_path.parent, ignore_errors=True)
        return 0

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._runtime.lifeline)
        self._is_orphan = True
        self._stop.set()

    async def _record(self, deed: Deed) -> Entry:
        """Tell the audit of something that was done in this environment and changes nothing in the store."""
        return await self._store.record(replace(deed, environment=self._store.environment))

    # -- the store -----------------------------------------------------------------------------------

    async def _keep_store(self) -> None:
        """Open the store, however long it takes, then hand its rules to the workers and watch over it."""
        while not self._is_loaded.is_set():
            try:
                await self._store.open()
                await self._book.load(time.time())
            except StoreError as error:
                self._trouble.met(error)
                self._is_tried.set()
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                self._is_tried.set()
                self._put_in_force()  # first of all: new workers wait for it
                self._last.keep(self._book.current())
                await self._keyring.begin()
                self._is_loaded.set()
        while not self._has_evidence.is_set():
            try:
                await self._intake.load()
            except StoreError as error:
                self._trouble.met(error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                self._trouble.opened()
                self._has_evidence.set()
        while True:
            await asyncio.sleep(STORE_RETRY_SECONDS)
            if self._trouble.text:
                await self._probe()

    async def _start_alone(self) -> None:
        """Begin with the last good rules of this host, unless the store has others at once."""
        last = await self._last.read()
        if last is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._is_tried.wait()
        if not self._book.is_loaded:
            self._book.begin_with(last)
            self._put_in_force()

    async def _keep_keyring(self) -> None:
        await self._is_loaded.wait()
        await self._keyring.run()

    async def _watch_audit(self) -> None:
        await self._is_loaded.wait()
        await self._audit.run()

    async def _keep_exposures(self) -> None:
        await self._is_loaded.wait()
        await self._exposed.run()

    async def _keep_services(self) -> None:
        """Tell other environments which services are known here, now and whenever they change."""
        await self._is_loaded.wait()
        await self._environments.keep_noted()

    async def _follow(self) -> None:
        """Put in force what other control processes store; theirs and ours have one store."""
        await self._is_loaded.wait()
        while True:
            try:
                if await self._book.follow(seconds=FOLLOWED_SECONDS):
                    self._put_in_force()
            except StoreError as error:
                log.debug("rules cannot be followed: %s", error)  # whoever needs the store tells of it
                await asyncio.sleep(STORE_RETRY_SECONDS)

    async def _probe(self) -> None:
        """Write next to nothing, to learn whether the store takes it again."""
        with contextlib.suppress(StoreError), self._trouble.watched(is_write=True):
            await self._store.add_evidence(
                source="control process", sequence=int(time.time()), counts={}, samples=[]
            )

    async def _take_batches(self) -> None:
        await self._has_evidence.wait()
        await self._intake.run()

    def _on_batch(self, source: str, batch: Batch) -> None:
        self._intake.offer(source, batch)

    def _taken(self, source: str, sequence: int) -> None:
        self._plane.renew()
        self._workers.acknowledge(source, sequence)

    def _renewed(self) -> None:
        self._plane.renew()

    def _on_ahead(self, version: int, document: Mapping[str, Any]) -> None:
        self._ahead.put_nowait((version, document))

    async def _catch_up(self) -> None:
        """Take the rules over from a worker that has newer ones than a store that forgot.

        Without it a control process that died would leave workers with rules that nobody can change any
        more, the kill switch included: they refuse versions older than theirs.
        """
        await self._is_loaded.wait()
        while True:
            version, document = await self._ahead.get()
            try:
                await self._book.load(time.time())  # perhaps another process has just stored it
                if version > self._book.version:
                    await self._book.put(
                        document,
                        expected=None,
                        after=version,
                        author="control process",
                        reason=f"taken over from the workers, who had version {version}",
                        at=time.time(),
                    )
            except UnderstudyError as error:
                log.error("the workers' rules could not be taken over: %s", error)
            self._put_in_force()  # also what another process has just stored

    def _on_kill_file(self) -> None:
        """Workers see it by themselves; here it is answered to SDKs, and noted in the audit."""
        self._killed.note(time.time())
        if self._book.is_loaded:
            self._put_in_force()

    def _yield_to_workers(self) -> None:
        if not self._is_yielding:
            self._is_yielding = True
            with contextlib.suppress(OSError):
                os.nice(YIELDING)

    def _put_in_force(self) -> None:
        rules = self._book.parsed
        self._plane.renew()
        if self._is_loaded.is_set():
            self._last.keep(self._book.current())
        self._assessor.comparison = Comparison(rules.compare, before=self._assessor.comparison)
        self._workers.set_rules(self._book.version, rules.document)
        self._yield_to_workers()
        told = self._killed.file.kills.laid_over(rules)
        self._plane.succession.put(version=self._book.version, rules=told, at=self._book.stored_at)
