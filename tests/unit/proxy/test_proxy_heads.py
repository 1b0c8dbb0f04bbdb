"""Reading and rewriting request heads: tables of what goes on and what is refused."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from understudy.forwarding import CREDENTIALS, PASS, RequestSpellings, kind_of, name_of
from understudy.proxy.heads import (
    CHUNKED,
    UNSIZED,
    Fields,
    Refused,
    origin_form,
    read_fields,
    valid_host,
)

VIA = b"understudy-1a2b"


def read(*headers: tuple[bytes, bytes], trusted: bool = False) -> Fields:
    """The fields of one request."""
    return read_fields(headers, via_id=VIA, trusted=trusted)


def test_a_plain_head() -> None:
    """Lines in order and as spelled; everything else at its default."""
    fields = read((b"Host", b"a"), (b"x-B", b"1"), (b"X-b", b"2 "))
    assert fields.lines == [b"Host: a", b"x-B: 1", b"X-b: 2 "]
    assert fields.host == b"a"
    assert (fields.length, fields.override, fields.is_shadow, fields.expects_continue, fields.closes) == (
        UNSIZED,
        "",
        False,
        False,
        False,
    )
    assert (fields.credentials, fields.forwarded) == (None, None)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([(b"Content-Length", b"0")], 0),
        ([(b"content-length", b"0012 ")], 12),
        ([(b"Transfer-Encoding", b"Chunked ")], CHUNKED),
        ([], UNSIZED),
    ],
)
def test_framing(headers: list[tuple[bytes, bytes]], length: int) -> None:
    """The length is a number; its field does not go on by itself."""
    fields = read(*headers)
    assert fields.length == length
    assert fields.lines == []


REFUSED = {
    "a loop": ([(b"Via", b"1.1 x, 1.1 " + VIA)], 508, "loop"),
    "two hosts": ([(b"Host", b"a"), (b"host", b"a")], 400, "bad_host"),
    "another coding": ([(b"Transfer-Encoding", b"gzip")], 501, "bad_transfer_coding"),
    "a tab behind the coding": ([(b"Transfer-Encoding", b"chunked\t")], 501, "bad_transfer_coding"),
    "a coding twice": ([(b"Transfer-Encoding", b"chunked")] * 2, 501, "bad_transfer_coding"),
    "an unknown expectation": ([(b"Expect", b"tea")], 417, "bad_expect"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    """Each with its status and the reason it is counted by."""
    headers, status, reason = REFUSED[name]
    with pytest.raises(Refused) as caught:
        read(*headers)
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert caught.value.detail


@pytest.mark.parametrize(
    ("values", "closes"),
    [
        ([b"close"], True),
        ([b" Close "], True),
        ([b"keep-alive"], False),
        ([b"x-a, close"], True),
        ([b"x-a", b"close"], True),
        ([b"x-a"], False),
        ([b""], False),
    ],
)
def test_connection_close(values: list[bytes], closes: bool) -> None:
    """Any Connection field may say it, among other options."""
    assert read(*[(b"Connection", value) for value in values]).closes is closes


def test_connection_names_fields_away_but_not_host() -> None:
    """In any case, of any kind that goes on; positions of credentials follow."""
    fields = read(
        (b"Cookie", b"a=1"),
        (b"X-Gone", b"1"),
        (b"Host", b"a"),
        (b"Authorization", b"b"),
        (b"Connection", b"x-gone, HOST, cookie, content-length"),
        (b"Content-Length", b"5"),
    )
    assert fields.lines == [b"Host: a", b"Authorization: b"]
    assert fields.credentials == [1]
    assert fields.length == 5


def test_credentials_are_found() -> None:
    """Their positions among the lines that go on, ascending."""
    fields = read((b"Cookie", b"a"), (b"X", b"1"), (b"te", b"x"), (b"x_api_key", b"k"), (b"COOKIE", b"b"))
    assert fields.lines == [b"Cookie: a", b"X: 1", b"x_api_key: k", b"COOKIE: b"]
    assert fields.credentials == [0, 2, 3]


def test_marks_and_overrides() -> None:
    """The shadow mark and method overrides are seen; only the override goes on."""
    fields = read(
        (b"X-Understudy-Shadow", b"0"), (b"X-HTTP-Method", b" delete "), (b"Expect", b"100-CONTINUE ")
    )
    assert (fields.is_shadow, fields.override, fields.expects_continue) == (True, "DELETE", True)
    assert fields.lines == [b"X-HTTP-Method:  delete "]


def test_two_overrides_are_no_method() -> None:
    """Nothing that disagrees is taken for safe."""
    assert read((b"X-HTTP-Method", b"GET"), (b"X-Method-Override", b"POST")).override == "GET, POST"


IDS = RequestSpellings(b"x-request-id")


@pytest.mark.parametrize(
    ("headers", "request_id", "lines"),
    [
        ([(b"X-Request-ID", b"a")], b"a", [b"X-Request-ID: a"]),
        ([(b"x_request_id", b"a"), (b"X-Request-Id", b"b")], b"a", [b"x_request_id: a", b"X-Request-Id: b"]),
        ([(b"X-Request-Id", b" "), (b"X-Request-Id", b"b")], b"b", [b"X-Request-Id: b"]),
        ([(b"X-Request-Id", b"")], b"", []),
        ([(b"X-Request-Id", b"a"), (b"Connection", b"X-Request-Id")], b"", []),
        ([(b"X-Request-Id", b"a"), (b"X", b"1"), (b"Connection", b"x")], b"a", [b"X-Request-Id: a"]),
    ],
)
def test_the_id_that_came(headers: list[tuple[bytes, bytes]], request_id: bytes, lines: list[bytes]) -> None:
    """The first that is not empty; an empty one does not go on, for it gets another."""
    fields = read_fields(headers, via_id=VIA, trusted=False, spellings=IDS)
    assert (fields.request_id, fields.lines) == (request_id, lines)


def test_without_ids_the_field_is_like_any_other() -> None:
    """Empty or not, it goes on."""
    fields = read((b"X-Request-Id", b""))
    assert (fields.request_id, fields.lines) == (b"", [b"X-Request-Id: "])


@pytest.mark.parametrize(
    ("headers", "traceparent", "at"),
    [
        ([(b"A", b"1"), (b"TraceParent", b"t")], b"t", 1),
        ([(b"Te", b"x"), (b"Cookie", b"c"), (b"traceparent", b"t"), (b"A", b"1")], b"t", 1),
        ([(b"traceparent", b"t"), (b"traceparent", b"t")], b"", 1),
        ([(b"Connection", b"a"), (b"A", b"1"), (b"Cookie", b"c"), (b"traceparent", b"t")], b"t", 1),
        ([(b"Connection", b"traceparent"), (b"traceparent", b"t")], None, None),
        ([], None, -1),
    ],
)
def test_the_trace_and_where_it_stands(
    headers: list[tuple[bytes, bytes]], traceparent: bytes | None, at: int | None
) -> None:
    """Among the lines that go on; two are none that can be read."""
    fields = read(*headers)
    assert fields.traceparent == traceparent
    assert at is None or fields.trace_at == at


NAMES = (
    b"Host Via X-A x_b Cookie TE Connection X-Forwarded-For Forwarded X-Understudy-Flag X_Understudy_Shadow "
    b"Keep-Alive X_Api_Key Accept Trailer"
).split()
names = st.sampled_from(NAMES)
values = st.sampled_from([b"a", b"x-a", b"close", b"keep-alive, x_b", b"", b"cookie,host"])


@given(st.lists(st.tuples(names, values)))
def test_what_goes_on_is_what_came(headers: list[tuple[bytes, bytes]]) -> None:
    """A subsequence of the fields, without hop-by-hop, cohort and forwarding ones; credentials all found."""
    assume(sum(name == b"Host" for name, _ in headers) < 2)
    fields = read(*headers)
    came = [b"%b: %b" % field for field in headers]
    rest = iter(came)
    assert all(line in rest for line in fields.lines)
    for line in fields.lines:
        name = name_of(line)
        assert name not in (b"te", b"connection", b"keep-alive", b"trailer", b"forwarded", b"x-forwarded-for")
        assert not name.replace(b"_", b"-").startswith(b"x-understudy")
    found = [at for at, line in enumerate(fields.lines) if name_of(line).replace(b"_", b"-") in CREDENTIALS]
    assert (fields.credentials or []) == found
    named = {b"accept"}
    assert {line for line in came if name_of(line) in named and kind_of(name_of(line)) == PASS} <= set(
        fields.lines
    )


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"A.Example:80", "a.example:80"),
        (b"[2001:DB8::1]:8080", "[2001:db8::1]:8080"),
        (b" a\t", "a"),
        (b"a%20b", "a%20b"),
    ],
)
def test_valid_hosts(value: bytes, host: str) -> None:
    """Lower case, without outer space; the same the second time, from memory."""
    assert valid_host(value) == valid_host(value) == host


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"a b",
        b"a, b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:123456",
        b"a:",
        b"[a",
        b"[::1]x",
        b"\xe9",
        b"a?b",
    ],
)
def test_invalid_hosts(value: bytes) -> None:
    """400, the second time too."""
    for _ in range(2):
        with pytest.raises(Refused, match="Host"):
            valid_host(value)


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        (b"*", "OPTIONS", (b"*", b"")),
        (b"http://a", "GET", (b"/", b"a")),
        (b"HTTPS://a:1/b?c", "GET", (b"/b?c", b"a:1")),
        (b"http://a?b", "GET", (b"/?b", b"a")),
        (b"http://a", "OPTIONS", (b"*", b"a")),
        (b"http://a//b/../c%2F", "GET", (b"//b/../c%2F", b"a")),
    ],
)
def test_targets(target: bytes, method: str, expected: tuple[bytes, bytes]) -> None:
    """Origin-form and authority."""
    assert origin_form(target, method) == expected


@pytest.mark.parametrize(
    ("target", "method"),
    [(b"*", "GET"), (b"ftp://a/", "GET"), (b"http:///a", "GET"), (b"http://a#b", "GET"), (b"a:80", "GET")],
)
def test_refused_targets(target: bytes, method: str) -> None:
    """400."""
    with pytest.raises(Refused) as caught:
        origin_form(target, method)
    assert (caught.value.status, caught.value.reason) == (400, "bad_target")
