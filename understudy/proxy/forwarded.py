"""Whose word on earlier hops is believed, and what the next hop is told: X-Forwarded-* and RFC 7239.

Pure. docs/decisions/0013 has the rules and their reasons.
"""

import ipaddress
import re
from typing import Final

from understudy.config.address import UNIX_PEERS
from understudy.proxy.heads import Fields, Way

X_FORWARDED: Final = "x-forwarded"
RFC7239: Final = "rfc7239"
BOTH: Final = "both"

UNKNOWN: Final = b"unknown"
"""RFC 7239 6.2: whose address nobody knows."""

MOST_KNOWN: Final = 4096
"""Bound of the memory of who is trusted."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PAIR = re.compile(
    # RFC 7239 4, and what is written in practice: spaces around a pair, an unquoted address with colons.
    # Nothing is given back once it is taken (++): a field full of spaces would take a minute.
    rb"[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s\",;]*+)))?[ \t]*+([;,]|\Z)",
    re.DOTALL,
)
_PORT = re.compile(rb"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9A-Za-z._-]+)?")


class Hop:
    """One hop as a trusted peer tells it: ``node`` is an address without port, or what stood for one."""

    __slots__ = ("host", "node", "proto")

    def __init__(self, node: bytes = UNKNOWN, proto: bytes = b"", host: bytes = b"") -> None:
        self.node = node
        self.proto = proto
        self.host = host


class Forwarder:
    """Reads and writes the forwarding fields of one worker's requests.

    *form* is what is written where nobody trusted has written anything; it is the kind that is believed
    when the two disagree.
    """

    def __init__(self, *, trusted: tuple[str, ...] = (), form: str = X_FORWARDED, via_field: bytes) -> None:
        networks = [network for network in trusted if network != UNIX_PEERS]
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in networks]
        self.trusts_unix = UNIX_PEERS in trusted
        self._known: dict[str, bool] = {}
        self._writes_x = form != RFC7239
        self._writes_rfc7239 = form != X_FORWARDED
        self._via_field = via_field

    def trusts(self, peer: str) -> bool:
        """Whether *peer*'s forwarding fields are believed. Raises ValueError for what is no address."""
        if not self._trusted or not peer:
            return False
        known = self._known.get(peer)
        if known is None:
            address = ipaddress.ip_address(peer)
            known = any(address in network for network in self._trusted)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[peer] = known
        return known

    def lines(self, peer: str, scheme: bytes, host: bytes) -> bytes:
        """The lines for a request for *host* that an untrusted *peer* sends; *host* may be empty."""
        host = host.strip(b" \t")
        lines = b""
        if self._writes_x:
            lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (named(peer), scheme)
        lines += self._via_field
        if self._writes_x and host:
            lines += b"X-Forwarded-Host: %b\r\n" % host
        if self._writes_rfc7239:
            lines += b"Forwarded: %b\r\n" % element(Hop(named(peer), scheme, host))
        return lines

    def way(self, fields: Fields, peer: str, scheme: bytes) -> Way:
        """What a trusted *peer* tells of the way to it, continued by the peer itself."""
        told = [value for name, value in fields.forwarded or () if name.lower() == b"forwarded"]
        given = [field for field in fields.forwarded or () if field[0].lower() != b"forwarded"]
        hops = x_hops(given)
        elements = read_forwarded(told) or []
        if hops and elements and self._client(hops, peer)[0] != self._client(elements, peer)[0]:
            # One of the two was written by a client and went through a proxy that knows only the other.
            if self._writes_x:
                elements = []
            else:
                hops, given = [], []
        believed = hops or elements
        client_ip, at = self._client(believed, peer)
        host = (fields.host or b"").strip(b" \t")
        lines = b""
        if self._writes_x or given:
            lines = self._x_lines(given, hops, believed, at, Hop(named(peer), scheme, host))
        if self._writes_rfc7239 or elements:
            before = told if elements else self._translated(given, hops, at)
            lines += b"Forwarded: %b\r\n" % b", ".join([*before, element(Hop(named(peer), scheme, host))])
        return Way(client_ip, lines + self._via_field)

    def _client(self, hops: list[Hop], peer: str) -> tuple[str, int]:
        """The right-most hop that is not trusted, which a trusted one has seen itself, and its position.

        A client that goes without an address is known by the hop that named it. Without hops it is *peer*,
        at -1.
        """
        found, at = peer, -1
        for index in range(len(hops) - 1, -1, -1):
            node = hops[index].node.decode("latin-1")
            try:
                is_trusted = self.trusts(node)
            except ValueError:
                at = index
                break
            found, at = node, index
            if not is_trusted:
                break
        return found, at

    def _x_lines(
        self, given: list[tuple[bytes, bytes]], hops: list[Hop], believed: list[Hop], at: int, own: Hop
    ) -> bytes:
        """X-Forwarded-*: the trusted peer's own, *own* appended, what it left out filled in.

        The hops stand in one line, since many servers read only the first or the last of several.
        """
        client = own if hops or at < 0 else believed[at]
        missing = {
            b"x-forwarded-proto": client.proto or own.proto,
            b"x-forwarded-host": client.host or own.host,
        }
        nodes = [hop.node if hops else named_node(hop.node) for hop in believed]
        if not nodes or own.node != UNKNOWN:  # a peer on a Unix socket adds none: the last stays the last
            nodes.append(own.node)
        lines = [b"X-Forwarded-For: %b\r\n" % b", ".join(nodes)]
        for name, value in given:
            dashed = name.lower().replace(b"_", b"-")
            if dashed != b"x-forwarded-for":
                missing.pop(dashed, None)
                lines.append(b"%b: %b\r\n" % (name, value))
        lines += [b"%b: %b\r\n" % (name.title(), value) for name, value in missing.items() if value]
        return b"".join(lines)

    def _translated(self, given: list[tuple[bytes, bytes]], hops: list[Hop], at: int) -> list[bytes]:
        """The hops of X-Forwarded-For as elements; what it says of scheme and host goes to the client's."""
        said = {name.lower().replace(b"_", b"-"): value.strip(b" \t") for name, value in given}
        if at >= 0:
            hops[at].proto = said.get(b"x-forwarded-proto", b"")
            hops[at].host = said.get(b"x-forwarded-host", b"")
        return [element(hop) for hop in hops]


