"""What the middleware does beside the application's requests, in one event loop: rules, mirroring, evidence.

A proxy has processes for this; here one task of the application's loop owns it all. Nothing of it is waited
for by a request, except rules that are still being read at the start.
"""

import asyncio
import logging
import math
import os
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from understudy.app.intake import STORE_RETRY_SECONDS, Intake
from understudy.app.rulebook import Rulebook
from understudy.app.trouble import Trouble
from understudy.comparators import Comparison
from understudy.config import Rules, Settings
from understudy.config.app import with_rules
from understudy.engine import Engine, Plan, mirror_limits
from understudy.errors import StoreError, UnderstudyError
from understudy.link import Outbox
from understudy.messages import Head
from understudy.metrics import WorkerMetrics
from understudy.middleware.alterations import altered
from understudy.middleware.assessing import assessor_of
from understudy.middleware.exposing import Exposing
from understudy.middleware.in_force import InForce
from understudy.middleware.kills import HostKills
from understudy.middleware.last_rules import HostRules
from understudy.middleware.reporting import Reporting
from understudy.middleware.request import App
from understudy.middleware.services import OWN, Services, with_app_service
from understudy.middleware.work import ended
from understudy.proxy.heads import Fields
from understudy.proxy.rehearsal import Rehearsal, rehearse
from understudy.shadow import Mirror
from understudy.shadow.exchange import NO_FIELDS
from understudy.store import Store, open_store
from understudy.upstream import Allowance, Outgoing, UpstreamMaker

log = logging.getLogger("understudy.middleware")

SWEEP_SECONDS: Final = 0.1
FLUSH_SECONDS: Final = 0.5
"""How often evidence goes to the store: each time costs about a millisecond, of a process that has others."""

BACKLOG_PAIRS: Final = 64
"""From so many waiting pairs on, the next batch does not wait for the clock."""

RULES_SECONDS: Final = 4.0
"""How long the first requests wait for the store's rules before the configured ones decide, as a worker's."""

FOLLOWED_SECONDS: Final = 60.0

COMPARING_SHARE: Final = 0.2
"""Of the loop's time, at most, while pairs wait; what is more is passed over, by chance and counted."""

LONG_SHARE: Final = 0.005
"""Of its time, for pairs that hold it longer than a millisecond: the 99th percentile does not meet them."""

LAST_COPIES_SECONDS: Final = 2.0
LAST_BATCHES_SECONDS: Final = 2.0
CUT_SECONDS: Final = 1.0
"""Of the time that ending may take, at most, for what has to be cut off."""


