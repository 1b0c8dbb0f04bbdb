"""Who looks at the report is told when it has changed: server-sent events (HTML Living Standard, 9.2).

A listener costs a connection and one comparison of two numbers a second; the report is read once for all.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.request import caller_of, within
from understudy.admin.stream import HEADERS, Ended, Pace, Room, Stream
from understudy.errors import StoreError

_REST: Final = 9


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
    """``/api/v1/report/events``. Streams end when *stopping* is set, or *ended* returns for their caller."""

    def __init__(
        self,
        control: ControlPlane,
        *,
        ended: Ended,
        stopping: asyncio.Event | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._ended = ended
        self.bulletin = Bulletin(control)
        self.room = Room(pace=pace or Pace(), stopping=stopping or asyncio.Event(), instead="/api/v1/report")

    async def events(self, request: Request) -> Response:
        """An ``event: report`` now and whenever the report has changed, at most one a second.

        Its data: ``{"revision": n, "verdict": "…"}``. Revisions are equal as long as the report is.
        """
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        caller = caller_of(request)
        self.room.check(caller)
        return Stream(self.room, _Reading(self.bulletin), caller=caller, ended=self._ended)


class _Reading:
    """What one listener is told of the report."""

    def __init__(self, bulletin: Bulletin) -> None:
        self._bulletin = bulletin
        self._told: Word | None = None

    async def next(self, wait_seconds: float) -> bytes:
        """At most one event in *wait_seconds*."""
        await asyncio.sleep(wait_seconds)
        word = await self._bulletin.word()
        if word is None or word == self._told:
            return b""
        self._told = word
        return word.event
