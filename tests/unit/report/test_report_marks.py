"""Which part of two texts differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.marks import Side, mark


def written(side: Side) -> str:
    """A side as one line: changed parts in angle brackets, gaps in braces."""
    frames = {"same": "{}", "changed": "<{}>", "gap": "{{{}}}"}
    return "".join(frames[span.kind].format(span.text) for span in side)


@pytest.mark.parametrize(
    ("primary", "shadow", "left", "right"),
    [
        ("same", "same", "same", "same"),
        ("200", "500", "<200>", "<500>"),
        ('"9.99"', '"8.99"', '"<9>.99"', '"<8>.99"'),
        ('"EUR"', "null", '<"EUR">', "<null>"),
        ("", "new", "", "<new>"),
        ("the old fox runs", "the new fox runs", "the <old> fox runs", "the <new> fox runs"),
        ("a\nb b\nc\n", "a\nb d\nc\n", "a\nb <b>\nc\n", "a\nb <d>\nc\n"),
        ("a\nb\nc", "a\nc", "a\n<b\n>c", "a\nc"),
    ],
)
def test_the_differing_part_is_marked(primary: str, shadow: str, left: str, right: str) -> None:
    """Words are marked whole, lines that stand on one side only too."""
    sides = mark(primary, shadow)

    assert (written(sides[0]), written(sides[1])) == (left, right)


def test_long_equal_stretches_are_shortened() -> None:
    """A difference in the middle of 10 kB stands between a little of its surroundings."""
    left, right = mark("x" * 5000 + "42" + "x" * 5000, "x" * 5000 + "43" + "x" * 5000, context=3)

    assert written(left) == "{… 4,998 more …}xx4<2>xxx{… 4,997 more …}"
    assert written(right) == "{… 4,998 more …}xx4<3>xxx{… 4,997 more …}"


def test_long_changes_are_cut() -> None:
    """Two long texts with nothing in common show their beginnings."""
    left, right = mark("a" * 5000, "b" * 3000, most=10)

    assert written(left) == "<aaaaaaaaaa>{… 4,990 more …}"
    assert written(right) == "<bbbbbbbbbb>{… 2,990 more …}"


def test_a_long_equal_text_is_cut() -> None:
    """Equal texts (as values of two types may be written) stay within bounds as well."""
    left, _ = mark("a" * 5000, "a" * 5000, most=10)

    assert written(left) == "aaaaaaaaaa{… 4,990 more …}"


@given(st.text(max_size=300), st.text(max_size=300))
def test_nothing_is_lost_or_invented(primary: str, shadow: str) -> None:
    """Without shortening, the spans of a side are its text, and the same parts are the same."""
    left, right = mark(primary, shadow, context=1000, most=1000)

    assert "".join(span.text for span in left) == primary
    assert "".join(span.text for span in right) == shadow
    same_left = "".join(span.text for span in left if span.kind == "same")
    assert same_left == "".join(span.text for span in right if span.kind == "same")


@given(st.text(alphabet="ab \n", max_size=400), st.text(alphabet="ab \n", max_size=400))
def test_what_is_shown_is_bounded(primary: str, shadow: str) -> None:
    """However long the texts, a side shows no more than its bounds allow."""
    for side in mark(primary, shadow, context=5, most=20):
        assert all(len(span.text) <= 20 for span in side)
