"""Remember a connection's last header block: a client on keep-alive mostly sends it again, or nearly so.

Only a block that llhttp has parsed, as the whole rest of one bodyless request, is remembered. A request
whose bytes after the request line equal it means the same, so it is not parsed again. Nor is one whose lines
equal its lines but for the values of fields that mean nothing to a proxy: those values are checked here.
"""

import re
from typing import Final

from understudy.forwarding import CREDENTIAL, PASS, REQUEST_ID, TRACE, RequestSpellings
from understudy.proxy.heads import SEP, UNSIZED, Fields

LONGEST_BLOCK: Final = 8 * 1024
"""Per connection, so that 10,000 connections remember at most 80 MiB."""

MISSES: Final = 16
"""After so many different blocks in a row this client is one that never repeats: remember no more."""

MOST_CHANGES: Final = 8
"""Lines with another value; more of them are not worth looking at one by one."""

MAY_CHANGE: Final = frozenset({PASS, CREDENTIAL, REQUEST_ID, TRACE})

_REQUEST_LINE = re.compile(rb'(GET|HEAD|OPTIONS) (/[!"$-~]*) HTTP/1\.1')
_VALUE = re.compile(rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
"""A field value that every reader takes as it stands (RFC 9110 5.5), without outer space."""

Headers = list[tuple[bytes, bytes]]


class Read:
    """What stands in a request that was not parsed; ``headers`` and ``fields`` are only read."""

    __slots__ = ("fields", "headers", "method", "target")

    def __init__(self, method: bytes, target: bytes, headers: Headers, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.fields = fields


class Repeat:
    """The last block of one connection, and what it said."""

    __slots__ = ("_at", "_kinds", "_lines", "_misses", "block", "fields", "headers")

    def __init__(self) -> None:
        self.block = b""
        self.fields: Fields | None = None
        self.headers: Headers = []
        self._lines: list[bytes] = []
        self._at: list[int] = []  # by line: its place among fields.lines; -1 for one that must not change
        self._kinds: list[int] = []
        self._misses = 0

    def read(self, data: bytes, *, target_bytes: int, header_bytes: int) -> Read | None:
        """What *data* says when it is one request line and then the remembered block, or nearly; else None.

        *target_bytes* and *header_bytes*: the limits in force.
        """
        fields = self.fields
        if fields is None:
            return None
        block = self.block
        if not data.endswith(block) or len(block) - 4 > header_bytes:
            return self._read_alike(data, fields, target_bytes, header_bytes)
        line = _REQUEST_LINE.fullmatch(data, 0, len(data) - len(block))
        if line is None or len(line[2]) > target_bytes:
            return None
        self._misses = 0
        return Read(line[1], line[2], self.headers, fields)

    def _read_alike(self, data: bytes, fields: Fields, target_bytes: int, header_bytes: int) -> Read | None:
        """The same, for a block in which only values have changed that mean nothing here."""
        if len(data) > target_bytes + LONGEST_BLOCK:
            return None
        lines = data.split(b"\r\n")
        known = self._lines
        # The block without its first and last line end is what `forwarding.field_bytes` counts.
        if len(lines) != len(known) or len(data) - len(lines[0]) - 4 > min(header_bytes, LONGEST_BLOCK):
            return None
        known[0] = lines[0]
        changed = [at for at, line in enumerate(lines) if line != known[at]]
        line = _REQUEST_LINE.fullmatch(lines[0])
        if line is None or len(line[2]) > target_bytes or len(changed) > MOST_CHANGES:
            return None
        headers = self.headers.copy()
        alike = fields.with_lines(fields.lines.copy())
        for at in changed:
            place = self._at[at]
            if place < 0:
                return None
            name, old = headers[at - 1]
            size = len(name) + 2
            text = lines[at]
            if text[:size] != name + SEP or _VALUE.fullmatch(text, size) is None:
                return None
            value = text[size:]
            headers[at - 1] = (name, value)
            alike.lines[place] = text
            kind = self._kinds[at]
            if kind == REQUEST_ID and fields.request_id == old:  # the first of several counts
                alike.request_id = value
            elif kind == TRACE and fields.traceparent == old:  # several are none
                alike.traceparent = value
        self._misses = 0
        return Read(line[1], line[2], headers, alike)

    def remember(self, data: bytes, headers: Headers, fields: Fields, spellings: RequestSpellings) -> None:
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
            self._lines = data.split(b"\r\n")
            self._kinds = [PASS, *(spellings.learn(name) for name, _ in headers)]
            self._at = places(self._lines, headers, self._kinds, fields.lines)
        if self._misses >= MISSES:
            self.block = b""
            self.fields = None


def places(lines: list[bytes], headers: Headers, kinds: list[int], kept: list[bytes]) -> list[int]:
    """By line of a request: its place in *kept*, if another value there would mean the same; else -1."""
    found = [-1] * len(lines)
    if len(lines) != len(headers) + 3:  # the request line, and the end of the block: two pieces without text
        return found
    place = 0
    for at, (name, value) in enumerate(headers):
        line = name + SEP + value
        if place < len(kept) and kept[place] == line:
            if kinds[at + 1] in MAY_CHANGE and lines[at + 1] == line:
                found[at + 1] = place
            place += 1
    return found if place == len(kept) else [-1] * len(lines)
