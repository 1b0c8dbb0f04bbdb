"""Recordings over HTTP: what passes the proxy, as a HAR that is written while it happens."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from understudy.admin.payload import JSON, MOST_REASON_BYTES, parse_body, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import json_answer
from understudy.config.place import Place, Refused
from understudy.config.quantity import read_count, read_duration, read_share, read_size

log = logging.getLogger("understudy.control")

MOST_REQUESTS: Final = 1_000_000
MOST_BYTES: Final = 2 * 1024**3

SEND_SECONDS: Final = 30.0
"""A reader that takes nothing for so long (the proxy waits as long for a body) is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is recorded, and when it is enough. *route* is a route's name in the metrics; empty: all.

    1,000 requests are twice what a clean verdict of a replay takes; a minute and 64 MiB bound what it costs.
    """

    requests: int = 1000
    seconds: float = 60.0
    max_bytes: int = 64 * 1024 * 1024
    share: float = 1.0
    path_prefix: str = ""
    route: str = ""


class RecordingBusy(Exception):
    """There is a recording already, and only one at a time."""


class RecordingPlane(Protocol):
    """What records."""

    def record(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The HAR, piece by piece, at least one a second; closing it ends the recording.

        Raises: RecordingBusy, at once.
        """

    def end_recording(self) -> bool:
        """End the recording, whose HAR is then completed; False when there is none."""


class RecordingEndpoints:
    """``/api/v1/recordings``."""

    def __init__(self, plane: RecordingPlane | None) -> None:
        self._plane = plane

    async def recordings(self, request: Request) -> Response:
        """POST records what passes, redacted, as a HAR that ends by itself; DELETE ends it earlier."""
        if self._plane is None:
            raise Refusal(501, "nothing can be recorded here")
        if request.method == "DELETE":
            return json_answer({"ended": self._plane.end_recording()})
        wanted = read_wanted(await _document(request))
        try:
            har = self._plane.record(wanted)
        except RecordingBusy:
            detail = "there is a recording already: wait for its end, or DELETE /api/v1/recordings ends it"
            raise Refusal(409, detail) from None
        headers = {"Content-Disposition": 'attachment; filename="traffic.har"', "Cache-Control": "no-store"}
        return _Har(_while_connected(request, har), media_type=JSON, headers=headers)


class _Har(StreamingResponse):
    """Ends the recording when its reader takes nothing any more; the connection is cut then."""

    async def stream_response(self, send: Send) -> None:
        async def patiently(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            await super().stream_response(patiently)
        except TimeoutError:
            log.warning("a recording ended, because its reader took nothing for %g s", SEND_SECONDS)
        finally:
            pieces = self.body_iterator
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()


async def _while_connected(request: Request, har: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in har:
            if await request.is_disconnected():
                return
            yield piece
    finally:
        await har.aclose()


async def _document(request: Request) -> Mapping[str, Any]:
    body = await read_body(request, most_bytes=MOST_REASON_BYTES)
    document = await parse_body(request, body, kinds=(JSON,)) if body.strip() else {}
    if not isinstance(document, dict):
        raise Refusal(422, 'the body is empty, or a mapping such as {"requests": 1000}')
    return document


def read_wanted(document: Mapping[str, Any]) -> Wanted:
    """What *document* asks for. Raises: Refusal 422 with every mistake."""
    readers: dict[str, Callable[[object], object]] = {
        "requests": lambda value: read_count(value, least=1, most=MOST_REQUESTS),
        "seconds": read_duration,
        "max_bytes": _read_bytes,
        "share": read_share,
        "path_prefix": _read_text,
        "route": _read_text,
    }
    place = Place()
    place.known_keys(document, readers)
    values: dict[str, Any] = {}
    for key in readers.keys() & document.keys():
        try:
            values[key] = readers[key](document[key])
        except Refused as refused:
            place.key(key).refuse(refused.message, refused.hint)
    if place.problems:
        errors = [{"path": p.path, "message": p.message, "hint": p.hint} for p in place.problems]
        raise Refusal(422, "; ".join(map(str, place.problems)), errors=errors)
    return Wanted(**values)


def _read_bytes(value: object) -> int:
    size = read_size(value)
    if not 1024 <= size <= MOST_BYTES:
        raise Refused("must be 1KiB to 2GiB")
    return size


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise Refused("must be one line of text")
    return value
