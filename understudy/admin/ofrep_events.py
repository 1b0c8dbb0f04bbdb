"""SDKs are told that the rules have changed, and ask anew (OFREP decision 8)."""

import asyncio
import time
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.entity_tags import etag
from understudy.admin.in_force import Succession, Turn
from understudy.admin.stream import HEADERS, Pace, Room, Stream

PACE: Final = Pace(every_seconds=15.0, most_listeners=1000)
"""A change is told at once, whatever the pace. A listener costs a connection and 40 KiB."""
_FRESH_SECONDS: Final = 30.0
"""A newcomer is told of a turn younger than this: it may have come after the answer that led here."""


class OfrepEventEndpoints:
    """``GET /ofrep/v1/sse``. Streams end when *stopping* is set."""

    def __init__(
        self, control: ControlPlane, *, stopping: asyncio.Event | None = None, pace: Pace = PACE
    ) -> None:
        self._control = control
        self.room = Room(
            pace=pace, stopping=stopping or asyncio.Event(), instead="POST /ofrep/v1/evaluate/flags"
        )

    async def events(self, request: Request) -> Response:
        """A ``refetchEvaluation`` for every turn of the rules; its id is their version.

        One that brings a Last-Event-ID is told what it missed, or the newest alone if that was too much.
        """
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        self.room.check()
        return Stream(self.room, _Telling(self._control.succession, request.headers.get("last-event-id", "")))


class _Telling:
    """What one listener is told."""

    def __init__(self, succession: Succession, last: str) -> None:
        self._succession = succession
        self._missed = _missed(succession, last)
        self._serial = succession.serial

    async def next(self, wait_seconds: float) -> bytes:
        """The events of all turns that were not told yet."""
        if not self._missed:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._succession.turn(self._serial)
            except TimeoutError:
                return b""
        turns = [*self._missed, *self._succession.after(self._serial)]
        self._missed, self._serial = [], self._succession.serial
        return b"".join(map(_event, turns))


def _missed(succession: Succession, last: str) -> list[Turn]:
    if last.isascii() and last.isdigit() and len(last) < 19:
        return succession.since(int(last))
    newest = succession.since(-1)
    return [turn for turn in newest if time.time() - turn.at < _FRESH_SECONDS]


def _event(turn: Turn) -> bytes:
    data = {"type": "refetchEvaluation", "etag": etag(turn.version), "lastModified": int(turn.at)}
    return b"id: %d\nevent: message\ndata: %b\n\n" % (turn.version, orjson.dumps(data))
