"""Recognise what values are: ids, times, hashes, numbers; and write the narrowest rule that forgives them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any, Final

from understudy.comparators.tolerance import number_of, seconds_of

Pair = tuple[object, object]
"""A primary's and a shadow's value."""

UUID: Final = "[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
ISO_TIME: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"
ISO_DATE: Final = r"\d{4}-\d\d-\d\d"
HTTP_TIME: Final = r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
EPOCH: Final = r"1\d{9}(?:\d{3}){0,3}(?:\.\d+)?"
"""Seconds since 1970 or their thousandths, millionths …, of the years 2001 to 2033."""

INTEGER: Final = r"-?\d+"
ANYTHING: Final = "(?s).*"
FORMS: Final = (
    ("UUIDs", UUID),
    ("times (ISO 8601)", ISO_TIME),
    ("dates (ISO 8601)", ISO_DATE),
    ("HTTP dates", HTTP_TIME),
    ("times since 1970", EPOCH),
    ("ULIDs", "[0-7][0-9A-HJKMNP-TV-Z]{25}"),
    ("integers", INTEGER),
    ("numbers", r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"),
    ("entity tags", r'(?:W/)?"[^"]*"'),
)
HEX: Final = re.compile(r"[0-9a-f]{6,}|[0-9A-F]{6,}")
OPAQUE: Final = re.compile(r"(?=[^\s]*\d)[A-Za-z0-9_=.~+/-]{12,}")
HIDDEN: Final = re.compile(r"\[(?:redacted|token|card|email) [0-9a-f]{12}\]")
SEPARATED: Final = re.compile(r".*[-_:.]", re.DOTALL)

LONGEST_SKEW_SECONDS: Final = 120.0
"""Two answers of one moment: clocks that differ by more are wrong, and a copy may wait for its turn."""

CLOSE: Final = 0.05
"""Numbers further apart than 5 % are not the same number measured twice."""

LARGEST_SMALL: Final = 1000
"""Integers from here on that differ by little are rather ids in a row than amounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """``rule`` is the field of a compare rule and ``value`` what it says for a path; ``why`` in words."""

    rule: str
    value: Any
    why: str


def recognise(pairs: Sequence[Pair], *, is_id: bool) -> Form | None:
    """The narrowest form that all *pairs* have; None when they are no texts or numbers.

    *is_id*: the name of the place says that it identifies something.
    """
    values = [value for pair in pairs for value in pair]
    if not values or not all(_is_scalar(value) for value in values):
        return None
    texts = [str(value) for value in values]
    many = f"in {len(pairs)} sample{'' if len(pairs) == 1 else 's'}"
    if any(HIDDEN.search(text) for text in texts):
        return _anything("the samples are redacted")
    named = _named(texts)
    if not is_id:
        close = _close_times(pairs, named, many) or _close_numbers(pairs, named, many)
        if close is not None:
            return close
    if named is None:
        return _anything("the samples have no form in common")
    name, pattern = named
    return Form(rule="matching", value=pattern, why=f"{name} on both sides {many}")


def _anything(why: str) -> Form:
    text = f"{why}: any value passes, but it must be there and keep its type"
    return Form(rule="matching", value=ANYTHING, why=text)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _named(texts: Sequence[str]) -> tuple[str, str] | None:
    """What all *texts* are, and the pattern that says so; also after a beginning they share."""
    whole = _form(texts)
    if whole is not None:
        return whole
    shared = SEPARATED.match(_beginning(texts))
    rest = _form([text[shared.end() :] for text in texts]) if shared is not None else None
    if shared is not None and rest is not None:
        return f"{shared[0]}… and {rest[0]}", re.escape(shared[0]) + rest[1]
    if all(OPAQUE.fullmatch(text) for text in texts):
        return "opaque tokens", "[A-Za-z0-9_=.~+/-]+"
    return None


def _beginning(texts: Sequence[str]) -> str:
    """What all *texts* begin with; the first and the last of them in order differ earliest."""
    first, last = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]


def _form(texts: Sequence[str]) -> tuple[str, str] | None:
    for name, pattern in FORMS:
        if all(re.fullmatch(pattern, text) for text in texts):
            return name, pattern
    if all(HEX.fullmatch(text) for text in texts):
        lengths = sorted({len(text) for text in texts})
        letters = "0-9a-fA-F" if any(text != text.lower() for text in texts) else "0-9a-f"
        return "hexadecimal", f"[{letters}]{{{lengths[0]}}}" if len(lengths) == 1 else f"[{letters}]+"
    return None


def _close_times(pairs: Sequence[Pair], named: tuple[str, str] | None, many: str) -> Form | None:
    if named is None or named[1] not in (ISO_TIME, HTTP_TIME, EPOCH):
        return None
    apart = _apart([(seconds_of(a), seconds_of(b)) for a, b in pairs])
    if apart is None or apart > LONGEST_SKEW_SECONDS:
        return None
    why = f"{named[0]}, at most {apart:.3g} s apart {many}"
    return Form(rule="tolerance", value={"seconds": max(1, _above(2 * apart))}, why=why)


def _close_numbers(pairs: Sequence[Pair], named: tuple[str, str] | None, many: str) -> Form | None:
    if named is None or named[0] not in ("integers", "numbers"):
        return None
    numbers = [(number_of(a), number_of(b)) for a, b in pairs]
    apart = _apart(numbers)
    share = max((_share(a, b) for a, b in numbers), default=1.0)
    is_in_a_row = named[0] == "integers" and any((a or 0) >= LARGEST_SMALL for a, _ in numbers)
    if apart is None or share > CLOSE or is_in_a_row:
        return None
    why = f"numbers, at most {share:.2%} apart {many}"
    return Form(rule="tolerance", value={"relative": _above(2 * share)}, why=why)


def _apart(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    """The largest distance; None when there is a value that says nothing."""
    distances = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    return max(distances) if distances and len(distances) == len(pairs) else None


def _share(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 1.0
    return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0


def _above(number: float) -> float:
    """The next of 1, 2, 5, 10, 20 … (or their tenths …) that is not below *number*."""
    if number <= 0:
        return 0.0
    unit = 10.0 ** floor(log10(number))
    step = next(step for step in (1, 2, 5, 10) if step * unit >= number * (1 - 1e-9))
    nice = float(f"{step * unit:.3g}")
    return int(nice) if nice >= 1 else nice
