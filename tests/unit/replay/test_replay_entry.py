"""`understudy.replay.entry`: what browsers and mitmproxy write becomes what can be sent."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.replay.entry import REASONS, Unusable, read_entry


def entry(url: str = "http://h/p", method: str = "GET", **request: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url, **request}}


def fields(**named: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in named.items()]


@pytest.mark.parametrize(
    ("url", "host", "path", "query"),
    [
        ("http://Shop.Example/a?b=c#d", "shop.example", "/a", "b=c"),
        ("https://h:443", "h", "/", ""),
        ("http://h:443/", "h:443", "/", ""),
        ("http://[::1]:8080/x", "[::1]:8080", "/x", ""),
        ("http://u:p@h/x%2Fy//z", "h", "/x%2Fy//z", ""),
        ("http://h/é ü?q=a b", "h", "/%C3%A9%20%C3%BC", "q=a%20b"),
        ("http://h/a|b?x=[1]", "h", "/a|b", "x=[1]"),
    ],
)
def test_a_url_becomes_what_stands_in_a_request_line(url: str, host: str, path: str, query: str) -> None:
    """Escapes stay as they are, what no request line holds is escaped, a fragment is not sent."""
    read = read_entry(entry(url))
    assert (read.host, read.path, read.query) == (host, path, query)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "no_request"),
        ({}, "no_request"),
        ({"request": {"method": "GET"}}, "no_request"),
        (entry(method="GET /x"), "no_request"),
        (entry("http://"), "no_request"),
        (entry("http://[::1/x"), "no_request"),
        (entry("http://h:port/x"), "no_request"),
        (entry("data:text/plain,x"), "not_http"),
        (entry("blob:https://h/1-2"), "not_http"),
        (entry("/relative"), "not_http"),
        (entry("ws://h/live"), "websocket"),
        (entry(headers=fields(Upgrade="websocket")), "websocket"),
        ({**entry(), "_webSocketMessages": []}, "websocket"),
        (entry(method="POST", bodySize=12), "body_missing"),
        (entry(method="POST", postData={"text": "%%", "encoding": "base64"}), "body_missing"),
        (
            entry(method="POST", postData={"mimeType": "multipart/form-data", "params": [{"name": "a"}]}),
            "body_missing",
        ),
    ],
)
def test_what_cannot_be_asked_again_says_why(given: object, reason: str) -> None:
    """Every refusal has a name, and the name has words."""
    with pytest.raises(Unusable) as unusable:
        read_entry(given)
    assert str(unusable.value) == reason
    assert REASONS[reason]


def test_fields_of_the_connection_and_the_cache_stay_behind() -> None:
    """Order and duplicates stay; what belongs to HTTP/2, to one hop, to a cache or to us does not."""
    given = [
        {"name": ":path", "value": "/p"},
        *fields(Host="h", Connection="close", TE="trailers", If_None_Match='"1"', Content_Length="3"),
        {"name": "X-A", "value": " 1 "},
        {"name": "X-Understudy-Shadow", "value": "1"},
        {"name": "x-a", "value": "2"},
        {"name": "X-Bad", "value": "a\r\nX-Evil: 1"},
        {"name": "X Bad", "value": "1"},
        {"name": "Accept-Encoding", "value": "gzip, compress, br;q=0.5"},
        {"name": 7, "value": "x"},
        "no field",
    ]
    assert read_entry(entry(headers=given)).headers == (
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"Accept-Encoding", b"gzip, br;q=0.5"),
    )


def test_credentials_are_kept_apart() -> None:
    """They are sent only if somebody says so; a placeholder never is, a missing Cookie is made of cookies."""
    given = [
        *fields(Authorization="Bearer x", X_Api_Key="[redacted 1f]"),
        {"name": "Accept", "value": "*/*"},
    ]
    read = read_entry(
        entry(headers=given, cookies=[{"name": "a", "value": "1"}, {"name": "b", "value": "2"}])
    )
    assert read.headers == ((b"Accept", b"*/*"),)
    assert read.credentials == ((b"Authorization", b"Bearer x"), (b"Cookie", b"a=1; b=2"))


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"text": "grün"}, "grün".encode()),
        ({"text": "grün", "mimeType": "text/plain; charset=iso-8859-1"}, "grün".encode("latin-1")),
        ({"text": "→", "mimeType": "text/plain; charset=iso-8859-1"}, "→".encode()),
        ({"text": "x", "mimeType": "text/plain; charset=klingon"}, b"x"),
        ({"text": "AAEC/w==", "encoding": "base64"}, b"\0\1\2\xff"),
        ({"params": [{"name": "a b", "value": "c&d"}]}, b"a+b=c%26d"),
        ({"params": [{"name": "a%20b", "value": "c%26d"}]}, b"a%20b=c%26d"),
        ({}, b""),
    ],
)
def test_bodies_are_what_was_sent(data: dict[str, Any], body: bytes) -> None:
    """As text in its charset, as Base64, as parameters of a form."""
    assert read_entry(entry(method="POST", postData=data)).body == body


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:01.500Z", 1.5),
        ("1970-01-01T01:00:01+01:00", 1.0),
        ("yesterday", None),
        (7, None),
    ],
)
def test_times_are_unix_seconds(text: object, at: float | None) -> None:
    """With an offset, or none at all when it cannot be read."""
    assert read_entry({**entry(), "startedDateTime": text}).at == at


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "request",
                        "method",
                        "url",
                        "headers",
                        "name",
                        "value",
                        "postData",
                        "text",
                        "params",
                        "cookies",
                    ]
                ),
                inner | st.sampled_from(["GET", "http://h/\ud800", "POST", "base64"]),
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
@settings(max_examples=50, deadline=None)
def test_no_entry_raises_anything_else(value: object) -> None:
    """Whatever JSON says, it is read or refused by name."""
    reason = ""
    try:
        assert read_entry({"request": value}).path.isascii()
    except Unusable as unusable:
        reason = str(unusable)
    assert reason in {"", *REASONS}
