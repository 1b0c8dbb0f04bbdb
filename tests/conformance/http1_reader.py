"""A second opinion on HTTP/1.1: a reader written from RFC 9112, stricter than it asks, sharing no code.

What the RFC leaves to the recipient is told as ``unsure``, and nothing is claimed of what follows.
"""

import re
from dataclasses import dataclass, field
from typing import Final

TCHAR: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
REQUEST_LINE = re.compile(rb"(%b+)( +)([\x21-\x7e]+)( +)HTTP/([0-9])\.([0-9])" % TCHAR)
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"(%b+):[ \t]*([\t\x20-\x7e\x80-\xff]*)" % TCHAR)
LENGTH = re.compile(rb"([0-9]{1,40})[ \t]*")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,40})")
NAME: Final = rb"[A-Za-z0-9.\-_~!$&'()*+,;=%]+(?::[0-9]{1,5})?"
HOST = re.compile(rb"(%b)[ \t]*" % NAME)
ABSOLUTE = re.compile(rb"http://(%b)(/[^#]*)?" % NAME)
METHODS: Final = frozenset(b"GET HEAD POST PUT DELETE OPTIONS PATCH".split())
HOPS: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate"
    b" proxy-authorization content-length expect forwarded x-forwarded-for x-forwarded-host"
    b" x-forwarded-proto".split()
)
ARE_OURS: Final = b"x-understudy-"
CRLF: Final = b"\r\n"


@dataclass
class Message:
    """A request or an answer: ``start`` in parts, fields as spelled, the body without its coding."""

    start: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    is_whole: bool = False
    closes: bool = False
    host: bytes = b""
    raw: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """All values of lower-case *name*."""
        return [value for known, value in self.fields if known.lower() == name]

    @property
    def end_to_end(self) -> list[tuple[bytes, bytes]]:
        """The fields that go on, by RFC 9110 7.6.1 and the rules of DESIGN 6."""
        named = {
            option.strip(b" \t")
            for value in self.values(b"connection")
            for option in value.lower().split(b",")
        } - {b"host"}
        return [
            (name, value)
            for name, value in self.fields
            if name.lower() not in named
            and name.lower().replace(b"_", b"-") not in HOPS
            and not name.lower().replace(b"_", b"-").startswith(ARE_OURS)
        ]


@dataclass
class Reading:
    """What stands on one side of a connection. ``state``: end, partial, bad or unsure, for what follows
    the whole messages; ``broken`` is a message of which only a part could be read."""

    messages: list[Message] = field(default_factory=list)
    state: str = "end"
    broken: Message | None = None


class _Stop(Exception):
    """Nothing more can be read: *state* says why."""

    def __init__(self, state: str) -> None:
        self.state = state


def read_requests(data: bytes) -> Reading:
    """Read what a client sent."""
    reading = Reading()
    at = 0
    while not (reading.messages and reading.messages[-1].closes):
        while data[at : at + 1] in (b"\r", b"\n"):
            at += 1
        if at >= len(data):
            return reading
        message = Message((), [])
        try:
            at = _read_request(data, at, message)
        except _Stop as stop:
            reading.state = stop.state
            reading.broken = message if message.start else None
            return reading
        reading.messages.append(message)
    return reading


def _read_request(data: bytes, at: int, message: Message) -> int:
    lines, body_at = _head(data, at)
    line = REQUEST_LINE.fullmatch(lines[0])
    if line is None or line[1] not in METHODS:
        raise _Stop("bad")
    if len(line[2]) > 1 or len(line[4]) > 1:
        raise _Stop("unsure")
    version = line[5] + b"." + line[6]
    if version not in (b"1.0", b"1.1"):
        raise _Stop("bad")
    fields = _fields(lines[1:])
    candidate = Message((), fields)
    _check_routing(candidate, line[1], line[3], version)
    if any(value.strip(b" \t").lower() != b"100-continue" for value in candidate.values(b"expect")):
        raise _Stop("bad")
    size = _framing(candidate, version)
    options = [o.strip(b" \t") for v in candidate.values(b"connection") for o in v.lower().split(b",")]
    message.closes = b"close" in options or (version == b"1.0" and b"keep-alive" not in options)
    message.start, message.fields, message.host = candidate.start, fields, candidate.host
    end = _body(data, body_at, size, message)
    message.is_whole = True
    return end


def _head(data: bytes, at: int) -> tuple[list[bytes], int]:
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        raise _Stop("unsure")  # it may be refused before it ends, or be waited for
    return data[at:end].split(CRLF), end + 4


