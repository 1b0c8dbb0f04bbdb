"""This hop, as the proxy is one: what is believed of those before it, and what the next is told."""

import random
import re
from typing import Final

from understudy.config import Settings
from understudy.forwarding import RequestSpellings
from understudy.middleware.request import AsgiRequest
from understudy.proxy.forwarded import Forwarder
from understudy.proxy.heads import CHUNKED, UNSIZED, Fields, Refused, read_fields, valid_host
from understudy.tracing import RequestIds

BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""What has no body unless its fields announce one, also in HTTP/2, where they need not."""

_LENGTH = re.compile(rb"[0-9]{1,18}")


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
        self._believes = bool(settings.trusted_proxies)
        self._forwarders = {
            version: Forwarder(
                trusted=settings.trusted_proxies,
                form=settings.forwarded,
                via_field=b"Via: %b %b\r\n" % (version, via_id),
            )
            for version in (b"1.1", b"1.0", b"2", b"3")
        }

    def find_client(self, request: AsgiRequest) -> None:
        """Put the client's own address in *request* when a trusted proxy tells it."""
        if not self._believes:
            return
        try:
            if self._trusts(request):
                fields = self.read(request)
                way = self._forwarders[b"1.1"].way(fields, request.peer, _scheme(request))
                request.client_ip = way.client_ip
        except (Refused, ValueError):
            pass  # nothing that could be believed

    def read(self, request: AsgiRequest) -> Fields:
        """What the fields of *request* say. Raises `Refused` for what the proxy would refuse."""
        headers = request.headers
        for name, value in headers:
            if name == b"content-length" and not _LENGTH.fullmatch(value):
                raise Refused(400, "bad_request", "Content-Length is not a number")
        fields = read_fields(
            headers, via_id=self.via_id, trusted=self._trusts(request), spellings=self._spellings
        )
        if fields.host is not None:
            valid_host(fields.host)
        if fields.length == UNSIZED and not request.is_http1 and request.method not in BODILESS:
            fields.length = CHUNKED
        return fields

    def added(self, request: AsgiRequest, fields: Fields, authority: bytes) -> bytes:
        """The lines for the next hop: whence the request came, its id, and *authority* if it names none."""
        version = request.scope.get("http_version", "1.1").encode("ascii").removesuffix(b".0") or b"1.1"
        version = b"1.0" if version == b"1" else version
        forwarder = self._forwarders.get(version, self._forwarders[b"1.1"])
        if self._trusts(request):
            lines = forwarder.way(fields, request.peer, _scheme(request)).lines
        else:
            lines = forwarder.lines(request.peer, _scheme(request), fields.host or b"")
        if self._ids is not None and not fields.request_id:
            lines += self._ids.line()
        return lines if fields.host is not None else b"Host: %b\r\n%b" % (authority, lines)

    def _trusts(self, request: AsgiRequest) -> bool:
        if not self._believes:
            return False
        peer = request.peer
        forwarder = self._forwarders[b"1.1"]
        try:
            return forwarder.trusts(peer) if peer else forwarder.trusts_unix
        except ValueError:
            return False  # a server that names its peers in its own way


def _scheme(request: AsgiRequest) -> bytes:
    scheme: str = request.scope.get("scheme", "http")
    return scheme.encode("ascii", "replace")