class Stage:
    """The parts that belong to one event loop. `begin` it in that loop, await `end` in the same.

    *apps* gives the application for control calls; *put_in_force* takes every new version of the rules, and
    what was altered to it (`altering`).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        app: Callable[[], App | None],
        put_in_force: "Callable[[Stage, InForce, Rules], None]",
        redaction_key: bytes,
        last: HostRules,
        kind: str = "asgi",
        client: str = OWN,
        store: Store | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.metrics = WorkerMetrics()
        self.outgoing = Outgoing(self.loop)
        self.body_idle_seconds = settings.limits.body_idle_timeout
        rate = settings.limits.body_rate_bytes
        self.body_byte_seconds = 1 / rate if rate else math.inf
        self._settings = settings = with_app_service(settings)
        self._put_in_force = put_in_force
        self.in_force = InForce(Rules(), 0)
        """What ``engine`` decides by; `Engine.plan` takes no other's decisions."""
        self._given = self.in_force.rules
        self.is_ready = False
        """Whether requests need not wait."""
        self._is_closed = False
        self._now = time.monotonic()
        self._tasks: asyncio.TaskGroup | None = None
        self._root: asyncio.Task[None] | None = None
        self._spawned: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._entered = asyncio.Event()
        self._has_rules = asyncio.Event()
        self._has_store = asyncio.Event()
        self.source = f"{kind}-{os.getpid()}-{secrets.token_hex(8)}"
        self._outbox = Outbox()
        # Not the interpreter's own: an application that seeds that one draws what it would draw without us.
        chance = random.Random().random
        self.mirror = Mirror(
            recorder=self._outbox,
            metrics=self.metrics,
            now=time.perf_counter,
            wall=time.time,
            chance=chance,
            limits=mirror_limits(settings.shadow),
            fullness=self._outbox.fullness,
        )
        self._outbox.drain = self.mirror.drain
        maker = UpstreamMaker(
            loop=self.loop,
            spawn=self.spawn,
            clock=self._clock,
            outgoing=self.outgoing,
            chance=chance,
            allowance=Allowance(self.loop),
        )
        self._services = Services(
            maker, loop=self.loop, spawn=self.spawn, clock=self._clock, app=app, client=client
        )
        self.engine = Engine(
            settings, mirror=self.mirror, metrics=self.metrics, make_pool=self._services.pool
        )
        if store is None:
            store = open_store(settings.store, environment=settings.environment)
        self._store: Store = store
        self._last = last
        self._followed = (0, "")
        self._kills = HostKills(settings, self._killed)
        self._trouble = Trouble()
        self._book = Rulebook(self._store, seed=settings.rules, services=settings.services.keys())
        self._assessor = assessor_of(settings, redaction_key, chance)
        self.intake = Intake(
            self._store,
            self._assessor,
            trouble=self._trouble,
            acknowledge=self._taken,
            control_share=settings.shadow.control,
            time_share=COMPARING_SHARE,
            long_share=LONG_SHARE,
        )
        self._exposing = Exposing(
            self._store, self.engine.sightings, settings=settings.exposures, metrics=self.metrics
        )
        self._reporting = Reporting(
            self._store,
            self.intake,
            self._book,
            settings=settings,
            trouble=self._trouble,
            metrics=self.metrics,
        )

    # -- life --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the work of this loop."""
        self._kills.begin()
        # The one task that no group owns: it owns the group.
        self._root = self.loop.create_task(self._run())

    async def ready(self) -> None:
        """Wait until rules are in force: the store's, else the last good ones of this host, or after
        `RULES_SECONDS` the configured ones.
        """
        if self._has_rules.is_set():
            return
        try:
            async with asyncio.timeout(RULES_SECONDS):
                await self._entered.wait()
                await self._has_rules.wait()
        except TimeoutError:
            log.error(
                "no rules from the store after %g s: starting from the configuration; %s",
                RULES_SECONDS,
                self._trouble.text,
            )
            self._turn(self._settings.rules, 0)

    async def end(self, seconds: float) -> None:
        """Let the copies under way come back, store the last evidence, stop: within *seconds*."""
        root, self._root = self._root, None
        if root is None:
            return
        self._stopping.set()
        last = min(CUT_SECONDS, seconds / 4)
        _, late = await asyncio.wait([root], timeout=seconds - last)
        if late:
            log.warning("mirroring did not end within %g s: cut off", seconds)
            root.cancel()
            _, late = await asyncio.wait([root], timeout=last)
        if late:
            await self._close()  # an application that is asked for a control may ignore that it is cancelled

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                background = [
                    tasks.create_task(self._kept_up("last_rules", self._keep_last)),
                    tasks.create_task(self._kept_up("store", self._keep_store)),
                    tasks.create_task(self._kept_up("rules", self._follow)),
                    tasks.create_task(self._kept_up("batches", self._take_batches)),
                    tasks.create_task(self._kept_up("sweep", self._sweep)),
                    tasks.create_task(self._kept_up("evidence", self._flush)),
                    tasks.create_task(self._kept_up("exposures", self._expose)),
                ]
                self._entered.set()
                await self._stopping.wait()
                await self._finish()
                await ended([*background, *self._spawned])
        finally:
            await self._close()

    async def _close(self) -> None:
        """Let go of everything outside of this process. Does nothing twice."""
        if not self._is_closed:
            self._is_closed = True
            self._tasks = None
            self._kills.end()
            for pool in self.engine.pools:
                pool.close()
            await self._services.close()
            self._exposing.end(self._trouble.text)
            await self._close_store()

    async def _kept_up(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do *work* for ever, and again after a fault in it, which must not end the rest."""
        while True:
            try:
                await work()
            except Exception:
                self.metrics.errors[f"internal_{what}"] += 1
                log.exception("the work on %s failed, and is begun again", what)
            await asyncio.sleep(STORE_RETRY_SECONDS)

    async def _finish(self) -> None:
        limit = time.monotonic() + min(LAST_COPIES_SECONDS, self._settings.shadow.timeout)
        while self.mirror.running and time.monotonic() < limit:  # noqa: ASYNC110  it is told by nobody
            await asyncio.sleep(0.01)
        self.mirror.cancel_all()
        if not self._trouble.is_met:  # a short life: the store is being opened
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_BATCHES_SECONDS):
                    await self._has_store.wait()
        if not self._has_store.is_set():
            return
        # One may be under way, with others behind it. A store in trouble may only be busy: one chance.
        for _ in range(1 if self._trouble.text else 2):
            self.offer_evidence()
            await self.intake.finish(LAST_BATCHES_SECONDS)
        await self._exposing.finish()

    async def _close_store(self) -> None:
        try:
            await self._store.close()
        except StoreError as error:
            log.error("%s", error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """A task for *work* in this loop; None when the stage is ending."""
        tasks = self._tasks
        if tasks is None or (self._stopping.is_set() and not self.mirror.running):
            work.close()
            return None
        task = tasks.create_task(self._isolated(work))
        self._spawned.add(task)

        def forget(task: asyncio.Task[None]) -> None:
            self._spawned.discard(task)
            work.close()  # of one that was cancelled before it began

        task.add_done_callback(forget)
        return task

    async def _isolated(self, work: Coroutine[Any, Any, None]) -> None:
        """A fault in one piece of work ends that one; in a group it would end all."""
        try:
            await work
        except Exception:
            self.metrics.errors["internal_work"] += 1
            log.exception("a piece of work failed")

    def _clock(self) -> float:
        return self._now

    # -- rules -------------------------------------------------------------------------------------------

    async def _keep_store(self) -> None:
        """Open the store, however long it takes."""
        while not self._has_store.is_set():
            try:
                await self._store.open()
                await self._book.load(time.time())
                self._follow_book()
                await self.intake.load()
                self._reporting.loaded()
            except StoreError as error:
                self._last.tried()
                self._trouble.met(error)
                await asyncio.sleep(STORE_RETRY_SECONDS)
            else:
                self._trouble.opened()
                self._has_store.set()
        await self._stopping.wait()

    async def _take_batches(self) -> None:
        await self._has_store.wait()
        await self.intake.run()

    async def _expose(self) -> None:
        await self._has_store.wait()
        await self._exposing.run()

    async def _follow(self) -> None:
        await self._has_store.wait()
        while True:
            try:
                if await self._book.follow(seconds=FOLLOWED_SECONDS):
                    self._follow_book()
            except StoreError as error:
                log.debug("rules cannot be followed: %s", error)  # whoever needs the store tells of it
                await asyncio.sleep(STORE_RETRY_SECONDS)
            except UnderstudyError as error:
                log.error(
                    "rules version %d stays: a newer one does not compile: %s", self.in_force.version, error
                )

    async def put_rules(
        self, document: Mapping[str, Any], *, author: str, reason: str, expected: int | None = None
    ) -> int:
        """Store *document* as the next version and put it in force here; its number.

        Others that share the store follow. *expected* is the version that it replaces, None any. Raises
        `ConfigError` (nothing was changed), `VersionConflict`, `StoreError`.
        """
        stored = await self._book.put(
            with_rules(document), expected=expected, author=author, reason=reason, at=time.time()
        )
        self._follow_book()
        return stored.version

    async def _keep_last(self) -> None:
        await self._last.run(self._book, self._turn_to_book)

    def _follow_book(self) -> None:
        """Put in force what the store has said, and keep it for a start without it."""
        self._turn_to_book()
        self._last.keep(self._book.current())

    def _turn_to_book(self) -> None:
        current = self._book.current()
        if self._followed != (current.version, current.sha256):
            self._turn(self._book.parsed, current.version)
            self._followed = (current.version, current.sha256)

    def _killed(self) -> None:
        """The kill file says something else."""
        if self._has_rules.is_set():
            self.lay_out()

    def lay_out(self) -> None:
        """Decide anew by the rules in force, as the kill file and who alters them say now. In this loop."""
        self._turn(self._given, self.in_force.version)

    def _turn(self, rules: Rules, version: int) -> None:
        """Put *rules* in force, with what this host kills, here and for whoever decides.

        Raises `UnderstudyError` when they do not compile; then nothing changes.
        """
        in_force = InForce(altered(rules), version, self._kills.kills, self.engine.sightings)
        self._given = rules
        self.engine.swap(in_force.rules, in_force.version, in_force.compiled)
        self.in_force = in_force
        self._assessor.comparison = Comparison(in_force.rules.compare, before=self._assessor.comparison)
        self._put_in_force(self, in_force, rules)
        self.is_ready = True
        self._has_rules.set()

    # -- mirroring ---------------------------------------------------------------------------------------

    def rehearse(
        self,
        plan: Plan,
        head: Head,
        fields: Fields,
        *,
        target: bytes,
        added: bytes,
        unseen: frozenset[bytes] = NO_FIELDS,
    ) -> Rehearsal | None:
        """Begin to mirror a request that *plan* mirrors; None when no copy of it may be sent.

        Tell what is returned of the body, then ``send``, then of the answer; in this loop. Never raises.
        """
        start = b"%b %b HTTP/1.1" % (head.method.encode("latin-1"), target)
        return rehearse(self.mirror, plan, head, fields, start, added, is_upgrade=False, unseen=unseen)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._now = time.monotonic()
            self._contain("sweep", lambda: self.mirror.sweep(time.perf_counter()))
            self._contain("sweep", self._sweep_pools)

    def _sweep_pools(self) -> None:
        for pool in self.engine.pools:
            pool.sweep(self._now)

    def _contain(self, what: str, work: Callable[[], object]) -> None:
        """Do periodic *work*; a fault in it must not end the others."""
        try:
            work()
        except Exception:
            self.metrics.errors[f"internal_{what}"] += 1
            log.exception("the periodic work on %s failed", what)

    # -- evidence ----------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._contain("evidence", self.offer_evidence)
            self._contain("exposures", self._exposing.gather)

    def offer_evidence(self) -> None:
        """Hand what was counted and what differs to be stored, unless the last batch is still on its way."""
        self.engine.collect_errors()
        batch = self._outbox.next_batch()
        if batch is not None:
            self.intake.offer(self.source, batch)

    def _taken(self, _source: str, sequence: int) -> None:
        self._outbox.acknowledge(sequence)
        if len(self._outbox) >= BACKLOG_PAIRS:
            self.loop.call_soon(self._contain, "evidence", self.offer_evidence)

    async def report(self) -> dict[str, Any]:
        """See `Reporting.report`."""
        return await self._reporting.report()

    def snapshot(self) -> Mapping[str, Any]:
        """This process's counts, as a worker tells them."""
        return {**self.metrics.snapshot(), "worker": self.source.partition("-")[0]}
