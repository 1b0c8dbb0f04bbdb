"""Who looks at the report is told when it has changed: server-sent events (HTML Living Standard, 9.2).

A listener costs a connection and one comparison of two numbers a second; the report is read once for all.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from understudy.admin.control import ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import within
from understudy.errors import StoreError

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a reverse proxy before us would hold events back otherwise
}
_REST: Final = 9
_LAST_SECONDS: Final = 0.5
"""For the end of a stream, when the process goes: below what uvicorn grants before it cuts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a listener is spoken to, and what it may cost.

    A reader sees a change within ``every_seconds``. Proxies drop connections that are silent for a minute
    at least; ``heartbeat_seconds`` is what the standard advises (9.2.7). One that takes no data for
    ``send_seconds`` is dropped. ``retry_seconds``: when a browser that lost us tries again.
    """

    every_seconds: float = 1.0
    heartbeat_seconds: float = 15.0
    send_seconds: float = 10.0
    retry_seconds: float = 2.0
    most_listeners: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a listener is told: the report has ``revision`` now, and says ``verdict``."""

    revision: int
    verdict: str

    @property
    def event(self) -> bytes:
        """As an event on the wire."""
        data = orjson.dumps({"revision": self.revision, "verdict": self.verdict}).decode()
        return f"event: report\nid: {self.revision}\ndata: {data}\n\n".encode()


class Bulletin:
    """The newest word on the report, asked for once however many listen.

    Over much evidence a report takes seconds; reading it is kept to a tenth of the time.
    """

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._word: Word | None = None
        self._is_asking = False
        self._rests_until = 0.0

    async def word(self) -> Word | None:
        """The newest that is known; None before the report could be read for the first time."""
        now = asyncio.get_running_loop().time
        revision, began = self._control.revision(), now()
        is_new = self._word is None or self._word.revision != revision
        if is_new and not self._is_asking and began >= self._rests_until:
            self._is_asking = True
            try:
                report = await within(self._control.report())
                self._word = Word(revision=revision, verdict=str(report.get("verdict", "")))
            except (StoreError, TimeoutError):
                pass  # /readyz says why; asked again in a second
            finally:
                self._is_asking = False
                self._rests_until = now() + _REST * (now() - began)
        return self._word


class EventEndpoints:
    """``/api/v1/report/events``. Streams end when *stopping* is set."""

    def __init__(
        self, control: ControlPlane, *, stopping: asyncio.Event | None = None, pace: Pace | None = None
    ) -> None:
        self.pace = pace or Pace()
        self.bulletin = Bulletin(control)
        self.stopping = stopping or asyncio.Event()
        self.listeners = 0

    async def events(self, request: Request) -> Response:
        """An ``event: report`` now and whenever the report has changed, at most one a second.

        Its data: ``{"revision": n, "verdict": "…"}``. Revisions are equal as long as the report is.
        """
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        if self.listeners >= self.pace.most_listeners:
            detail = f"{self.listeners} listeners are here already; ask /api/v1/report now and then instead"
            raise Refusal(503, detail, headers={"Retry-After": "30"})
        return _Stream(self)


class _Stream(Response):
    """One listener, until it leaves, takes nothing any more, or the process stops."""

    def __init__(self, endpoints: EventEndpoints) -> None:
        super().__init__(headers=HEADERS)
        self._endpoints = endpoints
        self._pace = endpoints.pace
        del self.headers["content-length"]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self._endpoints.listeners += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with asyncio.TaskGroup() as tasks:
                ends = [
                    tasks.create_task(self._speak(send)),
                    tasks.create_task(_until_gone(receive)),
                    tasks.create_task(_until_set(self._endpoints.stopping)),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
            await self._end(send)
        finally:
            self._endpoints.listeners -= 1

    async def _speak(self, send: Send) -> None:
        """Returns when the listener takes no data any more."""
        loop = asyncio.get_running_loop()
        told: Word | None = None
        data, spoke_at = f"retry: {self._pace.retry_seconds * 1000:.0f}\n\n".encode(), loop.time()
        while True:
            word = await self._endpoints.bulletin.word()
            if word is not None and word != told:
                told, data = word, data + word.event
            elif loop.time() - spoke_at >= self._pace.heartbeat_seconds:
                data += b": still here\n\n"
            if data and not await self._is_taken(send, data):
                return
            data, spoke_at = b"", loop.time() if data else spoke_at
            await asyncio.sleep(self._pace.every_seconds)

    async def _is_taken(self, send: Send, data: bytes) -> bool:
        try:
            async with asyncio.timeout(self._pace.send_seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
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


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()
