"""Whom the proxy believes about earlier hops, whom it takes for the client, what it tells the service."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.proxy.forwarded import (
    BOTH,
    MOST_KNOWN,
    RFC7239,
    X_FORWARDED,
    Forwarder,
    Hop,
    element,
    node_of,
    quoted,
    read_forwarded,
    x_hops,
)
from understudy.proxy.heads import read_fields

OURS = b"for=10.0.0.1;host=h;proto=http"
VIA = b"Via: 1.1 v\r\n"
TRUSTED = ("10.0.0.0/8", "2001:db8::/32")


def forwarder(form: str = X_FORWARDED, *trusted: str) -> Forwarder:
    """One that believes peers in *trusted*."""
    return Forwarder(trusted=trusted, form=form, via_field=VIA)


def way(
    *given_: tuple[bytes, bytes], form: str = X_FORWARDED, peer: str = "10.0.0.1"
) -> tuple[str, list[bytes]]:
    """The client's address and the lines for a request with these fields, without Via."""
    fields = read_fields([(b"Host", b"h"), *given_], via_id=b"v", trusted=True)
    made = forwarder(form, *TRUSTED).way(fields, peer, b"http")
    lines = made.lines.split(b"\r\n")
    assert lines[-2:] == [VIA[:-2], b""]
    return made.client_ip, lines[:-2]


# -- whom it believes


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("2001:db8::5", True), ("2001:db9::5", False), ("", False)],
)
def test_trust_is_by_network(peer: str, is_trusted: bool) -> None:
    """Of either family, the second time too; nobody without an address."""
    told = forwarder(X_FORWARDED, *TRUSTED)
    assert [told.trusts(peer), told.trusts(peer)] == [is_trusted, is_trusted]


def test_nobody_is_trusted_by_default() -> None:
    """Not even loopback."""
    assert not forwarder().trusts("127.0.0.1")


def test_the_memory_of_who_is_trusted_is_bounded() -> None:
    """A client that invents hops does not grow it."""
    told = forwarder(X_FORWARDED, *TRUSTED)
    answers = {told.trusts(str(ipaddress.IPv4Address(number))) for number in range(MOST_KNOWN + 10)}
    assert answers == {False}
    assert len(told._known) == 10


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        (b"", "10.0.0.1"),
        (b"5.6.7.8", "5.6.7.8"),
        (b"1.1.1.1, 5.6.7.8, 10.2.2.2", "5.6.7.8"),
        (b"10.3.3.3, 10.2.2.2", "10.3.3.3"),
        (b"5.6.7.8, unknown, 10.2.2.2", "10.2.2.2"),
        (b"5.6.7.8, \xff", "10.0.0.1"),
        (b"2001:db9::1", "2001:db9::1"),
    ],
)
def test_the_client_is_the_right_most_hop_that_is_not_trusted(listed: bytes, client: str) -> None:
    """What stands left of it any client can invent; what is no address ends the walk."""
    assert way((b"X-Forwarded-For", listed))[0] == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"for=5.6.7.8", "5.6.7.8"),
        (b'For="5.6.7.8:4711";proto=https', "5.6.7.8"),
        (b'for=1.1.1.1, for="[2001:db9::1]:80", for=10.2.2.2', "2001:db9::1"),
        (b"for=5.6.7.8, for=_hidden", "10.0.0.1"),
        (b"for=5.6.7.8, for=unknown, for=10.2.2.2", "10.2.2.2"),
        (b"proto=https", "10.0.0.1"),
        (b"for=5.6.7.8;for=1.1.1.1", "10.0.0.1"),
        (b'for="5.6.7.8', "10.0.0.1"),
    ],
)
def test_forwarded_alone_names_the_client_too(value: bytes, client: str) -> None:
    """By the same walk; what is not RFC 7239 is not believed."""
    assert way((b"Forwarded", value))[0] == client


# -- what it tells of a client that nobody vouches for


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (
            X_FORWARDED,
            b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\n%bX-Forwarded-Host: h:8\r\n" % VIA,
        ),
        (RFC7239, VIA + b'Forwarded: for=1.2.3.4;host="h:8";proto=http\r\n'),
        (
            BOTH,
            b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\n%bX-Forwarded-Host: h:8\r\n"
            b'Forwarded: for=1.2.3.4;host="h:8";proto=http\r\n' % VIA,
        ),
    ],
)
def test_the_forms(form: str, lines: bytes) -> None:
    """Each kind alone, or both; a host with a port is no token, so it is quoted."""
    assert forwarder(form).lines("1.2.3.4", b"http", b" h:8") == lines


