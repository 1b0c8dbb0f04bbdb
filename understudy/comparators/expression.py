"""Patterns of values that a hostile text cannot make slow: what is refused, and how long a text may be."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

_parser: Final[Any] = import_module(
    "re._parser"
)  # `sre_parse` is the same module by a name that is deprecated

REPEATS: Final = ("MAX_REPEAT", "MIN_REPEAT")
UNBOUNDED: Final = 16
"""A repeat that may come so often counts as one without end."""

LONGEST: Final = {0: 64 * 1024, 1: 64 * 1024, 2: 4096}
"""By how many repeats without end a pattern has: its time is the length to that power, at worst."""

SHORTEST: Final = 512


def longest_matched(pattern: str) -> int:
    """How many characters of a text *pattern* is held against; a longer one does not match."""
    return LONGEST.get(sum(1 for _ in _repeats(_parser.parse(pattern))), SHORTEST)


def is_endless(pattern: str) -> bool:
    """Whether some repeat without end repeats nothing but another: ``(a+)+``, ``(a*b?)*``.

    Each character more doubles the time that such a pattern takes on a text that does not match.
    """
    return any(_is_only_a_repeat(body) for body in _repeats(_parser.parse(pattern)))


def _repeats(items: Any) -> Iterator[Any]:
    """What is repeated without end, wherever it stands."""
    for name, value in items:
        if str(name) in REPEATS and value[1] >= UNBOUNDED:
            yield value[2]
        for part in _parts(value):
            yield from _repeats(part)


def _parts(value: Any) -> Iterator[Any]:
    """The sequences inside of one item."""
    for part in value if isinstance(value, tuple | list) else ():
        if isinstance(part, _parser.SubPattern):
            yield part
        else:
            yield from _parts(part)


def _is_only_a_repeat(items: Any) -> bool:
    """Whether *items* are one repeat without end, and for the rest may be nothing."""
    held = [(str(name), value) for name, value in items]
    endless = [_is_repeat(name, value) for name, value in held]
    return any(endless) and all(
        is_repeat or name == "AT" or (name in REPEATS and value[0] == 0)
        for (name, value), is_repeat in zip(held, endless, strict=True)
    )


def _is_repeat(name: str, value: Any) -> bool:
    if name == "SUBPATTERN":
        return _is_only_a_repeat(value[3])
    if name == "BRANCH":
        return any(map(_is_only_a_repeat, value[1]))
    return name in REPEATS and value[1] >= UNBOUNDED


def compiled(pattern: str) -> tuple[re.Pattern[str], int]:
    """*pattern*, and how long a text it is held against."""
    return re.compile(pattern), longest_matched(pattern)
