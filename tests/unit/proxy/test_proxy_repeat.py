"""A repeated header block is recognised only where a parser would have read the same."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.forwarding import RequestSpellings
from understudy.proxy.heads import read_fields
from understudy.proxy.repeat import LONGEST_BLOCK, MISSES, Repeat

BLOCK = b"\r\nHost: a\r\nX-A: 1\r\n\r\n"
HEADERS = [(b"Host", b"a"), (b"X-A", b"1")]
SPELLINGS = RequestSpellings(b"x-request-id")
LIMITS = {"target_bytes": 100, "header_bytes": 10_000}


def remembering(data: bytes, headers: list[tuple[bytes, bytes]] = HEADERS) -> Repeat:
    """A memory that was shown one whole request."""
    repeat = Repeat()
    repeat.remember(
        data, headers, read_fields(headers, via_id=b"v", trusted=False, spellings=SPELLINGS), SPELLINGS
    )
    return repeat


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_the_same_block_behind_any_plain_request_line(method: bytes) -> None:
    """Method and target are read; fields and headers are those of the block."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    read = repeat.read(method + b" /other?x=%20 HTTP/1.1" + BLOCK, **LIMITS)
    assert read is not None
    assert (read.method, read.target, read.headers) == (method, b"/other?x=%20", HEADERS)
    assert read.fields.host == b"a"


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1" + BLOCK,
        b"GET / HTTP/1.0" + BLOCK,
        b"GET  / HTTP/1.1" + BLOCK,
        b"GET /#f HTTP/1.1" + BLOCK,
        b"GET /\xe9 HTTP/1.1" + BLOCK,
        b"GET http://b/ HTTP/1.1" + BLOCK,
        b"GET * HTTP/1.1" + BLOCK,
        b"GET / HTTP/1.1\r\nX: y" + BLOCK,
        b"GET / HTTP/1.1\nX: y" + BLOCK,
        b"\r\nGET / HTTP/1.1" + BLOCK,
        b"GET / HTTP/1.1" + BLOCK + b"G",
        b"GET / HTTP/1.1" + BLOCK + b"GET / HTTP/1.1" + BLOCK,
        b"GET / HTTP/1.1" + BLOCK[:-1],
        b"GET / HTTP/1.1" + BLOCK.replace(b"Host: a", b"Host: b"),
        BLOCK,
        b"GET /" + b"x" * 100 + b" HTTP/1.1" + BLOCK,
    ],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    """Other methods, versions, forms and lengths of target; more or less than one request."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    assert repeat.read(data, **LIMITS) is None


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b"\r\nGET / HTTP/1.1" + BLOCK, HEADERS),
        (b"\r\r\nGET / HTTP/1.1" + BLOCK, HEADERS),
        (b"GET / HTTP/1.1" + BLOCK, [*HEADERS, (b"Content-Length", b"0")]),
        (b"GET / HTTP/1.1" + BLOCK, [*HEADERS, (b"Expect", b"100-continue")]),
        (b"GET / HTTP/1.1" + BLOCK + b"x" * LONGEST_BLOCK, HEADERS),
    ],
)
def test_what_is_not_remembered(data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Empty lines before a request, requests with a body or an expectation, large blocks."""
    repeat = remembering(data, headers)
    assert repeat.block == b""
    assert repeat.read(b"GET / HTTP/1.1" + BLOCK, **LIMITS) is None


def test_who_never_repeats_is_remembered_no_more() -> None:
    """After a number of misses in a row; a hit starts the count again."""
    repeat = Repeat()
    fields = read_fields(HEADERS, via_id=b"v", trusted=False)
    for number in range(MISSES - 1):
        repeat.remember(b"GET / HTTP/1.1\r\nX: %d\r\n\r\n" % number, HEADERS, fields, SPELLINGS)
    assert repeat.read(b"GET / HTTP/1.1\r\nX: %d\r\n\r\n" % (MISSES - 2), **LIMITS) is not None
    for number in range(MISSES):
        repeat.remember(b"GET / HTTP/1.1\r\nY: %d\r\n\r\n" % number, HEADERS, fields, SPELLINGS)
    assert repeat.block == b""
    repeat.remember(b"GET / HTTP/1.1" + BLOCK, HEADERS, fields, SPELLINGS)
    assert repeat.block == b""


