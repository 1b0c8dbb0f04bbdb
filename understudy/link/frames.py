"""Frames on the link: four bytes of length (big-endian, of what follows), one of kind, the payload."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import orjson

from understudy.errors import UnderstudyError

MOST_BYTES: Final = 64 * 1024 * 1024
"""A longer frame is a fault: batches are cut far below it."""


class LinkError(UnderstudyError):
    """The other side sent something that is not a frame."""


class Kind(IntEnum):
    """What a frame says, and who says it."""

    HELLO = 1  # worker: {"worker", "pid", "source"}
    RULES = 2  # control: {"version", "document"}
    APPLIED = 3  # worker: {"version", "error"}
    BATCH = 4  # worker: see batch.py
    ACK = 5  # control: {"sequence"}
    METRICS = 6  # worker: a cumulative snapshot
    SETTINGS = 7  # control: {"number", "document"}
    SETTLED = 8  # worker: {"number", "error"}
    TAPE = 9  # control: {"number", …}: what to record, see proxy/tape.py; number 0: nothing
    TAKEN = 10  # worker: see taken.py
    EXPOSURES = 11  # worker: what exposures/told.py writes, sent once


def frame(kind: Kind, payload: bytes) -> bytes:
    """One frame on the wire. Raises `LinkError` when it is longer than a frame may be."""
    size = len(payload) + 1
    if size > MOST_BYTES:
        raise LinkError(f"link: a frame of {size} bytes")
    return b"%b%c%b" % (size.to_bytes(4, "big"), kind, payload)


def json_frame(kind: Kind, value: Any) -> bytes:
    """One frame with a JSON payload."""
    return frame(kind, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


class Frames:
    """Cuts a byte stream, split anywhere, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Yield each whole (kind, payload). Raises `LinkError`."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 5:
            size = int.from_bytes(buffer[at : at + 4], "big")
            if not 1 <= size <= MOST_BYTES:
                raise LinkError(f"link: a frame of {size} bytes")
            if len(buffer) - at < 4 + size:
                break
            try:
                kind = Kind(buffer[at + 4])
            except ValueError:
                raise LinkError(f"link: a frame of unknown kind {buffer[at + 4]}") from None
            yield kind, bytes(buffer[at + 5 : at + 4 + size])
            at += 4 + size
        if at:
            del buffer[:at]
