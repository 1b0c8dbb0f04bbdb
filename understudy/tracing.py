"""What joins the logs of one request: its trace context (W3C Trace Context) and its id.

Pure: random bits are an argument.
"""

import re
from binascii import hexlify
from collections.abc import Callable

Bits = Callable[[int], int]
"""That many random bits, as `random.getrandbits`."""

_TRACEPARENT = re.compile(
    # Version ff is forbidden, and so are a trace id or a parent id of zeros alone (Trace Context 3.2.2).
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
)

TRACE_FIELDS = frozenset({b"traceparent", b"tracestate"})

KNOWN_FLAGS = 0x03
"""``sampled`` and ``random``; a sender sets the bits it does not know to zero (Trace Context 3.2.2.5)."""


class Trace:
    """The trace that a request belongs to. ``trace_id`` are 32 hexadecimal digits, lower case."""

    __slots__ = ("_end", "_start", "trace_id")

    def __init__(self, trace_id: bytes, flags: int) -> None:
        self.trace_id = trace_id
        self._start = b"traceparent: 00-%b-" % trace_id
        self._end = b"-%02x" % (flags & KNOWN_FLAGS)

    def child(self, bits: Bits) -> bytes:
        """The field line of a request of the same trace with a new span id, without its CRLF."""
        return b"%b%016x%b" % (self._start, bits(64) or 1, self._end)


def read_traceparent(value: bytes) -> Trace | None:
    """The trace that *value* names; None when it names none.

    A later version is read as far as version 00 goes, which is what it has to begin with.
    """
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (match[3] is not None and value[:2] == b"00"):
        return None
    return Trace(match[1], int(match[2], 16))


class RequestIds:
    """Makes the id of a request that came without one; ``name`` is its field, lower case.

    128 random bits, and not a counter: services tell it to their users, whom a counter would tell how many
    others there are. It opens nothing, so a generator that can be foreseen will do.
    """

    __slots__ = ("_bits", "_start", "name")

    def __init__(self, name: bytes, bits: Bits) -> None:
        self.name = name
        self._start = name.title() + b": "
        self._bits = bits

    def line(self) -> bytes:
        """The field line of a new id, with CRLF."""
        return self._start + hexlify(self._bits(128).to_bytes(16, "big")) + b"\r\n"

    def of(self, line: bytes) -> bytes:
        """The id that `line` made."""
        return line[len(self._start) : -2]
