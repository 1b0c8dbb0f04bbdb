"""One Understudy in an application: its configuration, the rules in force, a stage in the event loop."""

import asyncio
import logging
import os
import secrets
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from understudy.config import Rules, Settings, load, parse_settings
from understudy.errors import StoreError, UnderstudyError
from understudy.messages import Head
from understudy.metrics import WorkersCollector
from understudy.middleware.alterations import altered
from understudy.middleware.background import Background
from understudy.middleware.candidates import rehearse
from understudy.middleware.decision import Decision
from understudy.middleware.hop import Hop
from understudy.middleware.in_force import InForce, Ready
from understudy.middleware.kills import kills_now
from understudy.middleware.last_rules import Heard, host_rules
from understudy.middleware.remote import ControlStore, check_admin
from understudy.middleware.request import App
from understudy.middleware.services import CLIENTS, OWN
from understudy.middleware.stage import Stage
from understudy.middleware.work import in_loop

log = logging.getLogger("understudy.middleware")

LAID_OUT_SECONDS: Final = 5.0
"""More than a loop that serves requests is ever held up by one of them."""

P = ParamSpec("P")
R = TypeVar("R")

Config = str | Path | Mapping[str, Any] | Settings


class Understudy:
    """The rules in force and everything that follows from them, for the middleware of one application.

    *config*: the name of a file, a plain mapping of what would stand in one, or settings that were read.
    Raises `ConfigError`, naming every place and its mend; with *fail_open* it logs that, and every request
    passes as if there were no middleware. *registry*: where this process's metrics are shown. *client*: who
    carries copies, ``understudy`` (the proxy's own client) or ``aiohttp``.

    *admin*: the admin API of a control process (``http://127.0.0.1:9090``), which then is the store: its
    rules are followed and evidence is sent to it, by a *token* that an operator may have, else
    ``UNDERSTUDY_TOKEN``. `report` then tells what this process has seen.

    `decide` may be called in any thread. `start`, `stop` and `report` are for an event loop; what belongs to
    a loop is made anew for another one, and after a fork.
    """

    def __init__(
        self,
        config: Config,
        *,
        fail_open: bool = False,
        registry: CollectorRegistry | None = None,
        kind: str = "asgi",
        client: str = OWN,
        admin: str = "",
        token: str = "",
    ) -> None:
        if client not in CLIENTS:
            raise ValueError(f"client: {client!r} is not one of {', '.join(CLIENTS)}")
        self._client = client
        self._admin = admin
        self._token = token or os.environ.get("UNDERSTUDY_TOKEN", "")
        self.fail_open = fail_open
        self.failure = ""
        """Why everything passes; empty while the middleware works."""
        self.app: App | None = None
        """The application that is asked once more for controls."""
        self._kind = kind
        self.by_loop: dict[asyncio.AbstractEventLoop, Stage] = {}
        """What was started in each event loop."""
        self.ready: dict[asyncio.AbstractEventLoop, Ready] = {}
        """Of these, those whose requests need not wait, and what they are decided by."""
        self._past: list[Stage] = []
        """The parent's, in a forked process: neither used nor closed."""
        self._redaction_key = secrets.token_bytes(32)
        self._heard = Heard()
        self._base = (Path(config).parent if isinstance(config, str | Path) else Path()).absolute()
        try:
            self._admin = check_admin(admin, self._token) if admin else ""
            self.settings = _read(config)
            self._given = self.settings.rules
            self.in_force = InForce(altered(self._given), 0, kills_now(self.settings))
        except (UnderstudyError, OSError) as error:
            if not fail_open:
                raise
            self.failure = str(error)
            log.error("the middleware is off, and every request passes: %s", error)
            self.settings = Settings(services={})
            self._given = Rules()
            self.in_force = InForce(self._given, 0)
        self.background = Background(self)
        """The loop for who has none: WSGI, plain functions."""
        self.candidates: set[str] = set()
        """The names under which functions rehearse."""
        self.hop = Hop(self.settings, b"understudy-" + secrets.token_hex(4).encode("ascii"))
        if registry is not None:
            _show(self, registry)
        _here.add(self)

    # -- deciding, in any thread -------------------------------------------------------------------------

    def decide(self, head: Head) -> Decision:
        """What the rules in force say of *head*. Never raises, never waits, needs no event loop.

        Once it has started, who asks has met the variant: an exposure.
        """
        in_force = self.in_force
        found = in_force.compiled.decide(head)
        if found is not None and found.flag and in_force.sightings is not None:
            in_force.sightings.meetings(found.flag, found.variant).see(found, head)
        return Decision(in_force, head, found)

    # -- functions ---------------------------------------------------------------------------------------

    def shadow(
        self,
        candidate: Callable[..., Any],
        *,
        name: str = "",
        share: float = 1.0,
        copy: bool = True,
        repeatable: bool = False,
        timeout: float = 5.0,
        in_flight: int = 16,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function, sync or async, or a method: its callers get its answer, *candidate* rehearses.

        The candidate runs after the answer, off the caller's path, with the same arguments and context: a
        sync one in threads of its own, an async one as a task of the caller's loop. A *share* of the calls
        rehearse; at most *in_flight* at once, *timeout* seconds each. What it returns or raises is compared
        by the rules of the report, where the candidate stands as the service *name* and the function as the
        endpoint ``CALL /module.function`` (``ONCE`` unless *repeatable*). With *copy* each side has deep
        copies of the arguments (but of a method's instance); without, a side that changes them changes those
        of the others. *repeatable* says that the function may be called twice: then some calls are, to learn
        what differs by itself.

        Raises TypeError for generator functions and for one sync, one async; ValueError for a name that is
        taken.
        """
        return rehearse(
            self,
            candidate,
            name=name,
            share=share,
            copies=copy,
            is_repeatable=repeatable,
            timeout=timeout,
            in_flight=in_flight,
        )

    # -- an event loop's part ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin mirroring in this event loop, and wait until rules are in force. Does nothing twice.

        Raises RuntimeError where asyncio's loop does not run.
        """
        if self.failure:
            return
        loop = _loop()
        stage = self.by_loop.get(loop)
        if stage is None:
            for other in [other for other in list(self.by_loop) if other.is_closed()]:
                self.by_loop.pop(other, None)
                self.ready.pop(other, None)
            stage = self.by_loop[loop] = Stage(
                self.settings,
                app=lambda: self.app,
                put_in_force=self._put_in_force,
                redaction_key=self._redaction_key,
                last=host_rules(self.settings, self._base, self._heard, self._admin),
                kind=self._kind,
                client=self._client,
                store=ControlStore(self._admin, self._token) if self._admin else None,
            )
            stage.begin()
        await stage.ready()

    async def stop(self) -> None:
        """End what runs in this loop, within ``limits.drain_timeout``. May be called twice."""
        loop = asyncio._get_running_loop()
        stage = None if loop is None else self.by_loop.pop(loop, None)
        if loop is None or stage is None:
            return
        self.ready.pop(loop, None)
        others = [other for other in self.stages if other.is_ready and not other.loop.is_closed()]
        if others and self.in_force is stage.in_force:
            self.in_force = others[-1].in_force  # which are followed, and told of who meets what
        await stage.end(self.settings.limits.drain_timeout)

    @property
    def stage(self) -> Stage | None:
        """What was started in the event loop that runs here; else what was started last."""
        loop = asyncio._get_running_loop()
        if loop is not None:
            return self.by_loop.get(loop)
        # At once: another thread may begin one, and a dictionary that grows cannot be gone through.
        stages = self.stages
        return stages[-1] if stages else None

    @property
    def stages(self) -> list[Stage]:
        """What runs in this process, one for each event loop."""
        return list(self.by_loop.values())

    async def report(self) -> dict[str, Any]:
        """The report on all evidence in the store, which is waited for. Raises `StoreError` when it cannot be
        read."""
        errands = self.background.errands
        if errands is not None and errands.stage.loop is not asyncio.get_running_loop():
            return await asyncio.wrap_future(self.background.run(errands.stage.report()))
        await self.start()
        if self.stage is None:
            raise StoreError(f"there is no evidence, because the middleware is off: {self.failure}")
        return await self.stage.report()

    def lay_out(self) -> None:
        """Decide anew by the rules in force, in every loop, as the kill file and who alters them say now.

        May be called in any thread. Raises `UnderstudyError` when what they are altered to does not compile,
        TimeoutError when a loop does not come to it in `LAID_OUT_SECONDS`.
        """
        self.in_force = InForce(altered(self._given), self.in_force.version, kills_now(self.settings))
        for stage in self.stages:
            if stage.is_ready and not stage.loop.is_closed():
                in_loop(stage.loop, stage.lay_out, seconds=LAID_OUT_SECONDS)

    def _put_in_force(self, stage: Stage, in_force: InForce, given: Rules) -> None:
        self.in_force, self._given = in_force, given
        if self.by_loop.get(stage.loop) is stage:  # one that is ending may turn once more
            self.ready[stage.loop] = Ready(in_force, self.hop, stage)

    def forked(self) -> None:
        """This process is a new one: nothing of its parent's is used, or closed."""
        self.background.forked()
        self._past += self.by_loop.values()
        self.by_loop.clear()
        self.ready.clear()


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs here."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "no event loop of asyncio's runs here, nor uvloop's; serve by one of these, not by trio's"
        ) from None


def _read(config: Config) -> Settings:
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return parse_settings(config, base=Path.cwd(), environ=os.environ, has_app=True)
    return load(Path(config), os.environ, has_app=True)


class _Collector:
    """This process's metrics, read at scrape: all ``understudies`` together, as no series comes twice."""

    def __init__(self) -> None:
        self.understudies: weakref.WeakSet[Understudy] = weakref.WeakSet()

    def collect(self) -> Iterator[Metric]:
        stages = [stage for understudy in list(self.understudies) for stage in understudy.stages]
        if not stages:
            return
        compared: Counter[tuple[str, str, str]] = Counter()
        for stage in stages:
            compared.update(stage.intake.comparisons)
        snapshots = {stage.source: stage.snapshot() for stage in stages}
        yield from WorkersCollector(snapshots, compared=compared).collect()


_collectors: "weakref.WeakKeyDictionary[CollectorRegistry, _Collector]" = weakref.WeakKeyDictionary()


def _show(understudy: Understudy, registry: CollectorRegistry) -> None:
    """Let *registry* show the metrics of *understudy*."""
    collector = _collectors.get(registry)
    if collector is None:
        collector = _collectors[registry] = _Collector()
        registry.register(collector)
    collector.understudies.add(understudy)


_here: "weakref.WeakSet[Understudy]" = weakref.WeakSet()


def living() -> list[Understudy]:
    """Every one that was made in this process, or the one that it was forked from, and is still used."""
    return list(_here)


def _forked() -> None:
    for understudy in living():
        understudy.forked()


os.register_at_fork(after_in_child=_forked)
