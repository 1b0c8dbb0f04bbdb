"""SDKs are told that the rules have changed, and ask anew (OFREP decision 8)."""

import asyncio
import time
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.entity_tags import etag
from understudy.admin.in_force import Succession, Turn
from understudy.admin.request import caller_of
from understudy.admin.stream import HEADERS, Ended, Pace, Room, Stream

PACE: Final = Pace(every_seconds=15.0, most_listeners=1000, most_of_one=100)
"""A change is told at once, whatever the pace. A listener costs a connection and 40 KiB."""
_FRESH_SECONDS: Final = 30.0
"""A newcomer is told of a turn younger than this: it may have come after the answer that led here."""


class OfrepEventEndpoints:
    """``GET /ofrep/v1/sse``. Streams end when *stopping* is set, or *ended* returns for their caller."""

    def __init__(
        self,
        control: ControlPlane,
        *,
        ended: Ended,
        stopping: asyncio.Event | None = None,
        pace: Pace = PACE,
    ) -> None:
        self._control = control
        self._ended = ended
        self.room = Room(
            pace=pace, stopping=stopping or asyncio.Event(), instead="POST /ofrep/v1/evaluate/flags"
        )

    async def events(self, request: Request) -> Response:
        """A ``refetchEvaluation`` for every turn of the rules; its id is their version.

        One that brings a Last-Event-ID is told what it missed, or the newest alone if that was too much.
        """
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        caller = caller_of(request)
        self.room.check(caller)
        telling = Telling(self._control.succession, request.headers.get("last-event-id", ""))
        return Stream(self.room, _Speaking(telling), caller=caller, ended=self._ended)


class Telling:
    """Which turns one listener is told of; *last* is the id of the last one it knows, if it says."""

    def __init__(self, succession: Succession, last: str) -> None:
        self._succession = succession
        self._missed = missed(succession, last)
        self._serial = succession.serial

    async def turns(self, wait_seconds: float) -> list[Turn]:
        """All that were not told yet; none after *wait_seconds* without."""
        if not self._missed:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._succession.turn(self._serial)
            except TimeoutError:
                return []
        turns = [*self._missed, *self._succession.after(self._serial)]
        self._missed, self._serial = [], self._succession.serial
        return turns


class _Speaking:
    """Turns as server-sent events."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    async def next(self, wait_seconds: float) -> bytes:
        """The events of all turns that were not told yet."""
        return b"".join(map(_event, await self._telling.turns(wait_seconds)))


def missed(succession: Succession, last: str) -> list[Turn]:
    """The turns after the one with id *last*; of an unknown one, or none, the newest if it is fresh."""
    if last.isascii() and last.isdigit() and len(last) < 19:
        return succession.since(int(last))
    newest = succession.since(-1)
    return [turn for turn in newest if time.time() - turn.at < _FRESH_SECONDS]


def told(turn: Turn) -> dict[str, Any]:
    """The data of the event that tells of *turn*; its id is the version."""
    return {"type": "refetchEvaluation", "etag": etag(turn.version), "lastModified": int(turn.at)}


def _event(turn: Turn) -> bytes:
    return b"id: %d\nevent: message\ndata: %b\n\n" % (turn.version, orjson.dumps(told(turn)))
