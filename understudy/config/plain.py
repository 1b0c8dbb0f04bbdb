"""Plain values: what JSON can say, and so what every store, API and worker can carry unchanged."""

import math
from collections.abc import Iterator

from understudy.config.place import Place, shown

MOST_VALUES = 500_000
"""Values after anchors are expanded, so that nine lines of nested aliases do not fill the memory."""
DEEPEST = 100
"""Levels of nesting. Targeting rules in the flagd test bed stay below 12."""


def plain(value: object, place: Place) -> object:
    """A deep copy of *value* in which everything can be said in JSON; problems at *place* for what cannot.

    What cannot be said is replaced by null, so that reading may go on and find more.
    """
    try:
        return _copied(value, 0, [MOST_VALUES - 1])
    except ValueError:
        return _copy(value, place, 0, iter(range(MOST_VALUES)))


def _copied(value: object, depth: int, left: list[int]) -> object:
    """A deep copy of *value*, if it can be said: nearly all can, and need no places for problems.

    Raises: ValueError, when `_copy` has to say what is wrong, or to see that nothing is.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() else value.encode() and value  # type: ignore[attr-defined]
    if kind is bool or value is None:
        return value
    if kind is int or kind is float:
        if unsayable(value):
            raise ValueError
        return value
    if not isinstance(value, dict | list) or depth >= DEEPEST:
        raise ValueError
    left[0] -= len(value)
    if left[0] < 0:
        raise ValueError
    if isinstance(value, list):
        return [
            item if type(item) is str and item.isascii() else _copied(item, depth + 1, left) for item in value
        ]
    if not all(type(key) is str and (key.isascii() or is_text(key)) for key in value):
        raise ValueError
    return {
        key: item if type(item) is str and item.isascii() else _copied(item, depth + 1, left)
        for key, item in value.items()
    }


def _copy(value: object, place: Place, depth: int, left: Iterator[int]) -> object:
    if next(left, None) is None:
        place.refuse(f"holds more than {MOST_VALUES:,} values")
        return None
    if isinstance(value, dict | list | tuple) and depth >= DEEPEST:
        place.refuse(f"is nested deeper than {DEEPEST} levels")
        return None
    if isinstance(value, dict):
        copied: dict[str, object] = {}
        for key, entry in value.items():
            if not isinstance(key, str) or not is_text(key):
                place.refuse(f"key {shown(key)} is not text", f'quote it: "{key}"' if key is not None else "")
                continue
            if _is_said(entry, left):
                copied[key] = entry
            else:
                copied[key] = _copy(entry, place.key(key), depth + 1, left)
        return copied
    if isinstance(value, list | tuple):
        return [
            entry if _is_said(entry, left) else _copy(entry, place.item(index), depth + 1, left)
            for index, entry in enumerate(value)
        ]
    message = unsayable(value)
    if message:
        place.refuse(message)
        return None
    return value


def _is_said(value: object, left: Iterator[int]) -> bool:
    """Whether *value*, now counted, is plain at first sight: most are, and need no place for problems."""
    if isinstance(value, bool) or (isinstance(value, str) and value.isascii()):
        return next(left, None) is not None
    return False


def unsayable(value: object) -> str:
    """What keeps the scalar *value* out of JSON; empty when nothing does."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return "" if is_text(value) else "is not valid Unicode text"
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**64 else "is a number beyond 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is not a finite number: {value}"
    return f"cannot be said in JSON: a {type(value).__name__}"


def is_text(value: str) -> bool:
    """Whether *value* can be encoded: a lone surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
