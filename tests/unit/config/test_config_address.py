"""Addresses say one thing: no names to listen on, nothing behind an origin."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.config.address import (
    is_loopback,
    overlap,
    read_listen,
    read_network,
    read_origin,
    read_page_origin,
    read_sync,
)
from understudy.config.place import Refused

LISTEN = "for example 127.0.0.1:8080 or [::1]:8080"
ORIGIN = "for example http://127.0.0.1:9001"
SOCKET = "for example unix:/run/shop.sock"


@pytest.mark.parametrize(
    ("read", "written", "value"),
    [
        (read_listen, "127.0.0.1:8080", "127.0.0.1:8080"),
        (read_listen, "0.0.0.0:0", "0.0.0.0:0"),
        (read_listen, "localhost:80", "127.0.0.1:80"),
        (read_listen, "[::1]:8080", "[::1]:8080"),
        (read_listen, "[0:0::1]:8080", "[::1]:8080"),
        (read_origin, "http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        (read_origin, "http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
        (read_origin, "http://Shop", "http://shop:80"),
        (read_origin, "http://shop_v1.internal:80", "http://shop_v1.internal:80"),
        (read_origin, "http://[::1]:80", "http://[::1]:80"),
        (read_origin, "https://shop", "https://shop:443"),
        (read_origin, "https://[::1]:8443/", "https://[::1]:8443"),
        (read_origin, "unix:/run/shop.sock", "unix:/run/shop.sock"),
        (read_origin, "unix:shop.sock", "unix:shop.sock"),
        (read_page_origin, "https://App.example.com", "https://app.example.com"),
        (read_page_origin, "http://[::1]:3000", "http://[::1]:3000"),
        (read_page_origin, "*", "*"),
        (read_sync, "127.0.0.1:8015", "127.0.0.1:8015"),
        (read_sync, "off", ""),
        (read_network, "10.0.0.0/8", "10.0.0.0/8"),
        (read_network, "::1", "::1/128"),
    ],
)
def test_a_good_address_is_normalised(read: Callable[[object], str], written: str, value: str) -> None:
    """An address comes out in the one form that the rest relies on."""
    assert read(written) == value


@pytest.mark.parametrize(
    ("read", "written", "message", "hint"),
    [
        (read_listen, 8080, "must be address:port, not 8080", "did you mean 127.0.0.1:8080?"),
        (read_listen, "8080", '"8080" has no port', "did you mean 127.0.0.1:8080?"),
        (read_listen, None, "must be address:port, not nothing", LISTEN),
        (read_listen, "", '"" has no port', "did you mean 127.0.0.1:8080?"),
        (read_listen, "1.2.3.4", '"1.2.3.4" has no port', "did you mean 1.2.3.4:8080?"),
        (
            read_listen,
            ":8080",
            '":8080" names no address',
            "0.0.0.0:8080 listens everywhere, 127.0.0.1:8080 only here",
        ),
        (read_listen, "::1:80", '"::1:80": an IPv6 address stands in brackets', "did you mean [::1]:80?"),
        (read_listen, "example.com:80", '"example.com" is not an IP address', LISTEN),
        (read_listen, "300.1.1.1:80", '"300.1.1.1" is not an IP address', LISTEN),
        (
            read_listen,
            "[1.2.3.4]:80",
            '"[1.2.3.4]:80": brackets are for IPv6 addresses',
            "did you mean 1.2.3.4?",
        ),
        (read_listen, "1.2.3.4:70000", '"1.2.3.4:70000": port 70000 is out of range', "0 to 65535"),
        (read_listen, "1.2.3.4:-1", '"1.2.3.4:-1": "-1" is not a port', ""),
        (read_listen, "1.2.3.4:\uff18\uff10", '"1.2.3.4:\uff18\uff10": "\uff18\uff10" is not a port', ""),
        (
            read_listen,
            "unix:/run/x",
            "a Unix socket cannot stand here",
            "an address does, such as 127.0.0.1:8080",
        ),
        (
            read_origin,
            "127.0.0.1:9001",
            '"127.0.0.1:9001" has no scheme',
            "did you mean http://127.0.0.1:9001?",
        ),
        (read_origin, "http:/a", '"http:/a" has no scheme', "did you mean http://a?"),
        (
            read_origin,
            "/run/shop.sock",
            '"/run/shop.sock" has no scheme',
            "did you mean unix:/run/shop.sock?",
        ),
        (
            read_origin,
            "unix:///run/shop.sock",
            '"unix:///run/shop.sock": a path begins with one slash',
            "did you mean unix:/run/shop.sock?",
        ),
        (read_origin, "unix:", '"unix:" names no socket', SOCKET),
        (read_origin, "unix:/run/", '"unix:/run/" names no socket', SOCKET),
        (read_origin, "unix:@shop", '"unix:@shop": abstract sockets are not offered', SOCKET),
        (
            read_origin,
            "unix:/" + "a" * 107,
            '"unix:/' + "a" * 49 + " …\" is longer than a socket's path may be: 107",
            "",
        ),
        (
            read_origin,
            "https://a/x",
            '"https://a/x" has a path; requests keep the path they came with',
            "did you mean https://a?",
        ),
        (read_origin, "ftp://a", '"ftp://a": a service speaks http', "did you mean http://a?"),
        (
            read_origin,
            "http://a/x",
            '"http://a/x" has a path; requests keep the path they came with',
            "did you mean http://a?",
        ),
        (read_origin, "http://a?", '"http://a?" has a query; an origin has none', "did you mean http://a?"),
        (
            read_origin,
            "http://a#x",
            '"http://a#x" has a fragment; an origin has none',
            "did you mean http://a?",
        ),
        (
            read_origin,
            "http://me:secret@a",
            "user and password do not belong into a URL",
            "see set_headers; did you mean http://a?",
        ),
        (read_origin, "http://", '"http://": "" is not a host', ORIGIN),
        (read_origin, "http://127.1", '"http://127.1": "127.1" is not a host', ORIGIN),
        (read_origin, "http://0x7f000001", '"http://0x7f000001": "0x7f000001" is not a host', ORIGIN),
        (read_origin, "http://a:0", '"http://a:0": port 0 is out of range', "1 to 65535"),
        (read_origin, "http://a:70000", '"http://a:70000" is not a URL: Port out of range 0-65535', ""),
        (
            read_origin,
            "http://a\r\nX: y",
            '"http://a\\r\\nX: y" has characters that no URL has',
            "names beyond ASCII are written in punycode",
        ),
        (read_origin, 9001, "must be a URL, not 9001", ORIGIN),
        (read_origin, ["http://a"], "must be one URL, not a list", "several stand under origins"),
        (
            read_page_origin,
            "https://a/x",
            'must be scheme, host and port alone, not "https://a/x"',
            "did you mean https://a?",
        ),
        (
            read_page_origin,
            "app.example.com",
            'must be an origin such as https://app.example.com, not "app.example.com"',
            "",
        ),
        (read_page_origin, 7, "must be an origin such as https://app.example.com, not 7", ""),
        (
            read_sync,
            "0.0.0.0:8015",
            "0.0.0.0:8015 can be reached from other machines, and this version has no API tokens",
            "",
        ),
        (read_network, "10.1.0.0/8", '"10.1.0.0/8" has bits set beyond its mask', "did you mean 10.0.0.0/8?"),
        (read_network, "lan", '"lan" is not a network', "for example 10.0.0.0/8"),
        (read_network, 10, "must be a network, not 10", "for example 10.0.0.0/8"),
    ],
)
def test_a_wrong_address_says_what_was_meant(
    read: Callable[[object], str], written: object, message: str, hint: str
) -> None:
    """Every refusal says what is wrong and shows the form that would do."""
    with pytest.raises(Refused) as refused:
        read(written)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_a_password_is_not_repeated() -> None:
    """A refused URL with a password does not spread it into logs."""
    with pytest.raises(Refused) as refused:
        read_origin("http://me:secret@a")
    assert "secret" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "127.0.0.1:81", False),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "[::1]:80", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_listeners_clash_when_one_takes_the_others_port(one: str, other: str, clash: bool) -> None:
    """An address for all interfaces takes every one of its family; port 0 never clashes."""
    assert overlap(one, other) is clash
    assert overlap(other, one) is clash


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.9.9.9:1", True), ("[::1]:1", True), ("0.0.0.0:1", False), ("10.0.0.1:1", False)],
)
def test_loopback_is_recognised(listen: str, expected: bool) -> None:
    """Only addresses of this machine are loopback."""
    assert is_loopback(listen) is expected


@given(st.text(), st.sampled_from(["", "http://", "[", "127.0.0.1:"]))
def test_reading_an_address_only_ever_refuses(text: str, start: str) -> None:
    """No text makes a reader fail in another way than by refusing."""
    for read in (read_listen, read_origin, read_page_origin, read_sync, read_network):
        try:
            assert isinstance(read(start + text), str)
        except Refused:
            continue


def test_a_missing_grpcio_is_told_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that mends it."""
    monkeypatch.setattr("understudy.config.address.find_spec", lambda name: None)
    with pytest.raises(Refused) as refused:
        read_sync("127.0.0.1:8015")
    assert refused.value.hint == "pip install 'understudy[flagd]'"
