"""However a client's bytes are cut into reads, the same is answered and the same goes on.

In process, on transports that record: the client connection, the exchange, the pool and the upstream
connection are the real ones.
"""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from proxy_scene import Scene

HOST = b"Host: a.example\r\n"
PIECES = [
    b"GET /1?q HTTP/1.1\r\n" + HOST + b"X-A: 1\r\nX-Empty:\r\n\r\n",
    b"GET /2 HTTP/1.1\r\n" + HOST + b"X-A: 1\r\nX-Empty:\r\n\r\n",
    b"POST /3 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST /4 HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    b"PUT /6 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"GET /7 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n" + HOST + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD http://b.example/8 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\r\n",
]
ENDINGS = [
    b"",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /" + b"x" * 310 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 1024 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 20 + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n",
    b"nonsense\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
]


def play(data: bytes, cuts: list[int]) -> tuple[bytes, str, bytes, str]:
    """What both sides saw of *data*, cut at *cuts*."""
    scene = Scene()
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        if start < end and not scene.transport.ending:
            scene.feed(data[start:end])
    return scene.outcome


CHUNKED = b"PUT /%d HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b'5;x="y;"\r\nhello\r\n00a;z\r\n0123456789\r\n0;w\r\nX-Trailer: 1\r\nTE: x\r\n\r\n'


def without_coding(written: bytes) -> bytes:
    """Chunked bodies in *written* as plain ones: how a body is cut into chunks says nothing."""
    plain = b""
    while b"chunked\r\n\r\n" in written:
        head, mark, written = written.partition(b"chunked\r\n\r\n")
        plain += head + mark
        while written and (size := int(written.partition(b"\r\n")[0], 16)):
            at = written.index(b"\r\n") + 2
            plain += written[at : at + size]
            assert written[at + size : at + size + 2] == b"\r\n"
            written = written[at + size + 2 :]
        assert written.startswith(b"0\r\n\r\n")
        written = written[5:]
    return plain + written


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(1, 3), st.sampled_from(PIECES))
def test_cuts_in_chunked_bodies_change_nothing(data: st.DataObject, count: int, last: bytes) -> None:
    """The same bodies arrive, without extensions and trailers."""
    wire = b"".join(CHUNKED % n + CHUNKS for n in range(count)) + last
    whole, _, service, _ = play(wire, [])
    assert without_coding(service).count(b"hello0123456789") == count
    assert b"railer" not in service
    for cuts in (list(range(len(wire))), data.draw(st.lists(st.integers(0, len(wire)), max_size=8))):
        answers, _, seen, _ = play(wire, cuts)
        assert (answers, without_coding(seen)) == (whole, without_coding(service))


OK = b"HTTP/1.1 200 OK\r\n"
GOOD = [
    OK + b"Content-Length: 5\r\nX-A: 1\r\nX-Empty:\r\n\r\nhello",
    b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
    OK + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
]
BAD = [
    OK + b"Content-Length: 5\r\n\r\nhelloX",
    OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n",
    OK + b"Content-Length : 5\r\n\r\nhello",
    OK + b"X: 1\r\n 2\r\nContent-Length: 5\r\n\r\nhello",
    OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    b"HTTP/1.1 101 Up\r\n\r\n" + OK,
    b"HTTP/1.1 700 Odd\r\nContent-Length: 5\r\n\r\nhello",
]


def answered(reply: bytes, cuts: list[int]) -> Scene:
    """One GET, answered with *reply* cut at *cuts*; then one more GET."""
    scene = Scene(answers=False)
    scene.feed(PIECES[0])
    edges = [0, *sorted(cuts), len(reply)]
    for start, end in pairwise(edges):
        if start < end and not scene.service.ending:
            scene.upstream.data_received(reply[start:end])
            scene.loop.run()
    return scene


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(GOOD))
def test_cuts_in_an_answer_change_nothing(data: st.DataObject, reply: bytes) -> None:
    """The client gets the same, and the upstream connection is kept."""
    whole = answered(reply, [])
    for cuts in (list(range(len(reply))), data.draw(st.lists(st.integers(0, len(reply)), max_size=8))):
        cut = answered(reply, cuts)
        assert without_coding(cut.outcome[0]) == without_coding(whole.outcome[0])
        assert (cut.transport.ending, cut.service.ending) == ("", "")
        assert repr(cut.pool).endswith("open=1 idle=1 opening=0 waiting=0>")


@settings(deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(BAD))
def test_however_a_bad_answer_is_cut_it_ends_its_connection(data: st.DataObject, reply: bytes) -> None:
    """No later request meets what was left on it."""
    cut = answered(reply, data.draw(st.lists(st.integers(0, len(reply)), max_size=8)))
    assert cut.service.ending == "abort"
    assert not cut.upstream.keep
    assert repr(cut.pool).endswith("open=1 idle=0 opening=0 waiting=0>") or cut.pool._idle == [cut.upstream]


@settings(deadline=None, max_examples=150)
@given(st.data(), st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from(ENDINGS))
def test_cuts_change_nothing(data: st.DataObject, pieces: list[bytes], ending: bytes) -> None:
    """Any requests, any cuts: one read, one byte a read, or anything between."""
    wire = b"".join(pieces) + ending
    if not wire:
        return
    whole = play(wire, [])
    assert play(wire, list(range(len(wire)))) == whole
    assert play(wire, data.draw(st.lists(st.integers(0, len(wire)), max_size=8))) == whole


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(PIECES[:8]), st.binary(min_size=1, max_size=3))
def test_damage_is_judged_alike_and_reaches_nobody_else(
    data: st.DataObject, piece: bytes, damage: bytes
) -> None:
    """A request with bytes overwritten anywhere: never an exception, the same verdict however it is cut."""
    at = data.draw(st.integers(0, len(piece) - 1))
    wire = piece[:at] + damage + piece[at + len(damage) :] + PIECES[0]
    whole = play(wire, [])
    assert play(wire, data.draw(st.lists(st.integers(0, len(wire)), max_size=8))) == whole
    assert whole[0].startswith(b"HTTP/1.1 ") or not whole[1]
