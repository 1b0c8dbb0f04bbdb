"""Stays in touch with the server: asks at the start, listens for changes, asks now and then all the same.

Whatever the server does, what was last known goes on answering; here is only decided when to ask again.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from understudy.client.event_stream import EventStream
from understudy.client.status import State
from understudy.client.trouble import MOST_RETRY_SECONDS, StreamTrouble, Trouble
from understudy.client.wire import Pieces, Wire

log = logging.getLogger("understudy.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the server is asked, and how long its silence is believed.

    ``poll_seconds``: besides the stream, and without one. ``silence_seconds``: three of the server's
    heartbeats (15 s). After trouble the first wait is ``first_seconds``, then twice as long each time up to
    ``most_seconds``, each drawn between half and all of it, so that a thousand clients do not come back at
    once.
    """

    poll_seconds: float = 30.0
    silence_seconds: float = 45.0
    first_seconds: float = 0.5
    most_seconds: float = 30.0

    def wait_seconds(self, troubles: int, chance: float) -> float:
        """How long to wait after so many *troubles* in a row; *chance* is from 0 to 1."""
        longest = min(self.most_seconds, self.first_seconds * 2.0 ** min(troubles - 1, 16))
        return longest * (0.5 + 0.5 * chance)


class Source(Protocol):
    """What is kept up to date."""

    @property
    def version(self) -> int | None:
        """The version of the rules that are known; None when nobody told."""

    async def refresh(self, wire: Wire) -> None:
        """Ask the server once. Raises: Trouble."""

    def turned(self) -> None:
        """The server says that the rules have changed."""


_BEHIND_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Waits between questions when a change was told of, but the host that answers does not have it yet."""
_REST_SECONDS = 0.1
"""Between two questions, however many changes are told of: a rollout's step is one, a flood is none."""
_LASTING_SECONDS = 10.0
"""A stream that lasted so long was no trouble."""


class Feed:
    """Keeps *source* up to date for as long as `run` runs. *told* hears of each new state."""

    def __init__(self, source: Source, *, pace: Pace, told: Callable[[State], None], is_held: bool) -> None:
        self._source = source
        self._pace = pace
        self._told = told
        self._last_id = ""
        self._in_a_row = 0
        self._has_told = False
        self.state = State.STALE if is_held else State.STARTING
        self.since = time.time()
        self.is_connected = False
        self.confirmed_at: float | None = None
        """By the monotonic clock."""
        self.error = ""
        self.troubles = 0

    async def run(self, wire: Wire) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._refresh(wire)
                wait = await self._listen(wire)
            except Trouble as trouble:
                wait = self._lost(trouble)
            except Exception as error:  # a refresh is isolated: what nobody foresaw must not end it
                log.exception("keeping in touch with the server failed")
                wait = self._lost(Trouble(f"unexpected: {type(error).__name__}: {error}"))
            await asyncio.sleep(wait)

    def begin(self, *, is_held: bool) -> None:
        """`run` is about to run again; *is_held*: there is something to answer with."""
        if self.state is State.CLOSED:
            self.state, self.since = (State.STALE if is_held else State.STARTING), time.time()
        self._in_a_row, self._has_told = 0, False

    def leave(self) -> None:
        """`run` ended, though nobody closed the client: its event loop was stopped, say."""
        self.error = "nothing keeps in touch with the server any more: the event loop has ended"
        if self.state is State.READY:
            self._come_to(State.STALE)

    def close(self) -> None:
        """Nothing is asked any more."""
        self._come_to(State.CLOSED)

    def tell_again(self) -> None:
        """Tell the state when it next is known, changed or not: somebody could not hear it."""
        self._has_told = False

    async def _refresh(self, wire: Wire, version: int | None = None) -> None:
        """Ask once, or until *version* is there. Raises: Trouble."""
        await self._source.refresh(wire)
        self.confirmed_at = time.monotonic()
        for seconds in _BEHIND_SECONDS:
            if version is None or self._source.version is None or self._source.version >= version:
                break
            await asyncio.sleep(seconds)
            await self._source.refresh(wire)
        self.error = ""
        self._come_to(State.READY)

    async def _listen(self, wire: Wire) -> float:
        """Hear the stream to its end; the seconds to wait then.

        Raises: Trouble when asking fails meanwhile.
        """
        begun = time.monotonic()
        try:
            async with wire.events(self._last_id) as pieces:
                self.is_connected = True
                await self._hear(wire, pieces)
        except StreamTrouble as trouble:
            self._note(trouble)
            if trouble.status:
                # There is no stream for us: ask now and then instead.
                self._in_a_row = 0
                return max(self._polling_seconds(), min(trouble.retry_after_seconds, MOST_RETRY_SECONDS))
        finally:
            self.is_connected = False
        lasted = time.monotonic() - begun
        self._in_a_row = 1 if lasted >= _LASTING_SECONDS else self._in_a_row + 1
        return self._pace.wait_seconds(self._in_a_row, random.random())

    async def _hear(self, wire: Wire, pieces: Pieces) -> None:
        stream, ask_at = EventStream(), time.monotonic() + self._polling_seconds()
        asked_at = -_REST_SECONDS
        while piece := await pieces.next(self._pace.silence_seconds):
            events = stream.feed(piece)
            if events:
                version = _version(events[-1].id)
                # Any other id is not ours, and might be one that cannot be said in a field.
                self._last_id = "" if version is None else events[-1].id
                # What is told of meanwhile is in the next piece, together.
                await asyncio.sleep(max(0.0, asked_at + _REST_SECONDS - time.monotonic()))
                asked_at = time.monotonic()
                self._source.turned()
                await self._refresh(wire, version)
            elif time.monotonic() >= ask_at:
                # The server's heartbeat is the clock: an event may be lost, a version is not.
                await self._refresh(wire)
            else:
                continue
            ask_at = time.monotonic() + self._polling_seconds()

    def _lost(self, trouble: Trouble) -> float:
        """Go on without the server; the seconds to wait."""
        self._note(trouble)
        self._in_a_row += 1
        if self.state is not State.STARTING:
            self._come_to(State.STALE)
        elif self._in_a_row == 1:
            log.warning("there are no flags yet, defaults answer: %s", trouble)
        wait = self._pace.wait_seconds(self._in_a_row, random.random())
        return max(wait, min(trouble.retry_after_seconds, MOST_RETRY_SECONDS))

    def _note(self, trouble: Trouble) -> None:
        self.error = str(trouble)
        self.troubles += 1

    def _polling_seconds(self) -> float:
        return self._pace.poll_seconds * (0.9 + 0.2 * random.random())

    def _come_to(self, state: State) -> None:
        # A listener may close the client while it is told of what has just come.
        if self.state is not State.CLOSED and (state is not self.state or not self._has_told):
            self._has_told = True
            self._log(state)
            self.state, self.since = state, time.time()
            self._told(state)

    def _log(self, state: State) -> None:
        """Who only reads logs learns of a lost server and a wrong token there; once, not for each trouble."""
        if state is State.STALE:
            log.warning("the server is lost, the last flags known answer: %s", self.error)
        elif state is State.READY and self.troubles:
            log.info("in touch with the server again")


def _version(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
