"""Where the proxy listens: one text means one address, with or without TLS, or one Unix socket."""

from pathlib import Path

import pytest

from understudy.config.listener import Listener, clash, listeners, read_listener, resolve_listen
from understudy.config.place import Refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost:80", "http://127.0.0.1:80"),
        ("https://[0:0::1]:443/", "https://[::1]:443"),
        ("unix:/run/understudy.sock", "unix:/run/understudy.sock"),
        ("unix:understudy.sock", "unix:understudy.sock"),
    ],
)
def test_an_address_is_read(text: str, expected: str) -> None:
    """A scheme stays, the address behind it is normal."""
    assert read_listener(text) == expected


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (8080, "must be address:port, not 8080", "did you mean 127.0.0.1:8080?"),
        ("/run/u.sock", '"/run/u.sock" is not an address', "did you mean unix:/run/u.sock?"),
        ("unix:", '"unix:" names no file', "for example unix:/run/understudy.sock"),
        ("unix:/run/", '"unix:/run/" names no file', "for example unix:/run/understudy.sock"),
        (
            "unix:///run/u",
            '"unix:///run/u": a path begins with one slash',
            "did you mean unix:/run/u?",
        ),
        (
            "unix:@u",
            '"unix:@u": abstract sockets are not offered',
            "for example unix:/run/understudy.sock",
        ),
        ("https://example.com:443", '"example.com" is not an IP address', None),
        ("http://127.0.0.1", '"127.0.0.1" has no port', "did you mean 127.0.0.1:8080?"),
        (
            "tcp://127.0.0.1:80",
            '"tcp://127.0.0.1:80": a listener speaks http or https',
            "did you mean http://127.0.0.1:80?",
        ),
    ],
)
def test_what_is_no_address_is_refused(value: object, message: str, hint: str | None) -> None:
    """With what was probably meant."""
    with pytest.raises(Refused) as refused:
        read_listener(value)
    assert refused.value.message == message
    assert hint is None or refused.value.hint == hint


def test_certificates_apply_to_every_tcp_address_that_does_not_say_http() -> None:
    """A Unix socket is plain always."""
    listen = ("127.0.0.1:1", "http://127.0.0.1:2", "https://127.0.0.1:3", "unix:/u")
    assert [str(each) for each in listeners(listen, has_tls=True)] == [
        "https://127.0.0.1:1",
        "http://127.0.0.1:2",
        "https://127.0.0.1:3",
        "unix:/u",
    ]
    assert str(listeners(listen, has_tls=False)[0]) == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Listener(address="127.0.0.1:1"), Listener(address="127.0.0.1:1", is_tls=True), True),
        (Listener(address="127.0.0.1:1"), Listener(address="127.0.0.1:2"), False),
        (Listener(address="/u", is_unix=True), Listener(address="/u", is_unix=True), True),
        (Listener(address="/u", is_unix=True), Listener(address="127.0.0.1:1"), False),
    ],
)
def test_two_listeners_clash_by_address(one: Listener, other: Listener, expected: bool) -> None:
    """TLS makes no difference; a path is no port."""
    assert clash(one, other) is expected
    assert clash(other, one) is expected


def test_relative_paths_lie_beside_the_configuration() -> None:
    """Addresses stay as they are."""
    listen = ("unix:a", "unix:/b", "127.0.0.1:1")
    assert resolve_listen(listen, Path("/etc/u")) == ("unix:/etc/u/a", "unix:/b", "127.0.0.1:1")
