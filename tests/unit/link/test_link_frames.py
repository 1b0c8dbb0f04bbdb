"""Frames on the link: cut out of a stream that may be split anywhere; damage is noticed, never guessed at."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.link import Frames, Kind, LinkError, frame, json_frame
from understudy.link.frames import MOST_BYTES

frames = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=60)), max_size=6)


@given(frames, st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_split_anywhere_gives_the_same_frames(
    said: list[tuple[Kind, bytes]], cuts: list[int]
) -> None:
    """Whatever the segments, each frame comes once, whole and in order."""
    stream = b"".join(frame(kind, payload) for kind, payload in said)
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = Frames()
    heard = [got for a, b in pairwise(at) for got in reader.feed(stream[a:b])]
    assert heard == said


def test_a_stream_split_at_every_byte() -> None:
    """One byte at a time."""
    said = [(Kind.HELLO, b'{"worker":"0"}'), (Kind.ACK, b""), (Kind.BATCH, bytes(range(256)))]
    reader = Frames()
    heard = [
        got for kind, payload in said for byte in frame(kind, payload) for got in reader.feed(bytes([byte]))
    ]
    assert heard == said


@pytest.mark.parametrize("size", [0, MOST_BYTES + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_before_anything_is_kept(size: int) -> None:
    """Zero, or more than a frame may have: refused on its first five bytes."""
    with pytest.raises(LinkError, match=f"a frame of {size} bytes"):
        list(Frames().feed(size.to_bytes(4, "big") + b"\x01"))


@pytest.mark.parametrize("kind", [0, 100, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    """Both sides are of one version; a kind nobody knows is damage."""
    with pytest.raises(LinkError, match=f"unknown kind {kind}"):
        list(Frames().feed(b"\x00\x00\x00\x01" + bytes([kind])))


def test_frames_before_the_damage_are_heard() -> None:
    """What came whole before it counts."""
    stream = Frames().feed(frame(Kind.ACK, b"1") + b"\x00\x00\x00\x00\x00")
    assert next(stream) == (Kind.ACK, b"1")
    with pytest.raises(LinkError):
        next(stream)


def test_half_a_frame_waits() -> None:
    """Nothing is told of a frame that is not whole."""
    whole = json_frame(Kind.METRICS, {"a": 1})
    reader = Frames()
    assert list(reader.feed(whole[:-1])) == []
    assert list(reader.feed(whole[-1:])) == [(Kind.METRICS, b'{"a":1}')]


def test_a_payload_longer_than_a_frame_may_be_is_never_sent() -> None:
    """The other side would hang up on it, for ever."""
    with pytest.raises(LinkError):
        frame(Kind.BATCH, bytes(MOST_BYTES))
