"""`understudy.link.taken`: recorded requests survive the wire; damage is told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.link import LinkError, Reel, decode_reel, encode_reel
from understudy.messages import Answer, Taken

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
FIELDS = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=5).filter(lambda b: b"\0" not in b),
        st.binary(max_size=5).filter(lambda b: b"\0" not in b),
    ),
    max_size=3,
)
TAKEN = st.builds(
    Taken,
    method=TEXT,
    host=TEXT,
    path=TEXT,
    query=TEXT,
    at=st.floats(0, 1e10),
    seconds=st.floats(0, 1e3),
    unit=TEXT,
    unit_at=TEXT,
    headers=FIELDS,
    body=st.binary(max_size=20),
    body_bytes=st.integers(0, 2**40),
    answer=st.builds(
        Answer,
        status=st.integers(100, 599),
        headers=FIELDS,
        body=st.binary(max_size=20),
        length_bytes=st.integers(0, 2**40),
        sha256=st.just(""),
    ),
)


@given(taken=st.lists(TAKEN, max_size=3), missed=st.dictionaries(TEXT, st.integers(0, 9), max_size=2))
@settings(max_examples=50, deadline=None)
def test_a_reel_comes_as_it_went(taken: list[Taken], missed: dict[str, int]) -> None:
    """Whatever bytes stand in fields and bodies."""
    reel = Reel(number=2, passed=5, missed=missed, taken=taken)
    assert decode_reel(encode_reel(reel)) == reel


@given(cut=st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_a_damaged_reel_is_refused(cut: int) -> None:
    """Cut anywhere, it is no reel."""
    answer = Answer(status=200, headers=[(b"a", b"b")], body=b"xyz", length_bytes=3)
    one = Taken("GET", "h", "/", "", 0.0, 0.0, "", "", [(b"c", b"d")], b"body", 4, answer)
    whole = encode_reel(Reel(number=1, passed=1, missed={}, taken=[one]))
    with pytest.raises(LinkError, match="a damaged reel"):
        decode_reel(whole[: min(cut, len(whole) - 1)])
