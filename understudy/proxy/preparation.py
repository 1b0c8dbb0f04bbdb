"""Make a request ready to go on: check what llhttp leaves open, decide, write the head for the service."""

from typing import TYPE_CHECKING, Final

from understudy.engine import Plan
from understudy.forwarding import name_of
from understudy.proxy.heads import (
    CHUNKED,
    CRLF,
    UNSIZED,
    Fields,
    Refused,
    origin_form,
    read_fields,
    valid_host,
)
from understudy.proxy.rehearsal import rehearse, taped
from understudy.proxy.upgrade import upgrade_fields

if TYPE_CHECKING:
    from understudy.proxy.connection import ClientConnection
    from understudy.proxy.exchange import Exchange

SLASH: Final = ord("/")
CHUNKED_FIELD: Final = b"Transfer-Encoding: chunked\r\n"

NOT_FORWARDED: Final = frozenset(
    # A tunnel, and what would show the fields we add. The rest llhttp knows from RTSP and ICE.
    [
        "CONNECT",
        "TRACE",
        "SOURCE",
        "DESCRIBE",
        "ANNOUNCE",
        "SETUP",
        "PLAY",
        "PAUSE",
        "TEARDOWN",
        "GET_PARAMETER",
        "SET_PARAMETER",
        "REDIRECT",
        "RECORD",
        "FLUSH",
    ]
)


def prepare(exchange: "Exchange", client: "ClientConnection") -> bytes:
    """The head that goes to the service. *exchange* learns what it asks for. Raises `Refused`."""
    proxy = client.proxy
    fields = exchange.fields
    if fields is None:
        fields = read_fields(
            exchange.headers, via_id=proxy.via_id, trusted=client.is_trusted, spellings=proxy.spellings
        )
        exchange.fields = fields
    method = exchange.method
    if method in NOT_FORWARDED:
        raise Refused(405, "bad_method", f"{method} is not forwarded")
    host = fields.host
    if host is not None:
        exchange.host = valid_host(host)
    elif exchange.version == "1.1":
        raise Refused(400, "bad_host", "the Host field is missing")
    target = exchange.target
    if target[0] != SLASH:
        target = odd_target(exchange, target)
        host = host and fields.host
    text = target.decode("latin-1")
    if "#" in text:
        raise Refused(400, "bad_target", "the request target has a fragment")
    exchange.path, _, exchange.query = text.partition("?")
    if fields.closes:
        exchange.keep_alive = False
    if proxy.refuses:
        raise Refused(503, "overload", "the proxy is short of memory; try again")
    if client.is_trusted:
        exchange.client_ip = proxy.way(fields, client.peer_ip, client.scheme).client_ip
    plan = proxy.engine.decide(exchange)
    if plan is None:
        raise Refused(404, "no_route", "no route of the rules matches this request")
    exchange.plan = plan
    if host is None or client.is_trusted or exchange.version != "1.1":
        added = odd_fields(exchange, client, plan, fields, has_host=host is not None)
    else:
        added = client.added_fields(host)
    if proxy.request_ids is not None and not fields.request_id:
        line = proxy.request_ids.line()
        added += line
        if exchange.entry is not None:
            exchange.entry.request_id = proxy.request_ids.of(line)
    start = b"%b %b HTTP/1.1" % (client.method, target)
    ours = added + plan.cohort
    if exchange.upgrade:
        ours += upgrade_fields(exchange.upgrade)
    if plan.targets:
        exchange.rehearsal = rehearse(
            proxy.mirror, plan, exchange, fields, start, added, is_upgrade=bool(exchange.upgrade)
        )
    if proxy.tape is not None and not fields.is_shadow:
        exchange.rehearsal = taped(exchange.rehearsal, proxy.mirror, plan, proxy.tape, exchange)
    length = fields.length
    if length != UNSIZED:
        ours += CHUNKED_FIELD if length == CHUNKED else b"Content-Length: %d\r\n" % length
    return CRLF.join((start, *fields.lines, ours, b""))


def odd_target(exchange: "Exchange", target: bytes) -> bytes:
    """``*`` or absolute-form, whose authority replaces Host (RFC 9112 3.2.2)."""
    target, authority = origin_form(target, exchange.method)
    fields = exchange.fields
    if authority and fields is not None:
        exchange.host = valid_host(authority)
        fields.host = authority
        fields.lines = [b"Host: " + authority if name_of(line) == b"host" else line for line in fields.lines]
    return target


def odd_fields(
    exchange: "Exchange", client: "ClientConnection", plan: Plan, fields: Fields, *, has_host: bool
) -> bytes:
    """The fields we add for a trusted peer, or for HTTP/1.0, where a Host that the service needs may
    be missing (RFC 9112 3.2)."""
    proxy = client.proxy
    if client.is_trusted:
        added = proxy.way(fields, client.peer_ip, client.scheme).lines
    else:
        added = client.added_fields(fields.host or b"")
    if exchange.version == "1.0":
        added = added.replace(proxy.via_field, b"Via: 1.0 %b\r\n" % proxy.via_id)
    if not has_host:
        added = b"Host: %b\r\n%b" % (fields.host or plan.authority, added)
    return added
