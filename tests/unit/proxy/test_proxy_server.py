"""What clients are told by the proxy itself, and how their addresses are told."""

import pytest

from understudy.proxy.line import plain_address
from understudy.proxy.problems import DETAIL_OF, STATUS_OF, problem


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
