"""The start of an answer as it goes on: its status line, and the fields that go past this hop."""

import re
from collections.abc import Sequence

from understudy.forwarding import CONNECTION, PASS, connection_options, kind_of

_REASON = re.compile(rb"[\t -~\x80-\xff]*")
_status_lines: dict[tuple[int, bytes], bytes] = {}


def status_line(status: int, reason: bytes) -> bytes:
    """The line for *status* and the service's own *reason*, remembered."""
    line = _status_lines.get((status, reason))
    if line is None:
        if not _REASON.fullmatch(reason):  # RFC 9112 4: a client ignores it, so nothing is lost
            reason = b""
        line = b"HTTP/1.1 %d %b" % (status, reason)
        if len(_status_lines) < 1024:
            _status_lines[status, reason] = line
    return line


def end_to_end(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The lines of the *headers* that go past this hop."""
    named = [o for n, v in headers if kind_of(n) == CONNECTION for o in connection_options(v)]
    return b"".join(
        b"%b: %b\r\n" % (n, v) for n, v in headers if kind_of(n) == PASS and n.lower() not in named
    )
