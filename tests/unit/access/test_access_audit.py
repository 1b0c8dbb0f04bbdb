"""The audit chain: whatever is done to it afterwards is seen."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import Deed, Entry, Head, chain, flaws, read_entry, read_head


def chained(count: int) -> list[Entry]:
    """A chain of *count* entries."""
    entries: list[Entry] = []
    head = Head()
    for number in range(count):
        deed = Deed(at=number * 1.5, who="ann", origin="10.0.0.1", action="flag.kill", after=number)
        entries.append(chain(head, deed))
        head = head_of(entries)
    return entries


def head_of(entries: list[Entry]) -> Head:
    """The head of a whole chain."""
    return Head(number=entries[-1].number, hash=entries[-1].hash)


def forged(entry: Entry, who: str, previous: str | None = None) -> Entry:
    """*entry* as somebody writes it who knows how the hash is taken."""
    before = Head(number=entry.number - 1, hash=entry.previous if previous is None else previous)
    return chain(before, replace(entry.deed, who=who))


def test_a_chain_as_it_was_written_has_no_flaw() -> None:
    """With any of its heads, the empty one included."""
    entries = chained(4)
    heads = [Head(), Head(number=2, hash=entries[1].hash), head_of(entries)]

    assert list(flaws(entries, heads)) == []
    assert list(flaws([], [Head()])) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", 9.0),
        ("who", "bob"),
        ("origin", "10.0.0.2"),
        ("action", "flag.revive"),
        ("target", "shop"),
        ("reason", "because"),
        ("before", 7),
        ("after", 7),
    ],
)
def test_an_altered_entry_is_found(field: str, value: object) -> None:
    """Whichever field it is."""
    entries = chained(4)
    changed = {**entries[1].plain(), field: value}
    entries[1] = read_entry(changed)

    assert list(flaws(entries)) == ["entry 2 is not as it was written: altered"]


def test_an_altered_entry_with_a_right_hash_is_found_at_the_next() -> None:
    """The one after it holds the hash of what was there."""
    entries = chained(4)
    entries[1] = forged(entries[1], "bob")

    assert list(flaws(entries)) == ["entry 3 does not follow entry 2: inserted, or that one changed"]


def test_a_deleted_entry_is_found() -> None:
    """By the gap in the numbers, at the beginning too."""
    entries = chained(5)

    assert list(flaws(entries[:1] + entries[3:])) == ["entries 2 to 3 are missing: deleted"]
    assert list(flaws(entries[1:])) == ["entry 1 is missing: deleted"]


def test_an_inserted_entry_is_found() -> None:
    """It has a number that another entry has, too."""
    entries = chained(3)
    entries.insert(2, forged(entries[1], "bob", entries[1].hash))

    assert "entry 2 stands after entry 2: reordered, or inserted" in list(flaws(entries))


def test_reordered_entries_are_found() -> None:
    """Numbers only ever grow."""
    entries = chained(3)

    found = list(flaws([entries[0], entries[2], entries[1]]))

    assert "entry 2 stands after entry 3: reordered, or inserted" in found


def test_truncation_needs_a_head_that_was_kept_apart() -> None:
    """What is left is a whole chain: only the head knows that there was more."""
    entries = chained(5)

    assert list(flaws(entries[:3])) == []
    assert list(flaws(entries[:3], [head_of(entries)])) == [
        "entries 4 to 5 are missing at the end: truncated"
    ]
    assert list(flaws([], [head_of(entries)])) == ["entries 1 to 5 are missing at the end: truncated"]


def test_a_chain_written_anew_needs_a_head_too() -> None:
    """Somebody who may write everything may write another chain, but not with the head that was kept."""
    entries = chained(3)
    anew = [chain(Head(), replace(entries[0].deed, who="bob"))]
    for entry in entries[1:]:
        anew.append(chain(head_of(anew), entry.deed))

    assert list(flaws(anew)) == []
    assert list(flaws(anew, [head_of(entries)])) == [
        "entry 3 is another one than the head that was kept: the chain was rewritten"
    ]


@settings(max_examples=50)
@given(st.permutations(range(6)), st.integers(0, 6))
def test_no_other_order_and_no_part_passes_with_the_head(order: list[int], length: int) -> None:
    """Of all the ways to keep some of the entries in some order, one is right."""
    entries = chained(6)
    left = [entries[place] for place in order][:length]

    assert (list(flaws(left, [head_of(entries)])) == []) is (left == entries)


@given(
    st.builds(
        Deed,
        at=st.floats(0, 1e12),
        who=st.text(max_size=9),
        origin=st.text(max_size=9),
        action=st.text(max_size=9),
        target=st.text(max_size=9),
        before=st.integers(0, 2**31),
    )
)
@settings(max_examples=50)
def test_an_entry_reads_back_as_it_was_written(deed: Deed) -> None:
    """So that an export can be verified."""
    entry = chain(Head(), deed)

    assert read_entry(entry.plain()) == entry
    assert list(flaws([read_entry(entry.plain())])) == []


@pytest.mark.parametrize("plain", [None, [], {}, {"number": 1}])
def test_what_is_no_entry_is_refused(plain: object) -> None:
    """With the keys that one has."""
    with pytest.raises(ValueError, match="one has number, at, who"):
        read_entry(plain)


@pytest.mark.parametrize(("key", "value"), [("number", "1"), ("number", True), ("at", "now"), ("who", None)])
def test_an_entry_of_other_types_is_refused(key: str, value: object) -> None:
    """By the name of the key."""
    with pytest.raises(ValueError, match=key):
        read_entry({**chained(1)[0].plain(), key: value})


@pytest.mark.parametrize("text", ["", "7", "7:", "7:abc", "x:" + "a" * 64, "-1:" + "a" * 64, "0:" + "a" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    """A head with an error would never be found."""
    with pytest.raises(ValueError, match="no head of an audit"):
        read_head(text)


def test_a_head_reads_back() -> None:
    """Also that of an empty chain."""
    head = head_of(chained(2))

    assert read_head(str(head)) == head
    assert read_head(str(Head())) == Head()
