"""Shell commands in lines."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.report.shell import command_lines

WORDS = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20), min_size=1)


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("curl http://h/", ("curl http://h/",)),
        (
            """curl -H 'a: b c d e f' -H "x: $KEY" 'http://h/x?a=1'""",
            ("curl -H 'a: b c d e f' \\", """-H "x: $KEY" \\""", "'http://h/x?a=1'"),
        ),
        ("curl 'not closed -H x -H y -H z -H", ("curl 'not closed -H x -H y -H z -H",)),
        ("", ()),
    ],
)
def test_a_command_breaks_between_words(command: str, lines: tuple[str, ...]) -> None:
    """Never within quotes, where the break would be part of the word."""
    assert command_lines(command, 26) == lines


@settings(max_examples=50, deadline=None)
@given(WORDS, st.integers(10, 80))
def test_the_lines_are_the_same_command(words: list[str], width: int) -> None:
    """A shell reads the same words from the lines as from the one."""
    command = shlex.join(words)

    assert shlex.split("\n".join(command_lines(command, width)).replace(" \\\n", " ")) == words