def _fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    fields = []
    for line in lines:
        match = FIELD.fullmatch(line)
        if match is None:
            raise _Stop("bad")
        fields.append((match[1], match[2]))
    return fields


def _check_routing(message: Message, method: bytes, target: bytes, version: bytes) -> None:
    hosts = message.values(b"host")
    if len(hosts) > 1 or (not hosts and version == b"1.1"):
        raise _Stop("bad")
    if hosts and not HOST.fullmatch(hosts[0]):
        raise _Stop("unsure" if HOST.match(hosts[0]) else "bad")
    message.host = hosts[0] if hosts else b""
    if target == b"*":
        if method != b"OPTIONS":
            raise _Stop("bad")
    elif not target.startswith(b"/"):
        absolute = ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise _Stop("unsure")
        message.host = absolute[1]
        target = absolute[2] or (b"*" if method == b"OPTIONS" else b"/")
    if b"#" in target:
        raise _Stop("bad")
    message.start = (method, target)


def _framing(message: Message, version: bytes) -> int:
    """Bytes of the body, or -1 for chunks."""
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    if (lengths and codings) or len(lengths) > 1 or len(codings) > 1:
        raise _Stop("bad")
    if codings:
        if version == b"1.0" or codings[0].strip(b" ").lower() != b"chunked":
            raise _Stop("bad")
        return -1
    if not lengths:
        return 0
    match = LENGTH.fullmatch(lengths[0])
    if match is None or int(match[1]) >= 2**64:
        raise _Stop("bad")
    return int(match[1])


def _body(data: bytes, at: int, size: int, message: Message) -> int:
    if size < 0:
        return _chunks(data, at, message)
    message.body = data[at : at + size]
    if len(message.body) < size:
        raise _Stop("partial")
    return at + size


def _chunks(data: bytes, at: int, message: Message) -> int:
    while True:
        line_end = data.find(CRLF, at)
        if line_end < 0:
            raise _Stop("unsure" if len(data) > at else "partial")
        line, at = data[at:line_end], line_end + 2
        size_text, semicolon, extension = line.partition(b";")
        if not CHUNK.fullmatch(size_text) or int(size_text, 16) >= 2**64 or CONTROL.search(extension):
            raise _Stop("bad")
        if semicolon and not re.fullmatch(rb"%b+(=%b+)?" % (TCHAR, TCHAR), extension):
            raise _Stop("unsure")
        size = int(size_text, 16)
        if not size:
            return _trailers(data, at)
        message.body += data[at : at + size]
        end = data[at + size : at + size + 2]
        if not CRLF.startswith(end):
            raise _Stop("bad")
        if len(end) < 2:
            raise _Stop("partial")
        at += size + 2


def _trailers(data: bytes, at: int) -> int:
    while True:
        end = data.find(CRLF, at)
        if end < 0:
            raise _Stop("unsure" if len(data) > at else "partial")
        line, at = data[at:end], end + 2
        if not line:
            return at
        ((name, _),) = _fields([line])
        if name.lower().replace(b"_", b"-") in HOPS:
            raise _Stop("unsure")


def read_answers(data: bytes, methods: list[bytes], *, is_closed: bool) -> Reading:
    """Read what a client got for its requests, without interim answers.

    *methods* of the requests stand in order, empty for one that may be HEAD. *is_closed*: the stream ended in
    good order, so that an answer may end with it.
    """
    reading = Reading()
    at = 0
    while at < len(data):
        message = Message((), [])
        start = at
        try:
            lines, at = _head(data, at)
            line = STATUS_LINE.fullmatch(lines[0])
            if line is None:
                raise _Stop("bad")
            message.start, message.fields = (line[1], line[2]), _fields(lines[1:])
            if line[1].startswith(b"1"):
                continue
            asked = methods[len(reading.messages)] if len(reading.messages) < len(methods) else b"GET"
            at = _answer_body(data, at, message, asked, is_closed=is_closed)
            message.is_whole = True
        except _Stop as stop:
            message.raw = data[start:]
            reading.state, reading.broken = "partial" if stop.state == "unsure" else stop.state, message
            return reading
        message.raw = data[start:at]
        reading.messages.append(message)
    return reading


def _answer_body(data: bytes, at: int, message: Message, method: bytes, *, is_closed: bool) -> int:
    lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
    is_head = method == b"HEAD" or (method == b"" and at == len(data))
    if is_head or message.start[0] in (b"204", b"304"):
        return at
    if lengths or codings:
        return _body(data, at, _framing(message, b"1.1"), message)
    message.body = data[at:]
    if not is_closed:
        raise _Stop("partial")
    return len(data)
