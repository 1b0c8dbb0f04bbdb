"""Patterns of compare rules mean what Python means by them, and take linear time."""

import re
import sys
from itertools import pairwise
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.comparators.dialect import UnfitPattern
from understudy.comparators.expression import LONGEST, SHORTEST, compiled
from understudy.comparators.forms import ANYTHING, FORMS
from understudy.comparators.rules import parse_compare_rules

WRITTEN = [pattern for _, pattern in FORMS] + [ANYTHING, "[0-9a-f]{12}", "[A-Za-z0-9_=.~+/-]+"]
"""What suggestions write."""

PIECES = [
    *(
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        ".",
        "(?s:.)",
        "a",
        "é",
        "[a-cé-ü]",
        "[^a1]",
        r"[^\w-]",
        r"[^\W\d]",
    ),
    *(
        r"[\D_]",
        r"[\S ]",
        r"\n",
        "(?i:É)",
        "(?i:[a-c])",
        "(?i:[^a])",
        r"(?a:\w)",
        r"(?a:\W)",
        r"(?a:\s)",
        "(ab|a)",
    ),
    *(r"\x41", r"\u0660", "(?m:^)", "(?m:$)", "^", r"\A", "", "-", "[]]", r"[\]\\]", "{", "[^-]"),
]
TEXTS = st.text(st.sampled_from("abcABC1_ -\n\t\x1c\x85\xa0éÉüß\u0660Ωö中²½]\\{\U0001f600"), max_size=8)


def patterns() -> st.SearchStrategy[str]:
    """Patterns without what only backtracking can do, nor what could make `re` slow in eight characters."""
    piece = st.tuples(st.sampled_from(PIECES), st.sampled_from(["", "", "?", "*", "+", "{2}", "{0,3}", "+?"]))
    parts = piece.map(lambda both: f"(?:{both[0]}){both[1]}")
    sequences = st.lists(parts, max_size=4).map("".join)
    return st.lists(sequences, min_size=1, max_size=2).map("|".join)


@settings(max_examples=50, deadline=None)
@given(patterns(), st.lists(TEXTS, min_size=8, max_size=8))
def test_a_pattern_matches_what_python_matches(pattern: str, texts: list[str]) -> None:
    """Classes are Unicode's, case folds, a dot is no line feed: whatever the text."""
    expression, python = compiled(pattern), re.compile(pattern)
    for text in texts:
        assert expression.matches(text) == (python.fullmatch(text) is not None), (pattern, text)


@pytest.mark.parametrize("name", [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"(?a)\w", r"(?a)\S", r"[^\W\d]"])
def test_a_class_has_the_same_characters(name: str) -> None:
    """All of Unicode; but for what one of the two knows no name of yet."""
    expression, python = compiled(name), re.compile(name)
    for code in [*range(0x3000), *range(0x3000, sys.maxunicode, 97)]:
        text = chr(code)
        if not 0xD800 <= code < 0xE000 and text.isprintable() | (code < 0x100):
            assert expression.matches(text) == (python.fullmatch(text) is not None), hex(code)


@pytest.mark.parametrize("pattern", WRITTEN)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_what_suggestions_write_keeps_its_meaning(pattern: str, data: st.DataObject) -> None:
    """Texts that match, and those texts with a character changed."""
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    assert compiled(pattern).matches(text)
    changed = data.draw(st.sampled_from(["", "x", "\n", "é", "\u0660"])).join((text[:3], text[4:]))
    assert compiled(pattern).matches(changed) == (re.fullmatch(pattern, changed) is not None)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a|aa)+b", "a"),
        ("(a?b?)*c", "ab"),
        (r"(?:\w{1,2})+!", "a"),
        (r"(?:\w{1,2})+!", "é"),
        ("(?:a?){30}a{30}", "ab"),
        (r"\w*\d*\w*\d*!", "1"),
        (r"(\w+\s?)*", "a!"),
        (r"((\s*\w+)*)x", "a"),
        ("(.*a.{200}){3}", "ba"),
        ("(((((a+)+)+)+)+)+b", "a"),
        (r"(?s).*\w.{400}", "aé!"),
    ],
)
def test_no_text_makes_a_pattern_slow(pattern: str, text: str) -> None:
    """`re` would take for ever, or minutes."""
    expression = compiled(pattern)
    texts = [(text * LONGEST)[:length] for length in (29, SHORTEST, expression.plain_longest)]
    began = process_time()
    for one in texts:
        expression.matches(one)
    assert process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?!null).*", "looks ahead or behind"),
        ("(?=a)a", "looks ahead or behind"),
        ("(?<=a)b", "looks ahead or behind"),
        ("(?<!a)b", "looks ahead or behind"),
        (r"(a)\1", "refers back"),
        (r"(?P<x>a)(?P=x)", "refers back"),
        ("(<)?a(?(1)>)", "whether a group matched"),
        ("(?>a+)b", "gives nothing back"),
        ("a++b", "gives nothing back"),
        ("a{100000000}", "repeats"),
        ("((((a{900}){900}){900}){900})", "repeats"),
        ("((((a{1,3000}){3000}){3000}){3000})", "repeats"),
        (r"\w{15000}", "repeats"),
    ],
)
def test_what_takes_more_than_linear_time_is_refused(pattern: str, message: str) -> None:
    """With its place, and what to write instead."""
    with pytest.raises(UnfitPattern, match=message):
        compiled(pattern)
    parsed, (problem,) = parse_compare_rules([{"endpoint": "*", "matching": {"/a": pattern}}])
    assert (parsed, problem.path) == ((), "[0].matching[/a]")
    assert message in problem.message
    assert problem.hint


def test_a_repeat_may_come_more_often_than_re2_counts() -> None:
    """Counts are exact, at the seams too."""
    bounded, least = compiled("a{1500,2600}"), compiled("a{2100,}")
    lengths = (1499, 1500, 1999, 2000, 2001, 2099, 2100, 2600, 2601)
    assert [n for n in lengths if bounded.matches("a" * n)] == [1500, 1999, 2000, 2001, 2099, 2100, 2600]
    assert [n for n in lengths if least.matches("a" * n)] == [2100, 2600, 2601]


def test_half_a_pair_is_one_character() -> None:
    """JSON can spell what UTF-8 cannot."""
    assert compiled("a.b").matches("a\ud800b")
    assert not compiled("a..b").matches("a\ud800b")


def test_a_pattern_is_compiled_once() -> None:
    """Rules are read anew with each reload; the endpoints of a rule share what it says."""
    assert all(a is b for a, b in pairwise(compiled("[a-z]{3}") for _ in range(3)))


def test_the_length_of_a_text_depends_on_the_size_of_the_pattern() -> None:
    """Few instructions, long texts."""
    assert compiled(".*a.*b").plain_longest == compiled(".*a.*b").full_longest == LONGEST
    assert SHORTEST <= compiled("(?:.{0,90}a){40}").plain_longest < LONGEST