@pytest.mark.parametrize(
    ("peer", "lines"),
    [
        ("2001:db8::1", b'Forwarded: for="[2001:db8::1]";proto=https\r\n'),
        ("", b"Forwarded: for=unknown;proto=https\r\n"),
    ],
)
def test_peers_of_other_kinds(peer: str, lines: bytes) -> None:
    """IPv6 in brackets and quotes (RFC 7239 6); who comes by a Unix socket is unknown."""
    assert forwarder(RFC7239).lines(peer, b"https", b"") == VIA + lines


# -- what it tells behind a trusted peer

HOPS = [(b"X-Forwarded-For", b"1.1.1.1, ,2.2.2.2 "), (b"x_forwarded_for", b"3.3.3.3")]


def test_hops_of_a_trusted_peer() -> None:
    """All lists in order, in any spelling, without empty items; nothing of an untrusted one."""
    fields = read_fields(HOPS, via_id=b"v", trusted=True)
    assert [hop.node for hop in x_hops(fields.forwarded or [])] == [b"1.1.1.1", b"2.2.2.2", b"3.3.3.3"]
    assert read_fields(HOPS, via_id=b"v", trusted=False).forwarded is None


@pytest.mark.parametrize(
    ("given_", "lines"),
    [
        ([], [b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: h"]),
        (
            HOPS,
            [
                b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1",
                b"X-Forwarded-Proto: http",
                b"X-Forwarded-Host: h",
            ],
        ),
        (
            [(b"x-forwarded-proto", b"https"), (b"X-Forwarded-Host", b"z")],
            [b"X-Forwarded-For: 10.0.0.1", b"x-forwarded-proto: https", b"X-Forwarded-Host: z"],
        ),
        (
            [(b"Forwarded", b'for=9.9.9.9;proto=https;host="z:1", for="[2001:db8::2]:5"')],
            [
                b"X-Forwarded-For: 9.9.9.9, 2001:db8::2, 10.0.0.1",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: z:1",
                b'Forwarded: for=9.9.9.9;proto=https;host="z:1", for="[2001:db8::2]:5", %b' % OURS,
            ],
        ),
        (
            [(b"Forwarded", b"for=_a;proto=https")],
            [
                b"X-Forwarded-For: unknown, 10.0.0.1",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: h",
                b"Forwarded: for=_a;proto=https, for=10.0.0.1;host=h;proto=http",
            ],
        ),
        (
            [(b"Forwarded", b"not it")],
            [b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: h"],
        ),
    ],
)
def test_x_forwarded_behind_a_trusted_peer(given_: list[tuple[bytes, bytes]], lines: list[bytes]) -> None:
    """Its own are kept, the peer is appended, what is missing is filled in, also from Forwarded."""
    assert way(*given_)[1] == lines


@pytest.mark.parametrize(
    ("given_", "lines"),
    [
        ([], [b"Forwarded: for=10.0.0.1;host=h;proto=http"]),
        (
            [(b"Forwarded", b"for=9.9.9.9"), (b"forwarded", b"for=10.2.2.2;secret=x")],
            [b"Forwarded: for=9.9.9.9, for=10.2.2.2;secret=x, for=10.0.0.1;host=h;proto=http"],
        ),
        (
            [(b"X-Forwarded-For", b"2001:db9::1, 10.2.2.2"), (b"X-Forwarded-Proto", b"https")],
            [
                b"X-Forwarded-For: 2001:db9::1, 10.2.2.2, 10.0.0.1",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: h",
                b'Forwarded: for="[2001:db9::1]";proto=https, for=10.2.2.2, for=10.0.0.1;host=h;proto=http',
            ],
        ),
        (
            [(b"X-Forwarded-For", b"1.1.1.1:80, me")],
            [
                b"X-Forwarded-For: 1.1.1.1:80, me, 10.0.0.1",
                b"X-Forwarded-Proto: http",
                b"X-Forwarded-Host: h",
                b"Forwarded: for=unknown, for=unknown, for=10.0.0.1;host=h;proto=http",
            ],
        ),
    ],
)
def test_forwarded_behind_a_trusted_peer(given_: list[tuple[bytes, bytes]], lines: list[bytes]) -> None:
    """The same for the other kind: kept as it stands, or made from X-Forwarded-*, which stays too."""
    assert way(*given_, form=RFC7239)[1] == lines


# -- when the two kinds disagree

AGREEING = [(b"X-Forwarded-For", b"5.6.7.8"), (b"Forwarded", b'for="5.6.7.8:1";proto=https')]
DISAGREEING = [
    (b"X-Forwarded-For", b"5.6.7.8"),
    (b"X-Forwarded-Proto", b"https"),
    (b"Forwarded", b"for=6.6.6.6;proto=https"),
]


@pytest.mark.parametrize("form", [X_FORWARDED, RFC7239, BOTH])
def test_two_kinds_that_agree_are_both_kept(form: str) -> None:
    """They agree when they name the same client; ports, schemes and trusted hops may differ."""
    client, lines = way(*AGREEING, form=form)
    assert client == "5.6.7.8"
    assert lines[0] == b"X-Forwarded-For: 5.6.7.8, 10.0.0.1"
    assert lines[-1] == b'Forwarded: for="5.6.7.8:1";proto=https, for=10.0.0.1;host=h;proto=http'


def test_of_two_that_disagree_x_forwarded_is_believed() -> None:
    """Most proxies write it and let a client's Forwarded through: that one goes no further."""
    client, lines = way(*DISAGREEING)
    assert client == "5.6.7.8"
    assert lines == [
        b"X-Forwarded-For: 5.6.7.8, 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: h",
    ]
    assert way(*DISAGREEING, form=BOTH) == (
        "5.6.7.8",
        [*lines, b"Forwarded: for=5.6.7.8;proto=https, for=10.0.0.1;host=h;proto=http"],
    )


def test_unless_the_chain_speaks_rfc_7239() -> None:
    """Who sets that form says that the proxies in front write Forwarded."""
    assert way(*DISAGREEING, form=RFC7239) == (
        "6.6.6.6",
        [b"Forwarded: for=6.6.6.6;proto=https, for=10.0.0.1;host=h;proto=http"],
    )


# -- the grammar


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        (b"", []),
        (b" , ,", []),
        (b'for=a;by="_x;,y";Proto=HTTPS , host="a\\"b"', [(b"a", b"HTTPS", b""), (b"unknown", b"", b'a"b')]),
        (b"for=2001:db8::1 ; proto=http", [(b"unknown", b"http", b"")]),
        (b"for=[2001:db8::1]", [(b"2001:db8::1", b"", b"")]),
        (b"for=1.1.1.1;", [(b"1.1.1.1", b"", b"")]),
        (b"for", None),
        (b"for=a b", None),
        (b'for="a"b', None),
        (b"for=a;for=b", None),
        (b'for="a', None),
    ],
)
def test_reading_forwarded(value: bytes, hops: list[tuple[bytes, bytes, bytes]] | None) -> None:
    """RFC 7239 4, spaces around pairs forgiven."""
    found = read_forwarded([value])
    assert (None if found is None else [(hop.node, hop.proto, hop.host) for hop in found]) == hops


@pytest.mark.parametrize("space", [b" ", b"\t"])
@pytest.mark.parametrize("before", [b"", b"for=a,", b"for=a"])
def test_reading_takes_a_time_in_proportion(before: bytes, space: bytes) -> None:
    """A field of as many bytes as a head may have; a pattern that tries again and again takes minutes."""
    assert read_forwarded([before + space * 32_000 + b"@"]) is None


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (b"1.2.3.4", b"1.2.3.4"),
        (b"1.2.3.4:5", b"1.2.3.4"),
        (b"[::1]:_p", b"::1"),
        (b"unknown", b"unknown"),
        (b"_x", b"_x"),
        (b"", b"unknown"),
        (b"::1", b"unknown"),
        (b"[]", b"unknown"),
    ],
)
def test_nodes(text: bytes, node: bytes) -> None:
    """Without brackets and port (RFC 7239 6)."""
    assert node_of(text) == node


@given(
    st.ip_addresses(),
    st.sampled_from([b"http", b"https", b""]),
    st.from_regex(rb"\A[!-~]{0,12}\Z"),
)
def test_what_is_written_can_be_read(address: ipaddress.IPv4Address, proto: bytes, host: bytes) -> None:
    """Whatever the host holds."""
    text = str(address).encode()
    (hop,) = read_forwarded([element(Hop(text, proto, host))]) or []
    assert (hop.node, hop.proto, hop.host) == (text, proto, host)


@given(st.binary(max_size=200))
def test_anything_can_be_read(value: bytes) -> None:
    """It is hops or nothing, never an exception."""
    read_forwarded([value, value])


def test_quoting() -> None:
    """Tokens stand bare."""
    assert (quoted(b"a.b-1"), quoted(b'a"\\b'), quoted(b"")) == (b"a.b-1", b'"a\\"\\\\b"', b'""')
