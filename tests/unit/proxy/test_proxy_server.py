"""Whom the proxy believes, and whom it takes for the client."""

import pytest
from proxy_scene import Scene

from understudy.proxy.connection import plain_address
from understudy.proxy.heads import read_fields
from understudy.proxy.problems import DETAIL_OF, STATUS_OF, problem
from understudy.proxy.server import Proxy


def trusting(*networks: str) -> Proxy:
    """A proxy that believes peers in *networks*."""
    made = Scene().client.proxy
    return Proxy(
        loop=made.loop,
        engine=made.engine,
        mirror=made.mirror,
        metrics=made.metrics,
        limits=made.limits,
        clock=made.clock,
        outgoing=made.outgoing,
        via_id=b"v",
        trusted_proxies=networks,
    )


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:1", "::ffff:1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
    ],
)
def test_addresses_are_told_plain(address: str, plain: str) -> None:
    """Without zone; an IPv4 client of an IPv6 socket is one of IPv4."""
    assert plain_address(address) == plain


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("2001:db8::5", True), ("2001:db9::5", False), ("", False)],
)
def test_trust_is_by_network(peer: str, is_trusted: bool) -> None:
    """Of either family; nobody without an address."""
    assert trusting("10.0.0.0/8", "2001:db8::/32").trusts(peer) is is_trusted


def test_nobody_is_trusted_by_default() -> None:
    """Not even loopback."""
    assert not trusting().trusts("127.0.0.1")


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        (b"", "10.0.0.1"),
        (b"5.6.7.8", "5.6.7.8"),
        (b"1.1.1.1, 5.6.7.8, 10.2.2.2", "5.6.7.8"),
        (b"10.3.3.3, 10.2.2.2", "10.3.3.3"),
        (b"5.6.7.8, unknown, 10.2.2.2", "10.2.2.2"),
        (b"5.6.7.8, \xff", "10.0.0.1"),
        (b"2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_client_is_the_right_most_hop_that_is_not_trusted(listed: bytes, client: str) -> None:
    """What stands left of it any client can invent; what is no address ends the walk."""
    fields = read_fields([(b"X-Forwarded-For", listed)], via_id=b"v", trusted=True)
    assert trusting("10.0.0.0/8").client_ip(fields, "10.0.0.1") == client


def test_every_reason_has_a_status_and_words() -> None:
    """So that no label is told as a sentence."""
    assert STATUS_OF.keys() == DETAIL_OF.keys()
    assert set(STATUS_OF.values()) <= {500, 502, 503, 504}


@pytest.mark.parametrize("is_head", [True, False])
def test_problems_are_whole_answers(is_head: bool) -> None:
    """Their length is right, with and without a body; a 405 says what is allowed."""
    head, _, body = problem(405, "bad_method", "no", closes=True, is_head=is_head).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 405 Method Not Allowed"
    length = int(next(line for line in lines if line.startswith(b"Content-Length: ")).split()[1])
    assert len(body) == (0 if is_head else length)
    assert b"Connection: close" in lines
    assert any(line.startswith(b"Allow: GET, HEAD") for line in lines)
    assert b"Connection" not in problem(404, "no_route", "no", closes=False)
