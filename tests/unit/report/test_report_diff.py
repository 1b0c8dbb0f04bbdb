"""A sample as lines of a diff."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.diff import diff_lines
from understudy.report.view import Sample


def sample(primary: Any, shadow: Any, *, primary_absent: bool = False, shadow_absent: bool = False) -> Sample:
    """A sample with those sides."""
    return Sample(
        primary=primary,
        shadow=shadow,
        primary_absent=primary_absent,
        shadow_absent=shadow_absent,
        request="",
    )


@pytest.mark.parametrize(
    ("pair", "lines"),
    [
        (sample("9.99", 9.99), ('- "9.99"', "+ 9.99")),
        (sample(None, "EUR", primary_absent=True), ("- (absent)", '+ "EUR"')),
        (sample(None, None, shadow_absent=True), ("- null", "+ (absent)")),
        (sample("one\ntwo\nthree", "one\n2\nthree"), ("  one", "- two", "+ 2", "  three")),
        (
            sample({"a": 1, "b": 2}, {"a": 1, "b": 3}),
            ("  {", '    "a": 1,', '-   "b": 2', '+   "b": 3', "  }"),
        ),
        (sample("a\n```\n\x1b", "a\nb"), ("  a", "- ```", "- \\x1b", "+ b")),
    ],
)
def test_lines_are_marked(pair: Sample, lines: tuple[str, ...]) -> None:
    """Each side once, what both have once; strings keep their quotes."""
    assert diff_lines(pair) == lines


def test_a_long_value_is_shown_around_what_differs() -> None:
    """Not its first screen."""
    lines = diff_lines(sample("x " * 5000 + "old" + " y" * 5000, "x " * 5000 + "new" + " y" * 5000))

    assert len(lines) == 2
    assert "old" in lines[0]
    assert "new" in lines[1]
    assert all(len(line) < 400 for line in lines)


def test_many_lines_are_a_screen() -> None:
    """Both sides are seen, and what is left out is counted."""
    before = [{"a": number} for number in range(500)]
    after = [{"b": str(number)} for number in range(500)]
    lines = diff_lines(sample(before, after))

    assert len(lines) <= 45
    assert {line[0] for line in lines} >= {"-", "+"}
    assert any("more" in line for line in lines)


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_no_line_holds_more_than_a_line(primary: str, shadow: str) -> None:
    """Every line is printable and marked, so none of them ends a fence or steers a terminal."""
    for line in diff_lines(sample(primary, shadow)):
        assert line.isprintable()
        assert line[:2] in {"- ", "+ ", "  "}
