"""Which upgrades are offered to a service, and which 101 is believed (RFC 9110 7.8, RFC 6455 4).

A connection that becomes a tunnel passes bytes that nobody reads, so it is given for the service's own
101 alone, and only to protocols that carry no further requests past the rules.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from understudy.forwarding import CONNECTION, UPGRADE, connection_options, kind_of

WEBSOCKET: Final = b"websocket"

_NEVER: Final = (b"h2", b"http", b"tls")
"""HTTP inside the tunnel would pass every rule by (h2c smuggling; Apache takes ``h2`` behind TLS, too);
TLS ends at the listener."""

_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 1.3."""

Fields = Sequence[tuple[bytes, bytes]]


def offered(headers: Fields) -> bytes:
    """The protocols that a request without a body may switch to, as an Upgrade value; empty for none."""
    names = [name for name in protocols(headers) if not name.startswith(_NEVER)]
    is_framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)
    return b"" if is_framed else b", ".join(names)


def protocols(headers: Fields) -> list[bytes]:
    """What Upgrade names, lower case, when Connection names Upgrade."""
    options = [o for name, value in headers if kind_of(name) == CONNECTION for o in connection_options(value)]
    if b"upgrade" not in options:
        return []
    return [o for name, value in headers if kind_of(name) == UPGRADE for o in connection_options(value)]


def accepted(offer: bytes, request: Fields, answer: Fields) -> bytes:
    """The protocol that a 101 with the fields *answer* switches to; empty when it is none we offered.

    A WebSocket service proves that it read the handshake (Sec-WebSocket-Accept), so that an application
    that can be talked into any status opens no tunnel.
    """
    chosen = protocols(answer)
    if len(chosen) != 1 or chosen[0] not in connection_options(offer):
        return b""
    if chosen[0] == WEBSOCKET and _value(answer, b"sec-websocket-accept") != websocket_accept(
        _value(request, b"sec-websocket-key")
    ):
        return b""
    return chosen[0]


def upgrade_fields(protocols: bytes) -> bytes:
    """The lines that offer or confirm *protocols* on this hop."""
    return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocols


def websocket_accept(key: bytes) -> bytes:
    """What a service answers to Sec-WebSocket-Key *key* (RFC 6455 4.2.2)."""
    digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest)


def _value(headers: Fields, name: bytes) -> bytes:
    values = [value.strip(b" \t") for key, value in headers if key.lower() == name]
    return values[0] if len(values) == 1 else b""
