"""Read a parsed request head by the rules, and write the head that goes on.

Pure. llhttp has already refused what is not HTTP/1.1 grammar (strict CRLF, obs-fold, NUL, differing
lengths, Transfer-Encoding beside Content-Length); here stand the rules it does not know.
"""

import re
from collections.abc import Iterable
from typing import Final

from understudy.forwarding import (
    CONNECTION,
    CONTENT_LENGTH,
    CREDENTIAL,
    EXPECT,
    FORWARDING,
    HOST,
    OVERRIDE,
    PASS,
    REQUEST_ID,
    SHADOW,
    TRACE,
    TRANSFER_ENCODING,
    VIA,
    RequestSpellings,
    connection_options,
    kind_of,
)

SEP: Final = b": "
CRLF: Final = b"\r\n"
UNSIZED: Final = -1
"""``length_bytes`` of a request without a body."""
CHUNKED: Final = -2

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{1,5})?")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([/?][^#]*)?")
_MOST_HOSTS = 1024

_hosts: dict[bytes, str | None] = {}

NO_REQUEST_ID: Final = RequestSpellings()
"""For a proxy that gives requests no ids."""


class Refused(Exception):
    """The request breaks a rule: the answer's *status*, a *reason* for metrics, a short *detail*."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        self.status = status
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


class Way:
    """How a request came here: its client's address, and the lines that tell the service of it."""

    __slots__ = ("client_ip", "lines")

    def __init__(self, client_ip: str, lines: bytes) -> None:
        self.client_ip = client_ip
        self.lines = lines


