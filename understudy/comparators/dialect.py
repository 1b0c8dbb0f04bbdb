"""A pattern as Python reads it, written as RE2 reads it: the same texts match, in linear time.

RE2 (https://github.com/google/re2/wiki/Syntax) means ASCII by ``\\d``, ``\\w`` and ``\\s``, Python
means Unicode, and ``$`` is not the same; so Python's own parser reads, and every item is written out.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

_parser: Final[Any] = import_module("re._parser")  # `sre_parse` is deprecated
_LAST: Final = 0x10FFFF
_MOST_AT_ONCE: Final = 1000
"""RE2 counts no further in one repeat; more is written as several."""

_MOST_WRITTEN: Final = 1 << 20
"""Characters times the number of times: what a pattern of this size says is more than RE2 takes."""

_ASCII: Final = {
    "DIGIT": ((0x30, 0x39),),
    "WORD": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "SPACE": ((0x09, 0x0D), (0x20, 0x20)),
}
_SPACES: Final = (
    (0x09, 0x0D),
    (0x1C, 0x20),
    (0x85, 0x85),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
)
"""`str.isspace`."""

_PLACES: Final = {
    "AT_BEGINNING_STRING": r"\A",
    "AT_END_STRING": r"\z",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
}
UNFIT: Final = {
    "ASSERT": (
        "looks ahead or behind, which takes more than linear time",
        r"say what may stand there: [1-9]\d* instead of (?!0)\d+",
    ),
    "ASSERT_NOT": (
        "looks ahead or behind, which takes more than linear time",
        r"say what may stand there: [1-9]\d* instead of (?!0)\d+",
    ),
    "GROUPREF": (
        "refers back to a group, which takes more than linear time",
        "write the group's pattern once more",
    ),
    "GROUPREF_EXISTS": (
        "asks whether a group matched, which takes more than linear time",
        "write both cases: (?:<a>|a) instead of (<)?a(?(1)>)",
    ),
    "ATOMIC_GROUP": (
        "has a group that gives nothing back, which takes more than linear time",
        "(?:a+) instead of (?>a+)",
    ),
    "POSSESSIVE_REPEAT": (
        "has a repeat that gives nothing back, which takes more than linear time",
        "a+ instead of a++",
    ),
}


class UnfitPattern(ValueError):
    """A regular expression that no linear time suffices for; ``hint``: what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def translate(pattern: str, *, is_ascii: bool) -> str:
    """*pattern* for RE2, for texts of ASCII alone or for all.

    Beyond ASCII, ``\\b`` knows ASCII's words only; ``$`` within a pattern means the end of the text, not the
    line feed before it. Raises: re.error, OverflowError or RecursionError when it is no pattern;
    `UnfitPattern` when it needs more than linear time.
    """
    parsed = _parser.parse(pattern)
    return _Writer(is_ascii).sequence(parsed, parsed.state.flags)


class _Writer:
    """Writes one pattern. Flags are those in force at the place."""

    def __init__(self, is_ascii: bool) -> None:
        self._is_ascii = is_ascii
        self._last = 0x7F if is_ascii else _LAST
        self._nothing = r"[^\x{0}-\x{ff}]" if is_ascii else r"[^\x{0}-\x{10ffff}]"

    def sequence(self, items: Any, flags: int) -> str:
        return "".join(self._item(str(name), value, flags) for name, value in items)

    def _item(self, name: str, value: Any, flags: int) -> str:
        if name in UNFIT:
            raise UnfitPattern(*UNFIT[name])
        written: dict[str, Callable[[Any, int], str]] = {
            "LITERAL": self._literal,
            "NOT_LITERAL": lambda value, flags: self._class([("NEGATE", None), ("LITERAL", value)], flags),
            "ANY": lambda _, flags: "(?s:.)" if flags & re.DOTALL else r"[^\n]",
            "IN": self._class,
            "AT": _place,
            "BRANCH": self._branch,
            "SUBPATTERN": self._group,
            "MAX_REPEAT": self._repeat,
            "MIN_REPEAT": self._repeat,
        }
        if name not in written:
            raise UnfitPattern(f"has what no such pattern may have ({name})", "write it in simpler words")
        return written[name](value, flags)

    def _literal(self, value: int, flags: int) -> str:
        return _folded(_character(value), flags) if self._may_be(value) else self._nothing

    def _may_be(self, value: int) -> bool:
        return value < 0x80 if self._is_ascii else not 0xD800 <= value < 0xE000

    def _class(self, items: Any, flags: int) -> str:
        is_negated = str(items[0][0]) == "NEGATE"
        members = "".join(self._member(str(name), value, flags) for name, value in items[is_negated:])
        if not members:
            return "(?s:.)" if is_negated else self._nothing
        return _folded(f"[{'^' if is_negated else ''}{members}]", flags)

    def _member(self, name: str, value: Any, flags: int) -> str:
        if name == "CATEGORY":
            return self._category(str(value).removeprefix("CATEGORY_"), flags)
        first, last = value if name == "RANGE" else (value, value)
        return _ranges([(first, min(last, self._last))])

    def _category(self, name: str, flags: int) -> str:
        kind = name.removeprefix("NOT_")
        if self._is_ascii or flags & re.ASCII:
            known = _ASCII[kind]
            if kind == "SPACE" and not flags & re.ASCII:
                known = _SPACES[:2]
            return _ranges(known if kind == name else _others(known, self._last))
        return _UNICODE[name]()

    def _branch(self, value: Any, flags: int) -> str:
        return f"(?:{'|'.join(self.sequence(items, flags) for items in value[1])})"

    def _group(self, value: Any, flags: int) -> str:
        _, added, removed, items = value
        return f"(?:{self.sequence(items, (flags | added) & ~removed)})"

    def _repeat(self, value: Any, flags: int) -> str:
        least, most, items = value
        body = f"(?:{self.sequence(items, flags)})"
        once = _MOST_AT_ONCE // _weight(items)
        if most is _parser.MAXREPEAT:
            head, least = _times(body, least - once, once), min(least, once)
            return f"(?:{head}{body}{{{least},}})"
        if most <= once:
            return f"(?:{body}{{{least},{most}}})"
        return f"(?:{_times(body, least, once)}{_times(body, most - least, once, least=0)})"


