"""Text that came from a service, made safe to look at.

Answers are hostile input to a terminal and to a reader: an escape sequence could repaint the screen,
a right-to-left override could swap what is seen. What cannot be seen is spelled out instead.
"""

from collections.abc import Mapping
from typing import Any

import orjson

Json = Any
"""Any value that JSON has."""


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


def value_text(value: Json, *, pretty: bool = False) -> str:
    """Return *value* as one would write it: strings in quotes, so that ``"9"`` and ``9`` stay apart.

    With *pretty*, objects and arrays are indented and the line ends of long texts stay line ends.
    """
    if isinstance(value, str):
        if pretty and "\n" in value:
            return visible(value, keep="\n")
        return f'"{visible(value)}"'
    if isinstance(value, Mapping | list | tuple):
        return visible(_json(value, pretty=pretty), keep="\n" if pretty else "")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return visible(str(value))


def _json(value: Json, *, pretty: bool) -> str:
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if pretty else 0)
    try:
        return orjson.dumps(value, default=str, option=options).decode()
    except TypeError:  # deeper than 254 levels, an integer over 64 bits, a lone surrogate
        return repr(value)