class Fields:
    """What a request's fields say, and the lines that go on to the upstream.

    ``credentials`` are the positions of credential lines in ``lines``, ascending.
    """

    # Defaults stand on the class: most requests set none of them.
    host: bytes | None = None
    length = UNSIZED
    override = ""
    is_shadow = False
    expects_continue = False
    closes = False
    credentials: list[int] | None = None
    forwarded: list[tuple[bytes, bytes]] | None = None
    """What a trusted peer says of the hops before it; not among ``lines``."""
    way: Way | None = None
    """What was made of ``forwarded``, once somebody asked."""
    request_id = b""
    """The id that the request came with, among ``lines``; empty when it has none."""
    traceparent: bytes | None = None
    """The trace that the client names, as it names it; empty when it names several."""
    trace_at = -1
    """Where its line stands in ``lines``, when there is one."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def with_lines(self, lines: list[bytes]) -> "Fields":
        """The same with other *lines*, which differ in nothing that the rest tells."""
        copy = Fields()
        copy.host = self.host
        copy.length = self.length
        copy.override = self.override
        copy.is_shadow = self.is_shadow
        copy.expects_continue = self.expects_continue
        copy.closes = self.closes
        copy.credentials = self.credentials
        copy.forwarded = self.forwarded
        copy.way = self.way
        copy.request_id = self.request_id
        copy.traceparent = self.traceparent
        copy.trace_at = self.trace_at
        copy.lines = lines
        return copy


def read_fields(
    headers: Iterable[tuple[bytes, bytes]],
    *,
    via_id: bytes,
    trusted: bool,
    spellings: RequestSpellings = NO_REQUEST_ID,
) -> Fields:
    """Sort *headers* into what goes on and what is for us. Raises `Refused`."""
    fields = Fields()
    kept: list[tuple[bytes, bytes]] = []
    keep = kept.append
    kinds = spellings.kinds
    hosts = 0
    named: list[bytes] | None = None
    for field in headers:
        try:
            kind = kinds[field[0]]
        except KeyError:
            kind = spellings.learn(field[0])
        if kind != PASS:
            if kind == HOST:
                hosts += 1
                fields.host = field[1]
            elif kind == CREDENTIAL:
                if fields.credentials is None:
                    fields.credentials = [len(kept)]
                else:
                    fields.credentials.append(len(kept))
            elif kind == CONNECTION:
                options = connection_options(field[1])
                if options == [b"close"]:
                    fields.closes = True
                elif options != [b"keep-alive"]:
                    named = options if named is None else named + options
                continue
            elif kind == VIA:
                if via_id in field[1]:
                    raise Refused(508, "loop", "this request has passed through this proxy before")
            elif kind == OVERRIDE:
                override = field[1].strip(b" \t").upper().decode("latin-1")
                # Several that disagree are no method at all, so that nothing is taken for safe.
                fields.override = f"{fields.override}, {override}" if fields.override else override
            elif kind == TRACE:
                fields.traceparent = field[1] if fields.traceparent is None else b""
                fields.trace_at = len(kept)
            elif kind == REQUEST_ID:
                if not field[1].strip(b" \t"):
                    continue  # as good as none: it gets one
                fields.request_id = fields.request_id or field[1]
            elif kind == FORWARDING:
                if trusted:
                    fields.forwarded = [*(fields.forwarded or ()), field]
                continue
            else:
                _read_own(fields, kind, field[1])
                continue
        keep(field)
    if hosts > 1:
        raise Refused(400, "bad_host", "more than one Host field")
    if named is not None:
        kept = _strip_named(fields, kept, named, spellings)
    fields.lines = [SEP.join(field) for field in kept]
    return fields


def _read_own(fields: Fields, kind: int, value: bytes) -> None:
    """A field that ends here: it frames this hop, or a client may not set it."""
    if kind == CONTENT_LENGTH:
        fields.length = int(value)
    elif kind == TRANSFER_ENCODING:
        # As llhttp reads it, which strips spaces only: what it frames and what we say must agree.
        if fields.length == CHUNKED or value.strip(b" ").lower() != b"chunked":
            raise Refused(501, "bad_transfer_coding", "only the transfer coding 'chunked' is understood")
        fields.length = CHUNKED
    elif kind == SHADOW:
        fields.is_shadow = True
    elif kind == EXPECT:
        if value.strip(b" \t").lower() != b"100-continue":
            raise Refused(417, "bad_expect", "only 'Expect: 100-continue' is understood")
        fields.expects_continue = True


def _strip_named(
    fields: Fields, kept: list[tuple[bytes, bytes]], named: list[bytes], spellings: RequestSpellings
) -> list[tuple[bytes, bytes]]:
    """Remove the fields that Connection named, before any of ours are added. Host stays."""
    fields.closes = fields.closes or b"close" in named
    left = [field for field in kept if field[0].lower() not in named or kind_of(field[0]) == HOST]
    if fields.forwarded is not None:
        fields.forwarded = [field for field in fields.forwarded if field[0].lower() not in named]
    kinds = [spellings.learn(field[0]) for field in left]
    fields.credentials = [at for at, kind in enumerate(kinds) if kind == CREDENTIAL] or None
    if REQUEST_ID not in kinds:
        fields.request_id = b""
    if TRACE in kinds:
        fields.trace_at = kinds.index(TRACE)
    else:
        fields.traceparent = None
    return left


def valid_host(value: bytes) -> str:
    """The lower-case text of a Host field's *value*. Raises `Refused`."""
    try:
        known = _hosts[value]
    except KeyError:
        stripped = value.strip(b" \t")
        known = stripped.decode("latin-1").lower() if _HOST.fullmatch(stripped) else None
        if len(_hosts) < _MOST_HOSTS:
            _hosts[value] = known
    if known is None:
        raise Refused(400, "bad_host", "the Host field is missing or not a host")
    return known


def origin_form(target: bytes, method: str) -> tuple[bytes, bytes]:
    """Split any allowed request target into (origin-form target, authority or b"").

    Raises `Refused`. RFC 9112 3.2: absolute-form must be accepted, ``*`` only with OPTIONS.
    """
    if target == b"*":
        if method != "OPTIONS":
            raise Refused(400, "bad_target", "the target '*' goes with OPTIONS only")
        return target, b""
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise Refused(400, "bad_target", "the request target is neither a path nor an http URL")
    if match[2] is None and method == "OPTIONS":
        return b"*", match[1]  # RFC 9112 3.2.4
    rest = match[2] or b"/"
    return (rest if rest.startswith(b"/") else b"/" + rest), match[1]
