"""Text of services, made safe to look at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.report.visible import value_text, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, äöü, 日本語, שלום", "plain text, äöü, 日本語, שלום"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("a\u200bb\xa0c\ufeff", "a\\u200bb\\xa0c\\ufeff"),
        ("\x9b31m\x85\u2028", "\\x9b31m\\x85\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_spelled(text: str, shown: str) -> None:
    """Controls, direction marks, zero-width marks, odd spaces and lone surrogates; nothing else."""
    assert visible(text) == shown


@given(st.text())
def test_visible_text_is_printable_and_encodable(text: str) -> None:
    """Whatever came, what is shown has glyphs only, and can be written as UTF-8."""
    shown = visible(text)

    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("9.99", '"9.99"'),
        (9.99, "9.99"),
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (0, "0"),
        (2**70, str(2**70)),
        (["a", None], '["a",null]'),
        ({"a": "\u202e"}, '{"a":"\\u202e"}'),
        ({"a": "\ud800"}, "{'a': '\\ud800'}"),
    ],
)
def test_values_are_written_as_json(value: object, shown: str) -> None:
    """A string keeps its quotes, so that a change of type is seen."""
    assert value_text(value) == shown


def test_pretty_keeps_lines() -> None:
    """Long texts and objects are read line by line, without any other control character."""
    assert value_text("a\n\x1bb", pretty=True) == "a\n\\x1bb"
    assert value_text({"a": 1}, pretty=True) == '{\n  "a": 1\n}'


def test_a_value_too_deep_for_json_is_still_shown() -> None:
    """Nesting that the JSON writer refuses is shown in another notation."""
    value: list[object] = []
    for _ in range(300):
        value = [value]

    assert value_text(value).startswith("[[[")
