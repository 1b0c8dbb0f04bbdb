"""Bodies in small pieces cost what they count."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadow_examples import Rehearsal, primary_says

from understudy.shadow import keep
from understudy.shadow.call import CRUMB_BYTES, MOST_CRUMBS
from understudy.shadow.pieces import JOINED_BYTES, SMALL_BYTES


@given(st.lists(st.binary(max_size=2 * SMALL_BYTES), max_size=60))
def test_the_same_bytes_in_fewer_pieces(pieces: list[bytes]) -> None:
    """Nothing is lost or moved; two neighbours are never both small."""
    kept: list[bytes] = []
    for piece in pieces:
        keep(kept, piece)
    assert b"".join(kept) == b"".join(pieces)
    assert all(len(a) >= JOINED_BYTES or len(b) >= SMALL_BYTES for a, b in pairwise(kept))


@pytest.mark.parametrize("size", [1, 2, 7, 500, 512, 5000])
def test_what_is_held_is_what_is_counted(size: int) -> None:
    """A fifth more at the worst, objects and list included."""
    kept: list[bytes] = []
    count = 200_000 // size
    for _ in range(count):
        keep(kept, b"\xff" * size)
    assert sum(map(sys.getsizeof, kept)) + sys.getsizeof(kept) < 1.2 * size * count


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_an_answer_in_crumbs_is_given_up() -> None:
    """It takes the worker's time and says little: failed, and enough of these open the breaker."""
    stage = Rehearsal()
    for _ in range(5):
        exchange, (call,) = stage.sent()
        primary_says(exchange)
        connection = stage.connection_of(call)
        connection.data_received(CHUNKED + b"2\r\nab\r\n" * (MOST_CRUMBS + 1))
        assert call.failure == "crumbs"
        assert connection.caller is None
    assert stage.targets[0].refuses(stage.seconds) == "breaker"
    stage.assert_lawful()


def test_a_long_stream_of_small_pieces_is_none_of_crumbs() -> None:
    """Many pieces are no fault when they bring something."""
    stage = Rehearsal()
    exchange, (call,) = stage.sent()
    primary_says(exchange)
    piece = b"%x\r\n%b\r\n" % (CRUMB_BYTES, b"x" * CRUMB_BYTES)
    stage.connection_of(call).data_received(CHUNKED + piece * (MOST_CRUMBS + 1) + b"0\r\n\r\n")
    assert call.failure == ""
    assert call.size == CRUMB_BYTES * (MOST_CRUMBS + 1)
    stage.assert_lawful()
