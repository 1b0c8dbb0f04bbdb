"""Which fields of a message go on, which stay, and which are ours.

The only list of hop-by-hop, credential and cohort fields in the code base: both front doors and the
shadow read it. Names are lower case.
"""

from collections.abc import Sequence
from typing import Final

HOP_BY_HOP: Final = frozenset(
    # RFC 9110 7.6.1, and the two de-facto ones (Keep-Alive, Proxy-Connection) it names.
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
    }
)

CREDENTIALS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"x-api-key"})
"""Stripped from every mirrored copy unless the shadow service lists them (DESIGN 7)."""

FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
"""Spoofable (RFC 7239 8.1): overwritten unless the peer is a trusted proxy."""

COHORT_PREFIX: Final = b"x-understudy-"
FLAG_FIELD: Final = b"X-Understudy-Flag"
VARIANT_FIELD: Final = b"X-Understudy-Variant"
SHADOW_MARK: Final = b"X-Understudy-Shadow: 1\r\n"
CONTROL_MARK: Final = b"X-Understudy-Shadow: control\r\n"

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 9.2.2. Only these may be sent again after a reused connection broke."""

# What a field name means to a proxy. PASS goes on untouched; everything else is looked at.
PASS, HOP, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, HOST, VIA, EXPECT = range(8)
FORWARDING, COHORT, SHADOW, CREDENTIAL, OVERRIDE, UPGRADE, TRAILER = range(8, 15)
TRACE, REQUEST_ID = 15, 16

HOP_KINDS: Final = frozenset({HOP, CONNECTION, TRANSFER_ENCODING, UPGRADE, TRAILER})
"""Fields that end at this hop, in both directions."""

_KINDS: Final = {
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"host": HOST,
    b"via": VIA,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"trailer": TRAILER,
    b"x-http-method-override": OVERRIDE,
    b"x-http-method": OVERRIDE,
    b"x-method-override": OVERRIDE,
}

MOST_SPELLINGS: Final = 4096
"""Bound of the spelling table, so that a client inventing names cannot grow it."""


def kind_of(name: bytes) -> int:
    """What field *name* (any spelling) means to a proxy.

    ``_`` counts as ``-`` in every name that is looked at, because WSGI and CGI merge the two: a spoofed
    ``X_Understudy_Variant`` would reach the application as ours, an ``X_Api_Key`` a shadow as a
    credential. The underscored twin of a field that frames or names a hop is dropped.
    """
    lower = name.lower()
    dashed = lower.replace(b"_", b"-")
    if dashed.startswith(COHORT_PREFIX):
        return SHADOW if dashed == b"x-understudy-shadow" else COHORT
    if dashed in FORWARDED:
        return FORWARDING
    if dashed in HOP_BY_HOP or dashed == b"content-length":
        return _KINDS.get(lower, HOP)
    if dashed in CREDENTIALS:
        return CREDENTIAL
    return _KINDS.get(dashed, PASS)


spellings: Final[dict[bytes, int]] = {}
"""A bounded memory of `kind_of`, keyed by the name as spelled: read it, and `learn` what is missing."""


def learn(name: bytes) -> int:
    """`kind_of` *name*, remembered in `spellings` while there is room."""
    kind = kind_of(name)
    if len(spellings) < MOST_SPELLINGS:
        spellings[name] = kind
    return kind


class RequestSpellings:
    """Such a memory for requests, in which the trace and the field *request_id* (lower case; empty for none)
    are looked at too: which field carries the id is a setting.
    """

    def __init__(self, request_id: bytes = b"") -> None:
        self.kinds: dict[bytes, int] = {}
        self._noted = {b"traceparent": TRACE}
        if request_id:
            self._noted[request_id.replace(b"_", b"-")] = REQUEST_ID

    def learn(self, name: bytes) -> int:
        """The kind of *name*, remembered in ``kinds`` while there is room."""
        kind = kind_of(name)
        if kind == PASS:
            kind = self._noted.get(name.lower().replace(b"_", b"-"), PASS)
        if len(self.kinds) < MOST_SPELLINGS:
            self.kinds[name] = kind
        return kind


def connection_options(value: bytes) -> list[bytes]:
    """The lower-case options that one Connection field names."""
    return [option for item in value.lower().split(b",") if (option := item.strip(b" \t"))]


def field_bytes(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The size of a header block on the wire, with separators."""
    return sum(len(name) + len(value) + 4 for name, value in headers)


def without(lines: list[bytes], positions: Sequence[int]) -> list[bytes]:
    """A copy of *lines* without those at *positions*, which ascend."""
    copy = lines.copy()
    for at in reversed(positions):
        del copy[at]
    return copy


def name_of(line: bytes) -> bytes:
    """The lower-case name of one field line."""
    return line.partition(b":")[0].lower()
