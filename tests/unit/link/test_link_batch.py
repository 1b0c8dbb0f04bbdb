"""A batch on the wire: what was counted and what was answered, byte for byte; damage is an error."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.link import Batch, LinkError, decode_batch, encode_batch
from understudy.messages import Again, Answer, Asked, Pair

NOBODY = ["", "", "", 0, 0, 0]
"""Nothing is known of what was asked."""

latin = st.text(st.characters(max_codepoint=255), max_size=30)
field = st.tuples(
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\0", b"")),
    st.binary(max_size=20).map(lambda raw: raw.replace(b"\0", b"")),
)
answers = st.builds(
    Answer,
    status=st.integers(100, 999),
    headers=st.lists(field, max_size=5),
    body=st.binary(max_size=200),
    length_bytes=st.integers(0, 2**40),
    sha256=st.sampled_from(["", "ab" * 32]),
)
asked = st.builds(
    Asked,
    unit=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    unit_at=st.sampled_from(["", "header:x-user", "ip"]),
    primary=latin,
    lines=st.binary(max_size=60),
    body=st.binary(max_size=60),
    body_bytes=st.integers(0, 2**40),
)
again = st.builds(Again, primary=answers, shadow=answers, control=st.none() | answers)
pairs = st.builds(
    Pair,
    service=latin,
    endpoint=latin,
    flag=latin,
    method=st.sampled_from(["GET", "POST"]),
    path=latin,
    query=latin,
    at=st.floats(0, 4e9),
    primary=answers,
    shadow=answers,
    control=st.none() | answers,
    asked=asked,
    again=st.none() | again,
    unconfirmed=st.sampled_from(["", "timeout"]),
)
counts = st.dictionaries(
    st.lists(latin, min_size=1, max_size=5).map(tuple), st.integers(0, 2**53), max_size=6
)
batches = st.builds(Batch, sequence=st.integers(1, 2**53), counts=counts, pairs=st.lists(pairs, max_size=4))


@given(batches)
def test_a_batch_comes_as_it_went(batch: Batch) -> None:
    """Every byte of fields and bodies, every count, every number."""
    assert decode_batch(encode_batch(batch)) == batch


@given(batches, st.data())
def test_a_batch_that_is_cut_short_is_damaged(batch: Batch, data: st.DataObject) -> None:
    """At whatever byte: never a shorter batch that looks whole."""
    payload = encode_batch(batch)
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(LinkError):
        decode_batch(payload[:cut])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x00\x00\x00\x02{}",
        b"\x00\x00\x00\x04null",
        b"\xff\xff\xff\xff",
        (2).to_bytes(4, "big") + b"[]",
        (10).to_bytes(4, "big") + b"[1,[[]],0]",
        (13).to_bytes(4, "big") + b"[1,[[[],1]],1]",
        (13).to_bytes(4, "big") + b"[1,[],[[1,2]]]",
    ],
)
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    """LinkError, whatever is wrong: the connection is closed, the process goes on."""
    with pytest.raises(LinkError):
        decode_batch(payload)


@pytest.mark.parametrize("sizes", [[-1, 5], [5, -1], [10**9, 0], [0, 10**30]])
def test_sizes_that_cannot_be_are_refused(sizes: list[int]) -> None:
    """Negative ones would read the same bytes twice."""
    meta = [200, *sizes, 0, ""]
    row = ["s", "e", "f", "GET", "/", "", 0.0, [meta, meta, None], NOBODY, None, ""]
    head = orjson.dumps([1, [], [row]]) if max(sizes) < 2**63 else repr([1, [], [row]]).encode()
    with pytest.raises(LinkError):
        decode_batch(len(head).to_bytes(4, "big") + head + b"x" * 20)


WHOLE = [200, 0, 0, 0, ""]


def test_a_pair_with_both_answers_is_read() -> None:
    """What the next test takes away is what was missing."""
    row = ["s", "e", "f", "GET", "/", "", 0.0, [WHOLE, WHOLE, None], NOBODY, [WHOLE, WHOLE, None], ""]
    head = orjson.dumps([1, [], [row]])
    assert len(decode_batch(len(head).to_bytes(4, "big") + head).pairs) == 1


@pytest.mark.parametrize(
    ("answers", "again"),
    [([None, WHOLE, None], None), ([WHOLE, None, None], None), ([WHOLE, WHOLE, None], [WHOLE, None, WHOLE])],
)
def test_a_pair_needs_both_answers(answers: list[object], again: object) -> None:
    """There is nothing to compare otherwise, the second time either."""
    row = ["s", "e", "f", "GET", "/", "", 0.0, answers, NOBODY, again, ""]
    head = orjson.dumps([1, [], [row]])
    with pytest.raises(LinkError):
        decode_batch(len(head).to_bytes(4, "big") + head)
