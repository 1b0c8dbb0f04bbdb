"""A repeated header block is recognised only where a parser would have read the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.proxy.heads import read_fields
from understudy.proxy.repeat import LONGEST_BLOCK, MISSES, Repeat

BLOCK = b"\r\nHost: a\r\nX-A: 1\r\n\r\n"
HEADERS = [(b"Host", b"a"), (b"X-A", b"1")]


def remembering(data: bytes, headers: list[tuple[bytes, bytes]] = HEADERS) -> Repeat:
    """A memory that was shown one whole request."""
    repeat = Repeat()
    repeat.remember(data, headers, read_fields(headers, via_id=b"v", trusted=False))
    return repeat


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
def test_the_same_block_behind_any_plain_request_line(method: bytes) -> None:
    """Method and target are read; fields and headers are those of the block."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    assert repeat.read(method + b" /other?x=%20 HTTP/1.1" + BLOCK, target_bytes=100) == (
        method,
        b"/other?x=%20",
    )
    assert repeat.headers == HEADERS
    assert repeat.fields is not None
    assert repeat.fields.host == b"a"


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
        b"GET / HTTP/1.1" + BLOCK.replace(b"1\r", b"2\r"),
        BLOCK,
        b"GET /" + b"x" * 100 + b" HTTP/1.1" + BLOCK,
    ],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    """Other methods, versions, forms and lengths of target; more or less than one request."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    assert repeat.read(data, target_bytes=100) is None


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
    assert repeat.read(b"GET / HTTP/1.1" + BLOCK, target_bytes=100) is None


def test_who_never_repeats_is_remembered_no_more() -> None:
    """After a number of misses in a row; a hit starts the count again."""
    repeat = Repeat()
    fields = read_fields(HEADERS, via_id=b"v", trusted=False)
    for number in range(MISSES - 1):
        repeat.remember(b"GET / HTTP/1.1\r\nX: %d\r\n\r\n" % number, HEADERS, fields)
    assert repeat.read(b"GET / HTTP/1.1\r\nX: %d\r\n\r\n" % (MISSES - 2), target_bytes=100) is not None
    for number in range(MISSES):
        repeat.remember(b"GET / HTTP/1.1\r\nY: %d\r\n\r\n" % number, HEADERS, fields)
    assert repeat.block == b""
    repeat.remember(b"GET / HTTP/1.1" + BLOCK, HEADERS, fields)
    assert repeat.block == b""


@given(st.binary(max_size=60))
def test_nothing_hides_before_the_block(before: bytes) -> None:
    """Whatever is taken for a repetition is one request line without a line end in it."""
    repeat = remembering(b"GET /first HTTP/1.1" + BLOCK)
    for start in (before, b"GET /" + before + b" HTTP/1.1"):
        found = repeat.read(start + BLOCK, target_bytes=100)
        if found is not None:
            assert start == b"%b %b HTTP/1.1" % found
            assert not set(found[1]) & set(b"\r\n\t #\x00\x7f")
