"""Raw answers, to the byte, and where requests end."""

import pytest

from understudy.testing import answer, chunked
from understudy.testing.http1 import request_end

PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:  12\r\n\r\n\r\n\r\nabcdefgh"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
TRAILED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nSum: 1\r\nB: 2\r\n\r\n"


def test_an_answer_is_framed_by_its_length() -> None:
    """Fields keep their order and spelling; the length stands last."""
    assert answer(404, b"no", [("X-a", "1"), ("x-A", "2")]) == (
        b"HTTP/1.1 404 Not Found\r\nX-a: 1\r\nx-A: 2\r\nContent-Length: 2\r\n\r\nno"
    )


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (answer(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (answer(204), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (answer(304), b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (answer(100), b"HTTP/1.1 100 Continue\r\n\r\n"),
        (answer(299), b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"),
        (answer(200, reason="Fine"), b"HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"),
        (answer(200, b"ab", [("content-length", "9")]), b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"),
    ],
)
def test_an_answer_has_a_length_unless_it_may_not_or_has_its_own(made: bytes, expected: bytes) -> None:
    """1xx, 204 and 304 have none; a length that was given stays, even a false one."""
    assert made == expected


@pytest.mark.parametrize(
    ("made", "body"),
    [
        (chunked([b"abc", b"", b"x" * 16]), b"3\r\nabc\r\n10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"),
        (chunked([], trailers=[("Sum", "1")]), b"0\r\nSum: 1\r\n\r\n"),
        (chunked([b"a"], is_whole=False), b"1\r\na\r\n"),
    ],
)
def test_a_chunked_answer_has_its_chunks_and_trailers(made: bytes, body: bytes) -> None:
    """Sizes are hexadecimal; an empty chunk does not end the body early."""
    assert made == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize("request_bytes", [PLAIN, SIZED, CHUNKED, TRAILED])
def test_a_request_is_whole_with_its_last_byte(request_bytes: bytes) -> None:
    """No prefix is whole; bytes before it and behind it do not move its end."""
    ends = [request_end(request_bytes[:size], 0) for size in range(len(request_bytes))]

    assert ends == [None] * len(request_bytes)
    assert request_end(request_bytes, 0) == len(request_bytes)
    assert request_end(PLAIN + request_bytes + PLAIN, len(PLAIN)) == len(PLAIN) + len(request_bytes)


@pytest.mark.parametrize("size", [b"-5", b"", b"xyz"])
def test_a_malformed_chunk_has_no_end(size: bytes) -> None:
    """A body that cannot be framed is never whole, and never an endless search."""
    assert (
        request_end(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n", 0)
        is None
    )
