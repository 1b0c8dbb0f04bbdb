"""What JavaScript makes of a JSON value: truth, number, text, equality, order.

JSONLogic is defined by its JavaScript implementation (json-logic-js), so these are its rules, as far
as JSON values can meet them. Text is ordered by code point where JavaScript orders by UTF-16 unit.
"""

import math
import re
from decimal import Decimal
from typing import Any

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict."""

# A digit is read once: `\d+\.?\d*` takes a minute for the digits that one header can hold.
_NUMBER = re.compile(r"[+-]?(?:Infinity|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_RADIX = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_EXACT = 2**53


def truthy(value: Json) -> bool:
    """JSONLogic's own table (jsonlogic.com/truthy): JavaScript's, but an empty list is false."""
    if value is True or value is False:
        return bool(value)
    if value is None:
        return False
    kind = type(value)
    if kind is str or kind is list:
        return len(value) > 0
    if kind is dict:
        return True
    return bool(value == value and value != 0)


def text(value: Json) -> str:
    """``String(value)``."""
    return "null" if value is None else joined(value)


MOST_TEXT = 131_072
"""Characters that a rule may make: four times the fields of a request. A loop that doubles a text or a list
would fill the memory long before it has run ten thousand operations."""

DEEPEST_TEXT = 200
"""Lists in lists, when they are made a text: compiled code has no limit of its own before the stack ends."""


def joined(value: Json, depth: int = 0) -> str:
    """*value* as one part of ``Array.join("")``: like ``String(value)``, but null is empty.

    Raises: RecursionError beyond `DEEPEST_TEXT` lists in one another, ValueError beyond `MOST_TEXT`.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is list:
        if depth > DEEPEST_TEXT:
            raise RecursionError("lists nested too deep to be a text")
        return bounded(",".join([joined(item, depth + 1) for item in value]))
    if type(value) is dict:
        return "[object Object]"
    return _digits(value)


def bounded(made: str) -> str:
    """*made*, a text that a rule put together. Raises: ValueError when it is too long."""
    if len(made) > MOST_TEXT:
        raise ValueError("a rule makes a text that is too long")
    return made


def _digits(value: int | float) -> str:
    if value != value:
        return "NaN"
    if isinstance(value, int) and abs(value) > _EXACT:
        value = double(value)
    if value in (math.inf, -math.inf):
        return "Infinity" if value > 0 else "-Infinity"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e21 and value == int(value):
        # The shortest digits that read back as the same double, then zeros: 2**53+2 is exact, 1e20 is padded.
        return format(Decimal(repr(value)), "f").removesuffix(".0")
    if 1e-6 <= size < 1e21:
        return format(Decimal(repr(value)), "f")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def double(value: int) -> float:
    """*value* as a JavaScript number: infinite when it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def number(value: Json) -> int | float:
    """``Number(value)``; not a number is NaN. Integers beyond 2**53 become doubles, as there."""
    kind = type(value)
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else double(value)
    if kind is float:
        return float(value)
    if value is None:
        return 0
    if kind is bool:
        return int(value)
    if kind is str:
        return _parsed(value)
    if kind is list:
        return _parsed(joined(value))
    return math.nan


def _parsed(value: str) -> int | float:
    digits = value.strip()
    if not digits:
        return 0
    if _NUMBER.fullmatch(digits):
        return float(digits)
    if _RADIX.fullmatch(digits):
        return number(int(digits, 0))
    return math.nan


def parse_float(value: Json) -> int | float:
    """``parseFloat(value)``: the number that *value*'s text begins with, else NaN."""
    if type(value) is int or type(value) is float:
        return number(value)
    found = _NUMBER.match(text(value).lstrip())
    return float(found.group()) if found else math.nan


def strict_equal(left: Json, right: Json) -> bool:
    """``left === right``: same type and value; lists and objects only when they are the same one."""
    if type(left) is str or left is None or type(left) is bool:
        return type(left) is type(right) and bool(left == right)
    if type(left) in (int, float):
        return type(right) in (int, float) and bool(left == right)
    return left is right


def loose_equal(left: Json, right: Json) -> bool:
    """``left == right``: numbers, texts and booleans meet as numbers, null equals null only."""
    if left is None or right is None:
        return left is right
    if type(left) is str and type(right) is str:
        return left == right
    left_nested, right_nested = type(left) in (list, dict), type(right) in (list, dict)
    if left_nested and right_nested:
        return left is right
    if left_nested or right_nested:
        return loose_equal(_primitive(left), _primitive(right))
    return number(left) == number(right)


def _primitive(value: Json) -> Json:
    return joined(value) if type(value) in (list, dict) else value


def less(left: Json, right: Json) -> bool:
    """``left < right``: two texts by code point, everything else as numbers."""
    left, right = _primitive(left), _primitive(right)
    if type(left) is str and type(right) is str:
        return left < right
    return number(left) < number(right)


def less_or_equal(left: Json, right: Json) -> bool:
    """``left <= right``: two texts by code point, everything else as numbers."""
    left, right = _primitive(left), _primitive(right)
    if type(left) is str and type(right) is str:
        return left <= right
    return number(left) <= number(right)
