"""JSON read without trusting its shape: what is absent or of another type is zero, empty or unknown."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

VERDICTS = ("regression", "undecided", "noise", "ignored", "clean")
"""From what needs a reader most to what needs none."""


def verdict(item: object, otherwise: str) -> str:
    """*item* if it is a verdict."""
    return item if isinstance(item, str) and item in VERDICTS else otherwise


def mapping(item: object) -> Mapping[str, Any]:
    """*item* if it is an object, else an empty one."""
    return item if isinstance(item, Mapping) else {}


def items(item: object) -> Iterable[Any]:
    """What is in *item* if it is an array."""
    return item if isinstance(item, list | tuple) else ()


def mappings(item: object) -> Iterable[Mapping[str, Any]]:
    """The objects in *item* if it is an array."""
    return (entry for entry in items(item) if isinstance(entry, Mapping))


def text(item: object) -> str:
    """*item* if it is text, a number as text, else empty."""
    if isinstance(item, str):
        return item
    if isinstance(item, bool) or not isinstance(item, int | float):
        return ""
    try:
        return str(item)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "(a number of thousands of digits)"


def number(item: object) -> float | None:
    """*item* if it is a finite number."""
    if isinstance(item, bool) or not isinstance(item, int | float):
        return None
    try:
        value = float(item)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def whole(item: object) -> int | None:
    """*item* as a whole number, if it is a finite one."""
    value = number(item)
    return None if value is None else int(value)


def count(item: object) -> int:
    """*item* as a whole number; 0 when it is none."""
    return whole(item) or 0