def x_hops(given: list[tuple[bytes, bytes]]) -> list[Hop]:
    """The hops that X-Forwarded-For lists, the client's first."""
    return [
        Hop(node)
        for name, value in given
        if name.lower().replace(b"_", b"-") == b"x-forwarded-for"
        for item in value.split(b",")
        if (node := item.strip(b" \t"))
    ]


def read_forwarded(values: list[bytes]) -> list[Hop] | None:
    """The hops that Forwarded fields list, the client's first; None when they are not RFC 7239."""
    hops: list[Hop] = []
    for value in values:
        at = 0
        pairs: dict[bytes, bytes] = {}
        while at <= len(value):
            match = _PAIR.match(value, at)
            if match is None:
                return None
            if match[1] is not None:
                name = match[1].lower()
                if name in pairs:  # RFC 7239 4: once in an element
                    return None
                quoted = match[2]
                pairs[name] = match[3] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
            if match[4] != b";" and pairs:
                hops.append(
                    Hop(node_of(pairs.get(b"for", b"")), pairs.get(b"proto", b""), pairs.get(b"host", b""))
                )
                pairs = {}
            at = match.end()
            if not match[4]:
                break
    return hops


def node_of(text: bytes) -> bytes:
    """The node in a ``for`` parameter without brackets and port: an address, ``unknown``, ``_name``."""
    match = _PORT.fullmatch(text)
    return (match[1] or match[2] if match is not None else b"") or UNKNOWN


def named(peer: str) -> bytes:
    """How *peer* is named in X-Forwarded-For: its address, ``unknown`` for a Unix socket's."""
    return peer.encode("ascii") or UNKNOWN


def named_node(node: bytes) -> bytes:
    """*node* if it is an address; else ``unknown``, which is all that others can do with it."""
    try:
        ipaddress.ip_address(node.decode("latin-1"))
    except ValueError:
        return UNKNOWN
    return node


def element(hop: Hop) -> bytes:
    """*hop* as an element of Forwarded (RFC 7239 4); IPv6 in brackets and quotes (6)."""
    node = named_node(hop.node)
    if b":" in node:
        node = b"[%b]" % node
    parts = [b"for=" + quoted(node)]
    parts += [b"host=" + quoted(hop.host)] if hop.host else []
    parts += [b"proto=" + quoted(hop.proto)] if hop.proto else []
    return b";".join(parts)


def quoted(value: bytes) -> bytes:
    """*value* as a token if it is one, else as a quoted string (RFC 9110 5.6.4)."""
    if _TOKEN.fullmatch(value):
        return value
    return b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", value)
