"""Remember a connection's last header block: a client on keep-alive mostly sends it again.

Only a block that llhttp has parsed, as the whole rest of one bodyless request, is remembered; a
request whose bytes after the request line equal it means the same, so it is not parsed again.
"""

import re
from typing import Final

from understudy.proxy.heads import UNSIZED, Fields

LONGEST_BLOCK: Final = 8 * 1024
"""Per connection, so that 10,000 connections remember at most 80 MiB."""

MISSES: Final = 16
"""After so many different blocks in a row this client is one that never repeats: remember no more."""

_REQUEST_LINE = re.compile(rb'(GET|HEAD|OPTIONS) (/[!"$-~]*) HTTP/1\.1')


class Repeat:
    """The last block of one connection, and what it said; ``fields`` and ``headers`` are only read."""

    __slots__ = ("_misses", "block", "fields", "headers")

    def __init__(self) -> None:
        self.block = b""
        self.fields: Fields | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._misses = 0

    def read(self, data: bytes, *, target_bytes: int) -> tuple[bytes, bytes] | None:
        """(method, target) when *data* is one request line and then the remembered block; else None."""
        block = self.block
        if not block or not data.endswith(block):
            return None
        line = _REQUEST_LINE.fullmatch(data, 0, len(data) - len(block))
        if line is None or len(line[2]) > target_bytes:
            return None
        self._misses = 0
        return line[1], line[2]

    def remember(self, data: bytes, headers: list[tuple[bytes, bytes]], fields: Fields) -> None:
        """*data* was exactly one whole request, and these are its *headers* and *fields*."""
        if self._misses >= MISSES:
            return
        self._misses += 1
        at = data.index(b"\r\n")
        if (
            len(data) - at <= LONGEST_BLOCK
            and fields.length == UNSIZED
            and not fields.expects_continue
            and _REQUEST_LINE.fullmatch(data, 0, at)  # else an empty line before it would be its block
        ):
            self.block = data[at:]
            self.headers = headers
            self.fields = fields
        if self._misses >= MISSES:
            self.block = b""