def _times(body: str, count: int, once: int, *, least: int | None = None) -> str:
    """*body* so many times, *once* in each repeat; or *least* times and more in each of them."""
    if count > 0 and count * len(body) > _MOST_WRITTEN:
        raise UnfitPattern(f"repeats {count:,} times, which is too much", "+ or * for any number")
    pieces = [once] * (count // once) + [count % once] * (count % once > 0) if count > 0 else []
    return "".join(f"{body}{{{now if least is None else least},{now}}}" for now in pieces)


def _weight(items: Any) -> int:
    """How often *items* count against what RE2 counts to at once: repeats of repeats multiply."""
    weights = [1]
    for name, value in items:
        inside = max(map(_weight, _parts(value)), default=1)
        if str(name) in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, _ = value
            count = max(1, least if most is _parser.MAXREPEAT else most)
            inside *= min(count, _MOST_AT_ONCE // inside)
        weights.append(inside)
    return max(weights)


def _parts(value: Any) -> Iterator[Any]:
    """The sequences inside of one item."""
    for part in value if isinstance(value, tuple | list) else ():
        if isinstance(part, _parser.SubPattern):
            yield part
        else:
            yield from _parts(part)


def _place(value: Any, flags: int) -> str:
    name = str(value)
    if name in ("AT_BEGINNING", "AT_END"):
        sign = "^" if name == "AT_BEGINNING" else "$"
        return f"(?m:{sign})" if flags & re.MULTILINE else (r"\A" if sign == "^" else r"\z")
    return _PLACES[name]


def _folded(text: str, flags: int) -> str:
    return f"(?i:{text})" if flags & re.IGNORECASE else text


def _character(value: int) -> str:
    return f"\\x{{{value:x}}}"


def _ranges(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"{_character(first)}-{_character(last)}" for first, last in ranges if first <= last)


def _others(ranges: Iterable[tuple[int, int]], end: int = _LAST) -> Iterator[tuple[int, int]]:
    """What lies between *ranges*, which are in order."""
    at = 0
    for first, last in ranges:
        if at < first:
            yield at, first - 1
        at = last + 1
    if at <= end:
        yield at, end


@lru_cache(maxsize=1)
def _no_words() -> str:
    """All that ``\\W`` matches; there is no name for it that may stand in a class beside others."""
    words = (c for c in range(sys.maxunicode + 1) if c == 0x5F or chr(c).isalnum())
    return _ranges(_others((c, c) for c in words))


_UNICODE: Final[dict[str, Callable[[], str]]] = {
    "DIGIT": lambda: r"\p{Nd}",
    "NOT_DIGIT": lambda: r"\P{Nd}",
    "SPACE": lambda: _ranges(_SPACES),
    "NOT_SPACE": lambda: _ranges(_others(_SPACES)),
    "WORD": lambda: r"\p{L}\p{N}_",
    "NOT_WORD": _no_words,
}