@given(st.binary(max_size=60))
def test_nothing_hides_before_the_block(before: bytes) -> None:
    """Whatever is taken for a repetition is one request line without a line end in it."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    for start in (before, b"GET /" + before + b" HTTP/1.1"):
        found = repeat.read(start + BLOCK, **LIMITS)
        if found is not None:
            assert start == b"%b %b HTTP/1.1" % (found.method, found.target)
            assert not set(found.target) & set(b"\r\n\t #\x00\x7f")


WIDE = [
    (b"Host", b"a"),
    (b"X-A", b"1"),
    (b"Cookie", b"u=1"),
    (b"Connection", b"x-hop"),
    (b"X-Hop", b"1"),
    (b"X-A", b"2"),
    (b"Content-Type", b"t"),
]


def wire(headers: list[tuple[bytes, bytes]], target: bytes = b"/") -> bytes:
    """A GET with *headers* on the wire."""
    lines = b"".join(b"%b: %b\r\n" % field for field in headers)
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines)


def parsed(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """What llhttp makes of *data*; None when it is not one whole request."""
    seen: list[tuple[bytes, bytes]] = []
    whole: list[bool] = []

    class Told:
        def on_header(self, name: bytes, value: bytes) -> None:
            seen.append((name, value))

        def on_message_complete(self) -> None:
            whole.append(True)

    try:
        httptools.HttpRequestParser(Told()).feed_data(data)
    except httptools.HttpParserError:
        return None
    return seen if len(whole) == 1 else None


@pytest.mark.parametrize("place", [1, 2, 5, 6])
@pytest.mark.parametrize("value", [b"other", b"a b\tc", b"\xe4", b"x" * 3000])
def test_another_value_of_a_field_that_means_nothing_here(place: int, value: bytes) -> None:
    """Headers and lines are what parsing would have given, and the remembered ones stay as they were."""
    repeat = remembering(wire(WIDE), WIDE)
    changed = [*WIDE[:place], (WIDE[place][0], value), *WIDE[place + 1 :]]
    read = repeat.read(wire(changed, b"/other"), **LIMITS)
    assert read is not None
    assert (read.target, read.headers) == (b"/other", changed)
    fresh = read_fields(changed, via_id=b"v", trusted=False)
    assert (read.fields.lines, read.fields.credentials) == (fresh.lines, fresh.credentials)
    again = repeat.read(wire(WIDE), **LIMITS)
    assert again is not None
    assert again.headers == WIDE


@pytest.mark.parametrize(
    "changed",
    [
        wire([(b"Host", b"b"), *WIDE[1:]]),
        wire([*WIDE[:3], (b"Connection", b"close"), *WIDE[4:]]),
        wire([*WIDE[:4], (b"X-Hop", b"2"), *WIDE[5:]]),
        wire([*WIDE[:1], (b"X-B", b"1"), *WIDE[2:]]),
        wire([*WIDE[:1], (b"Content-Length", b"1"), *WIDE[2:]]),
        wire([*WIDE[:1], (b"Transfer-Encoding", b"chunked"), *WIDE[2:]]),
        wire([*WIDE, (b"X-C", b"1")]),
        wire(WIDE[:-1]),
        wire(WIDE).replace(b"X-A: 1", b"X-A : 1"),
        wire(WIDE).replace(b"X-A: 1", b"X-A:1"),
        wire(WIDE).replace(b"X-A: 1", b"X-A:  1"),
        wire(WIDE).replace(b"X-A: 1", b"X-A: 1 "),
        wire(WIDE).replace(b"X-A: 1", b"X-A: "),
        wire(WIDE).replace(b"X-A: 1", b" X-A: 1"),
        wire(WIDE).replace(b"X-A: 1", b"x-a: 1"),
        wire(WIDE).replace(b"X-A: 1", b"X-A: 1\nX-B: 2"),
        wire(WIDE).replace(b"X-A: 1", b"X-A: 1\rX-B: 2"),
        wire(WIDE).replace(b"X-A: 1", b"X-A: \x001"),
        wire(WIDE).replace(b"X-A: 1", b"X-A: \x7f1"),
        wire(WIDE).replace(b"X-A: 1", b""),
        wire(WIDE) + b"G",
        wire(WIDE)[:-2],
        wire([*WIDE[:1], (b"X-A", b"x" * LONGEST_BLOCK), *WIDE[2:]]),
    ],
)
def test_any_other_change_is_left_to_the_parser(changed: bytes) -> None:
    """What frames, routes or belongs to the hop; another name, number or spelling; what is not a value."""
    repeat = remembering(wire(WIDE), WIDE)
    assert repeat.read(changed, **LIMITS) is None
    assert repeat.read(wire(WIDE), **LIMITS) is not None


TRACED = [
    (b"Host", b"a"),
    (b"X-Request-Id", b"one"),
    (b"traceparent", b"00-a-b-01"),
    (b"X-Request-Id", b"two"),
]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_ids_and_traces_that_change_are_told(place: int) -> None:
    """What the mirror and the access log are told is of this request, not of the remembered one."""
    repeat = remembering(wire(TRACED), TRACED)
    changed = [*TRACED[:place], (TRACED[place][0], b"new"), *TRACED[place + 1 :]]
    read = repeat.read(wire(changed), **LIMITS)
    assert read is not None
    fresh = read_fields(changed, via_id=b"v", trusted=False, spellings=SPELLINGS)
    assert (read.fields.request_id, read.fields.traceparent) == (fresh.request_id, fresh.traceparent)
    assert (read.fields.trace_at, read.fields.lines) == (fresh.trace_at, fresh.lines)


def test_limits_hold_for_what_is_alike() -> None:
    """A block that grows past the limit of all fields together is the parser's to refuse."""
    repeat = remembering(wire(WIDE), WIDE)
    changed = wire([*WIDE[:1], (b"X-A", b"x" * 900), *WIDE[2:]])
    assert repeat.read(changed, target_bytes=100, header_bytes=900) is None
    assert repeat.read(changed, target_bytes=100, header_bytes=1024) is not None


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_what_is_taken_is_what_llhttp_reads(name: bytes, value: bytes) -> None:
    """For any bytes in a line's place: the same fields, or a refusal to guess."""
    repeat = remembering(wire(WIDE), WIDE)
    for line in (b"X-A: " + value, name + b": " + value, name + value):
        data = wire(WIDE).replace(b"X-A: 1", line)
        read = repeat.read(data, **LIMITS)
        if read is not None:
            assert read.headers == parsed(data)
