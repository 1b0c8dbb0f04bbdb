"""One stream of server-sent events (HTML Living Standard, 9.2), and how many may be open."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from understudy.access import Caller
from understudy.admin.refusal import Refusal

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a reverse proxy before us would hold events back otherwise
}
_LATER: Final = {"Retry-After": "30"}
_LAST_SECONDS: Final = 0.5
"""For the end of a stream, when the process goes: below what uvicorn grants before it cuts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a listener is spoken to, and what it may cost.

    A reader sees a change within ``every_seconds``. Proxies drop connections that are silent for a minute
    at least; ``heartbeat_seconds`` is what the standard advises (9.2.7). One that takes no data for
    ``send_seconds`` is dropped. ``retry_seconds``: when a browser that lost us tries again.
    ``most_of_one``: listeners of one caller at one address, so that none takes every place.
    """

    every_seconds: float = 1.0
    heartbeat_seconds: float = 15.0
    send_seconds: float = 10.0
    retry_seconds: float = 2.0
    most_listeners: int = 32
    most_of_one: int = 16


Ended = Callable[[Caller], Awaitable[None]]
"""Returns once the caller may listen no more (`Keyring.ended`)."""


class Speech(Protocol):
    """What one listener is told."""

    async def next(self, wait_seconds: float) -> bytes:
        """Events on the wire, as soon as there are any; nothing after *wait_seconds* without."""


class Room:
    """How many listeners are here, and whether the process stops."""

    def __init__(self, *, pace: Pace, stopping: asyncio.Event, instead: str) -> None:
        self.pace = pace
        self.stopping = stopping
        self.listeners = 0
        self._of_one: Counter[Hashable] = Counter()
        self.dropped = 0
        """Events that a listener did not take in time."""
        self._instead = instead

    def check(self, caller: Caller) -> None:
        """Raises: Refusal 503 when no listener more may come in, 429 when none more of *caller*."""
        if self.listeners >= self.pace.most_listeners:
            detail = f"{self.listeners} listeners are here already; ask {self._instead} now and then instead"
            raise Refusal(503, detail, headers=_LATER)
        held = self._of_one[_who(caller)]
        if held >= self.pace.most_of_one:
            detail = f"{held} listeners with this token and address are here already; close some, or ask "
            raise Refusal(429, f"{detail}{self._instead} now and then instead", headers=_LATER)

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Count a listener of *caller* for as long as the context lasts."""
        who = _who(caller)
        self.listeners += 1
        self._of_one[who] += 1
        try:
            yield
        finally:
            self.listeners -= 1
            self._of_one[who] -= 1
            if not self._of_one[who]:
                del self._of_one[who]


def _who(caller: Caller) -> Hashable:
    """One token at one address; sessions of a token are one, and so are all of a name that shows none."""
    return caller.selector or caller.name, caller.origin


class Stream(Response):
    """One listener, until it leaves, takes nothing any more, *ended* returns, or the process stops."""

    def __init__(self, room: Room, speech: Speech, *, caller: Caller, ended: Ended) -> None:
        super().__init__(headers=HEADERS)
        self._caller = caller
        self._ended = ended
        self._room = room
        self._pace = room.pace
        self._speech = speech
        del self.headers["content-length"]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._room.place(self._caller):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with asyncio.TaskGroup() as tasks:
                ends = [
                    tasks.create_task(self._speak(send)),
                    tasks.create_task(_until_gone(receive)),
                    tasks.create_task(_until_set(self._room.stopping)),
                    tasks.create_task(_until(self._ended(self._caller))),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
            await self._end(send)

    async def _speak(self, send: Send) -> None:
        """Returns when the listener takes no data any more."""
        loop = asyncio.get_running_loop()
        data, spoke_at = f"retry: {self._pace.retry_seconds * 1000:.0f}\n\n".encode(), loop.time()
        data += await self._speech.next(0)
        while True:
            if not data and loop.time() - spoke_at >= self._pace.heartbeat_seconds:
                data = b": still here\n\n"
            if data:
                if not await self._is_taken(send, data):
                    return
                spoke_at = loop.time()
            data = await self._speech.next(self._pace.every_seconds)

    async def _is_taken(self, send: Send, data: bytes) -> bool:
        try:
            async with asyncio.timeout(self._pace.send_seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            self._room.dropped += 1
            return False
        return True

    async def _end(self, send: Send) -> None:
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # the server cuts the connection


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until(ended: Awaitable[None]) -> None:
    await ended


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
