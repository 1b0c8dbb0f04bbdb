"""Text that came from a service, made safe to look at.

Answers are hostile input to a terminal and to a reader: an escape sequence could repaint the screen,
a right-to-left override could swap what is seen. What cannot be seen is spelled out instead.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

Json = Any
"""Any value that JSON has."""

MOST_CHARACTERS = 100_000
"""What is read of one value: what is beyond could not be looked at, and would cost seconds to prepare."""


def visible(text: str, *, keep: str = "") -> str:
    """Return *text* with every character that has no glyph spelled as ``\\xhh``, ``\\uhhhh`` or ``\\n``.

    That covers C0 and C1 controls, DEL, bidirectional and zero-width marks, unusual spaces, line
    separators, private use and lone surrogates. Characters in *keep* pass.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _spell(char) for char in text)


def _spell(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def clip(text: str, most: int) -> str:
    """*text* made visible, at most *most* characters of it; an ellipsis stands for the rest."""
    shown = visible(text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def value_text(value: Json, *, pretty: bool = False) -> str:
    """Return *value* as one would write it: strings in quotes, so that ``"9"`` and ``9`` stay apart.

    With *pretty*, objects and arrays are indented and the line ends of long texts stay line ends.
    Never raises; what lies beyond `MOST_CHARACTERS` is counted.
    """
    keep = "\n" if pretty else ""
    if isinstance(value, str):
        if pretty and "\n" in value:
            return _cut(value, keep)
        return f'"{_cut(value, "")}"'
    if isinstance(value, Mapping | list | tuple):
        return _cut(_json(value, pretty=pretty), keep)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _cut(_written(str, value), "")


def _cut(text: str, keep: str) -> str:
    beyond = len(text) - MOST_CHARACTERS
    return visible(text[:MOST_CHARACTERS], keep=keep) + (f"… {beyond:,} more …" if beyond > 0 else "")


def _json(value: Json, *, pretty: bool) -> str:
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if pretty else 0)
    try:
        return orjson.dumps(value, default=str, option=options).decode()
    except (TypeError, RecursionError):  # over 254 levels, an integer over 64 bits, a lone surrogate
        return _written(repr, value)


def _written(write: Callable[[Json], str], value: Json) -> str:
    try:
        return write(value)
    except RecursionError:
        return "(nested too deep to be shown)"
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "(a number of thousands of digits)"
