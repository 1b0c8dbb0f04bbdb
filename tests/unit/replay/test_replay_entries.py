"""`understudy.replay.entries`: every whole entry is found, wherever a file begins, ends or breaks."""

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.replay import entries as module
from understudy.replay.entries import Entries, NoHar

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def har(entries: list[Any], **log: Any) -> bytes:
    return json.dumps({"log": {"version": "1.2", **log, "entries": entries}}, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def found(raw: bytes) -> tuple[list[object], str]:
    entries = Entries(io.BytesIO(raw))
    return list(entries), entries.broken


@given(values=st.lists(JSON_VALUES, max_size=5), piece=st.integers(1, 40), log=JSON_VALUES)
@settings(max_examples=50, deadline=None)
def test_entries_are_found_whatever_the_size_of_a_read(values: list[Any], piece: int, log: Any) -> None:
    """A window of any size gives the values that a parser of the whole gives."""
    before, module.__dict__["PIECE_BYTES"] = module.PIECE_BYTES, piece
    try:
        assert found(har(values, pages=log)) == (values, "")
    finally:
        module.__dict__["PIECE_BYTES"] = before


def test_a_cut_file_gives_every_entry_that_is_whole() -> None:
    """Cut at any byte, the entries before the cut are there, and the cut is told."""
    values = [{"a": 1, "b": ["}", {"c": '\\"'}]}, {"url": "é…"}, {"n": -12.5e3, "t": True}]
    raw = har(values)
    ends = [raw.index(json.dumps(value, ensure_ascii=False).encode()) for value in values]
    ends = [
        start + len(json.dumps(v, ensure_ascii=False).encode()) for start, v in zip(ends, values, strict=True)
    ]
    begin = raw.index(b"[", raw.index(b"entries")) + 1
    for cut in range(begin, raw.rindex(b"]")):
        whole = sum(end <= cut for end in ends)
        got, broken = found(raw[:cut])
        assert got == values[:whole], cut
        assert "it ends" in broken, cut


def test_a_file_that_ends_between_two_entries_names_the_place() -> None:
    """Where the file ends, whether or not anything stands behind the last entry."""
    for raw in (b'{"log": {"entries": [{}, {}', b'{"log": {"entries": [{}, {}\n'):
        got, broken = found(raw)
        assert (got, broken) == ([{}, {}], f"it ends at character {len(raw) + 1}, where ',' should")


def test_a_broken_entry_ends_the_reading_and_names_the_place() -> None:
    """What cannot be JSON is told with its character; what stands before it counts."""
    raw = har([{"a": 1}, {"b": 2}]).replace(b'{"b": 2}', b'{"b": oops, "c": "long enough to be no cut"}')
    got, broken = found(raw)
    assert got == [{"a": 1}]
    assert broken == f"broken JSON at character {raw.index(b'oops') + 1}: Expecting value"


def test_a_nest_without_end_is_told() -> None:
    """Depth is no way to end the process."""
    got, broken = found(b'{"log": {"entries": [1, ' + b"[" * 200_000)
    assert got == [1]
    assert "nested too deeply" in broken


def test_a_number_without_end_is_a_number() -> None:
    """Python refuses to make an int of 5,000 digits; a HAR with one is read all the same."""
    got, broken = found(b'{"log": {"entries": [{"n": ' + b"9" * 5000 + b"}]}}")
    assert (len(got), broken) == (1, "")


def test_keys_may_stand_in_any_order() -> None:
    """`entries` first or last, with a byte order mark, or a trailing comma."""
    raw = b'\xef\xbb\xbf{"x": [1], "log": {"entries": [{"a": 1},], "pages": []}}'
    assert found(raw) == ([{"a": 1}], "")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is no HAR: it ends at character 1, where '{' should"),
        (b"[]", "is no HAR: '[' stands at character 1, where '{' should"),
        (b"<html>", "is no HAR: '<' stands at character 1"),
        (b'{"openapi": "3.0"}', "is no HAR: it has no 'log', and ends at character 18"),
        (b'{"log": []}', "is no HAR: '[' stands at character 9, where '{' should"),
        (b'{"log": {"version": "1.2"}}', "is no HAR: log has no 'entries'"),
        (b'{"log": {"entries": {}}}', "is no HAR: '{' stands at character 21, where '[' should"),
        (b'{"log": {"pages": [', "is no HAR: it ends inside the value at character 19"),
    ],
)
def test_what_is_no_har_is_told_with_the_place(raw: bytes, message: str) -> None:
    """The message names what stands where something else should."""
    with pytest.raises(NoHar) as refused:
        found(raw)
    assert str(refused.value).startswith(message)
