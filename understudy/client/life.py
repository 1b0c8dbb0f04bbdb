"""All of a client but the questions to it.

What it knows, and how that is kept up to date on an event loop.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from understudy.client.definition import missing
from understudy.client.exposing import Exposing
from understudy.client.feed import Feed
from understudy.client.holding import Holding
from understudy.client.hooks import Exposure, Hooks
from understudy.client.kept import Kept
from understudy.client.options import Options
from understudy.client.remote import Remote, context_json
from understudy.client.status import State, Status
from understudy.client.wire import Wire
from understudy.decide import Evaluation

LAST_SECONDS: Final = 2.0
"""For the exposures that still wait when a client closes."""


class Life:
    """Knows what *options* say, and keeps it up to date while `run` runs.

    Exactly one of ``holding`` and ``remote`` is there.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.hooks = Hooks()
        self.holding: Holding | None = None
        self.remote: Remote | None = None
        self._wire: Wire | None = None
        self._wired = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_begun = False
        """Whether `run` runs, or is about to."""
        self.exposing = Exposing()
        if options.mode == "remote":
            self.remote = Remote(
                fresh_seconds=options.pace.poll_seconds,
                answer_seconds=options.timeout_seconds,
                changed=self.hooks.changed,
            )
        else:
            self.holding = self._held(options)
        if options.sends_exposures:
            self.hooks.on_exposure(self._expose)
        self.feed = self._feed()

    @property
    def is_ready(self) -> bool:
        """Whether there is something to answer with."""
        return self.feed.state in (State.READY, State.STALE)

    async def run(self, stop: asyncio.Event) -> None:
        """Until *stop* is set; then send what waits, for a moment."""
        options = self.options
        wire = Wire(
            options.url,
            token=options.token,
            flag_set=options.flag_set,
            timeout_seconds=options.timeout_seconds,
            verify=options.verify,
        )
        async with wire:
            self._wire, self._loop = wire, asyncio.get_running_loop()
            self._wired.set()
            try:
                await self._live(wire, stop)
            finally:
                if self._wire is wire:  # else another `run` has begun since
                    self._wire, self.is_begun = None, False
                    if not stop.is_set():
                        self.feed.leave()

    def begin(self) -> None:
        """`run` is about to run, for the first time or again: what is known stays."""
        self._wire, self._loop, self._wired = None, None, asyncio.Event()
        self.is_begun = True
        self.feed.begin(is_held=self._is_held)

    def renew(self) -> None:
        """Go on in a forked process: what is known stays, what was under way is the parent's."""
        self._wire, self._loop, self._wired = None, None, asyncio.Event()
        self.is_begun = False
        self.hooks.renew()
        self.exposing.renew()
        if self.remote is not None:
            self.remote.renew()
        self.feed = self._feed()

    def evaluate(self, flag: str, context: dict[str, Any]) -> Evaluation:
        """What flag *flag* answers, if that can be said without asking the server. Never waits or raises."""
        if self.holding is not None:
            return self.holding.evaluate(flag, context)
        found = self.remote.fresh(flag, context_json(context)) if self.remote is not None else None
        return found or missing("PROVIDER_NOT_READY", "the client is not running")

    def last(self, flag: str, context: bytes) -> Evaluation | None:
        """What the server answered last, however long ago, if it did."""
        return self.remote.last(flag, context) if self.remote is not None else None

    async def evaluate_remotely(self, flag: str, context: bytes) -> Evaluation:
        """What the server answers, or answered last. Within the time for an answer; never raises."""
        if self.remote is None:
            return missing("GENERAL", "the client evaluates by itself")
        return await self.remote.evaluate(await self._asking(), flag, context)

    async def evaluate_all_remotely(self, context: bytes) -> Mapping[str, Evaluation]:
        """As above, for all flags."""
        return {} if self.remote is None else await self.remote.evaluate_all(await self._asking(), context)

    def last_all(self, context: bytes) -> Mapping[str, Evaluation]:
        """As `last`, for all flags; nothing when the server never said."""
        return self.remote.last_all(context) if self.remote is not None else {}

    def status(self) -> Status:
        """How things stand."""
        feed, holding = self.feed, self.holding
        held = holding.held if holding is not None else None
        age = None if feed.confirmed_at is None else time.monotonic() - feed.confirmed_at
        return Status(
            state=feed.state,
            since=feed.since,
            is_connected=feed.is_connected,
            version=held.origin.version if held is not None else None,
            age_seconds=age,
            flags=len(held.keys) if held is not None else 0,
            error=feed.error or (holding.trouble if holding is not None else "") or self.exposing.error,
            troubles=feed.troubles,
            hook_errors=self.hooks.errors,
            exposures_sent=self.exposing.sent,
            exposures_dropped=self.exposing.dropped,
        )

    async def _asking(self) -> Wire | None:
        """The connection, also when it is only just being made; None when this loop has none."""
        if self._loop not in (None, asyncio.get_running_loop()):
            return None
        if self._wire is None and self.is_begun:
            try:
                async with asyncio.timeout(self.options.timeout_seconds):
                    await self._wired.wait()
            except TimeoutError:
                pass  # answered as without a connection
        return self._wire

    async def _live(self, wire: Wire, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            feeding = tasks.create_task(self.feed.run(wire))
            others = [tasks.create_task(self.exposing.run(wire))]
            if self.remote is not None:
                others.append(tasks.create_task(self.remote.recover(wire)))
            await stop.wait()
            for other in others:
                other.cancel()
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    await self.exposing.send(wire)
            except TimeoutError:
                pass  # the server does not take them
            self.exposing.end()
            feeding.cancel()

    def _feed(self) -> Feed:
        source = self.holding or self.remote
        assert source is not None
        return Feed(source, pace=self.options.pace, told=self.hooks.came_to, is_held=self._is_held)

    @property
    def _is_held(self) -> bool:
        return self.holding is not None and self.holding.held is not None

    def _held(self, options: Options) -> Holding:
        source = f"{options.url.rstrip('/')} flag set {options.flag_set!r}"
        kept = Kept(options.cache, source=source) if options.cache is not None else None
        return Holding(flag_set=options.flag_set, kept=kept, changed=self.hooks.changed)

    def _expose(self, exposure: Exposure) -> None:
        if exposure.unit:
            self.exposing.offer(exposure.flag, exposure.variant, exposure.unit, exposure.at)
