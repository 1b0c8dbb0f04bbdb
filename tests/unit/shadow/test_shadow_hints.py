"""What RE2 tells of a text before it is looked through: nothing that is hidden is missed by it."""

import re
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.shadow import Redaction
from understudy.shadow.hints import DIGIT, SPACE, hint, in_any_case
from understudy.shadow.redaction import _CUT

HIDE = Redaction(key=b"k" * 32).of_unit("ann", "header:x-user").of_unit("unit-7", "cookie:uid")
EVERY = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))

ODD_LETTERS = ("\u017fecret", "to\u212aen", "p\u0131n", "P\u0130N", "\u0664\u0661\u0661", "\ud800")
"""A long s, the sign of kelvin, Turkish i, Arabic digits, half of a pair."""

PIECES = (
    *ODD_LETTERS,
    *(
        "password",
        "sid",
        "signatures",
        "api_key",
        "SESSION-ID",
        "basic",
        "Bearer",
        "name=",
        'name="',
        "x",
        "@",
    ),
    *("=", ":", " : ", "\\", '"', "'", " ", "\n", "\x1d", "\x85", "\u3000", "…", "<", ">", "</", "%40"),
    *("4111111111111111", "4111 1111", "eyJ", "abcdef.", "sk_", "ghp_", "AKIA", "xoxb-", "A1b2C3d4E5f6G7h8"),
    *("ann@shop.example", "unit-7", "unit%2D7", "<input name=pin value=7>", "<pin>7</pin>"),
)


def shown_by_all(text: str) -> str:
    """*text* as it is shown when each detector looks through all of it."""
    for pattern, mask, _ in (*HIDE._units, *HIDE._detectors):
        text = pattern.sub(mask, text)
    return _CUT.sub("…", text) if text.endswith("…") else text


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=12).map("".join))
def test_nothing_is_missed(text: str) -> None:
    """Whatever stands together: what a detector would find, it is let look for."""
    for pattern, _, may_hold in (*HIDE._units, *HIDE._detectors):
        assert may_hold(text) or pattern.search(text) is None
    assert HIDE.text(text) == shown_by_all(text)


@given(
    st.lists(
        st.sampled_from(("a" * 60, "12345678" * 9, "1", "b", "-", " ", "=", ".", "…", "\u0661")), max_size=9
    )
)
def test_before_a_cut_no_half_is_left(pieces: list[str]) -> None:
    """However long the last word, or the row of digits, is."""
    text = "".join([*pieces, "…"])
    assert HIDE.text(text) == shown_by_all(text)


@pytest.mark.parametrize("letter", string.ascii_lowercase)
def test_letters_are_those_that_python_takes_for_one(letter: str) -> None:
    """The long s, the sign of kelvin, and Turkish i with and without its dot."""
    may_hold = hint(in_any_case(letter))
    for found in set(re.findall(f"(?i){letter}", EVERY)):
        assert may_hold(found)


@pytest.mark.parametrize(("kind", "hinted"), [(r"\s", SPACE), (r"\d", DIGIT)])
def test_spaces_and_digits_are_all_that_python_knows(kind: str, hinted: str) -> None:
    """Those of other scripts, too."""
    one_by_one = set(re.findall(kind, EVERY))
    assert len(one_by_one) > 20
    assert all(map(hint(hinted), one_by_one))


def test_half_a_unit_is_hidden_where_nothing_else_is_looked_for() -> None:
    """Of a cut text that ends within it."""
    hide = Redaction(key=b"k" * 32, detectors=())
    assert hide.text("of unit-7…") == "of unit-7…"
    assert hide.of_unit("unit-789", "cookie:uid").text("of unit-7…") == "of …"


def test_a_unit_is_hidden_as_a_number_where_nothing_else_is_looked_for() -> None:
    """Wherever it stands in a tree; other numbers stay numbers."""
    hide = Redaction(key=b"k" * 32, detectors=()).of_unit("4711", "cookie:uid")
    shown = hide.value("/body", {"id": 4711, "ids": [4711, 4712], "n": 1})
    assert "4711" not in str(shown)
    assert hide.value("/body/n", 4712) == 4712


def test_the_unit_that_was_named_last_is_looked_for_first() -> None:
    """One that begins with another is hidden whole."""
    hide = (
        Redaction(key=b"k" * 32, detectors=())
        .of_unit("anna", "cookie:uid")
        .of_unit("anna@x.de", "cookie:uid")
    )
    assert "x.de" not in hide.text("anna@x.de")


def test_a_text_without_any_is_not_looked_through() -> None:
    """Nor is one that is no UTF-8 passed by."""
    text = "the quick brown fox jumps over the lazy dog. " * 50
    assert not any(may_hold(text) for _, _, may_hold in (*HIDE._units, *HIDE._detectors))
    assert hint("a")("\ud800")
