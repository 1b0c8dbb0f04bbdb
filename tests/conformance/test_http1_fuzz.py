"""A few hundred damaged dialogues; ``python tests/conformance/http1_fuzz.py 200000`` tells more of them."""

import asyncio

import pytest
from http1_fuzz import Broken, h11_reads, tell
from http1_reader import read_answers, read_requests

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("seed", range(4))
def test_damaged_dialogues(seed: int) -> None:
    """Whatever is said on either side: services and shadows see only what was said, each client gets its own
    answers, and everybody is rid of in the end."""
    counts = asyncio.run(tell(150, seed))
    assert counts["requests"] > 300
    assert counts["copies"] > 200
    assert counts["answers"] > 400


@pytest.mark.parametrize(
    ("wire", "state", "count"),
    [
        (GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\nab", "end", 2),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0\r\nX: y\r\n\r\n", "end", 1),
        (POST + b"Content-Length: 2\r\n\r\na", "partial", 0),
        (GET + b"X: a\nb\r\n\r\n", "bad", 0),
        (GET + b"Host: a\r\n\r\n", "bad", 0),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "bad", 0),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabX", "bad", 0),
        (GET, "unsure", 0),
    ],
)
def test_the_second_reader(wire: bytes, state: str, count: int) -> None:
    """It knows good from bad without help."""
    reading = read_requests(wire)
    assert (reading.state, len(reading.messages)) == (state, count)


def test_the_second_reader_of_answers() -> None:
    """By the methods that were asked, and without interim answers."""
    wire = b"HTTP/1.1 103 H\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert len(read_answers(wire, [b"HEAD"], is_closed=False).messages) == 1
    assert read_answers(wire, [b"GET"], is_closed=False).state == "partial"
    assert len(read_answers(wire + b"ab", [b"GET"], is_closed=False).messages) == 1


def test_a_third_reader_agrees() -> None:
    """h11 counts the same requests, and says what is none."""
    assert h11_reads(GET + b"\r\n" + GET + b"\r\n") == 2
    with pytest.raises(Broken, match="h11"):
        h11_reads(GET + b"Host: b\r\n\r\n")
