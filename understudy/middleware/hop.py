"""This hop, as the proxy is one: what is believed of those before it, and what the next is told."""

import random
import re
from contextlib import suppress
from functools import partial
from typing import Final

from understudy.config import Settings
from understudy.forwarding import MOST_SPELLINGS, RequestSpellings
from understudy.messages import Headers
from understudy.middleware.request import AsgiRequest, Scope, peer_of
from understudy.proxy.forwarded import Forwarder
from understudy.proxy.heads import CHUNKED, UNSIZED, Fields, Refused, read_fields, valid_host
from understudy.tracing import RequestIds

BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What has no body unless its fields announce one, also in HTTP/2, where they need not."""

_LENGTH = re.compile(rb"[0-9]{1,18}")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""Of a field (RFC 9110 5.1)."""
_names: set[bytes] = set()
"""Such as were seen, so that most need not be looked at."""
_TARGET = re.compile(rb"/[\x21-\x7e\x80-\xff]*")
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Hop:
    """Reads the fields of requests by the rules of the proxy, and writes what is added to them."""

    def __init__(self, settings: Settings, via_id: bytes) -> None:
        self.via_id = via_id
        self._ids = (
            RequestIds(settings.request_id.encode("ascii"), random.getrandbits)
            if settings.request_id
            else None
        )
        self._spellings = RequestSpellings(b"" if self._ids is None else self._ids.name)
        self.believes = bool(settings.trusted_proxies)
        """Whether any peer's word on the hops before it counts."""
        self._forwarders = {
            version: Forwarder(
                trusted=settings.trusted_proxies,
                form=settings.forwarded,
                via_field=b"Via: %b %b\r\n" % (version.encode("ascii"), via_id),
            )
            for version in ("1.1", "1.0", "2", "3")
        }
        self._forwarder = self._forwarders["1.1"]

    def believe(self, request: AsgiRequest, scope: Scope) -> None:
        """Let the client's own address be found when it is asked for: what trusted proxies tell."""
        if self.believes:
            request.way = partial(self._client_ip, self.known(scope))

    def known(self, scope: Scope) -> Scope:
        """What `believe` needs of *scope*, which itself is not kept: see `AsgiRequest`."""
        return {key: scope[key] for key in ("client", "scheme", "http_version") if key in scope}

    def _client_ip(self, known: Scope, request: AsgiRequest) -> str:
        peer = _peer(known)
        with suppress(Exception):  # nothing that could be believed, or a scope in a form of its own
            if self._trusts(peer):
                return self._forwarder.way(self.read(request, known), peer, _scheme(known)).client_ip
        return peer

    def read(self, request: AsgiRequest, scope: Scope) -> Fields:
        """What the fields of *request* say. Raises `Refused` for what the proxy would refuse."""
        is_http1 = _is_http1(scope)
        headers = request.headers if is_http1 else _of_http1(request.headers)
        _check_line(request.method, request.target)
        _check_fields(headers)
        is_trusted = self.believes and self._trusts(_peer(scope))
        try:
            fields = read_fields(headers, via_id=self.via_id, trusted=is_trusted, spellings=self._spellings)
        except ValueError:
            raise Refused(400, "bad_length", "Content-Length is not a number") from None
        if fields.length != UNSIZED and not _are_lengths(headers):
            raise Refused(400, "bad_length", "Content-Length is not one number")
        if fields.host is not None:
            valid_host(fields.host)
        if fields.length == UNSIZED and request.method not in BODILESS and not is_http1:
            fields.length = CHUNKED
        return fields

    def added(self, scope: Scope, fields: Fields, authority: bytes) -> bytes:
        """The lines for the next hop: whence the request came, its id, and *authority* if it names none."""
        forwarder = self._forwarders.get(scope.get("http_version", "1.1"), self._forwarder)
        peer = _peer(scope)
        if self._trusts(peer):
            lines = forwarder.way(fields, peer, _scheme(scope)).lines
        else:
            lines = forwarder.lines(peer, _scheme(scope), fields.host or b"")
        if self._ids is not None and not fields.request_id:
            lines += self._ids.line()
        return lines if fields.host is not None else b"Host: %b\r\n%b" % (authority, lines)

    def _trusts(self, peer: str) -> bool:
        if not self.believes:
            return False
        try:
            return self._forwarder.trusts(peer) if peer else self._forwarder.trusts_unix
        except ValueError:
            return False  # a server that names its peers in its own way


def _check_line(method: str, target: bytes) -> None:
    """Raises `Refused` where they would make no request line, but more than one.

    Servers parse; what outer middleware and HTTP/2 put in a scope nobody has.
    """
    if _METHOD.fullmatch(method) is None:
        raise Refused(400, "bad_method", "that is no method")
    if _TARGET.fullmatch(target) is None and (target, method) != (b"*", "OPTIONS"):
        raise Refused(400, "bad_target", "the request target is no path")


def _check_fields(headers: Headers) -> None:
    """As `_check_line`, for fields (RFC 9110 5.5)."""
    values = b"".join([value for _, value in headers])
    is_bad = b"\n" in values or b"\r" in values or b"\0" in values
    if is_bad or not (_names.issuperset([name for name, _ in headers]) or _are_names(headers)):
        raise Refused(400, "bad_field", "a field that no request can have")


def _of_http1(headers: Headers) -> Headers:
    """What came by HTTP/2 as HTTP/1.1 says it: with one field for all cookies (RFC 9113 8.2.3).

    Some servers join them, others leave that to who goes on.
    """
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) < 2:
        return headers
    one = [(b"cookie", b"; ".join(cookies))]
    return [*[field for field in headers if field[0] != b"cookie"], *one]


def _are_names(headers: Headers) -> bool:
    """Whether all are names; remembers them while there is room."""
    for name, _ in headers:
        if _NAME.fullmatch(name) is None:
            return False
        if len(_names) < MOST_SPELLINGS and len(name) < 256:
            _names.add(name)
    return True


def _are_lengths(headers: Headers) -> bool:
    """Whether every Content-Length is the same number, as the proxy's parser has it."""
    given = {value for name, value in headers if name.lower() == b"content-length"}
    return len(given) < 2 and all(_LENGTH.fullmatch(value) for value in given)


def _peer(scope: Scope) -> str:
    """The address at the other end of the connection."""
    return peer_of(scope.get("client"))


def _scheme(scope: Scope) -> bytes:
    scheme: str = scope.get("scheme", "http")
    return scheme.encode("ascii", "replace")


def _is_http1(scope: Scope) -> bool:
    """Whether the fields of a request tell how long its body is."""
    return scope.get("http_version", "1.1") in ("1.0", "1.1")
