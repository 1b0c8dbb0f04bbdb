"""JSON trees: read from text, told apart, and made hashable."""

import json
import math
from collections.abc import Hashable
from decimal import Decimal
from typing import Final

import orjson

from understudy.comparators.elements import Element

DIGITS: Final = bytes(ord("0") if 48 <= i <= 57 else i for i in range(256))
NINETEEN: Final = b"0" * 19
MOST_POSITIVE: Final = b"0" * 20  # 2**64 has 20 digits
MOST_NEGATIVE: Final = b"-" + NINETEEN  # -2**63 has 19
MOST_DIGITS: Final = 4000  # int() refuses more than 4,300 digits (CVE-2020-10735)


class Absent:
    """Nothing stands here: not even null."""


ABSENT: Final = Absent()
SORTED: Final = orjson.OPT_SORT_KEYS
NUMBERS: Final = frozenset({int, float, Decimal})
BEYOND_DOUBLES: Final = 2**1024  # from here on an integer may equal a number that was read as Decimal
CONTAINERS: Final = frozenset({dict, list})


def load(text: bytes | str) -> object:
    """The tree of a JSON text, or `ABSENT` when it is none (RFC 8259; NaN is none).

    orjson reads integers beyond 64 bits as floats; those texts are read again, exactly.
    """
    try:
        tree: object = orjson.loads(text)
    except ValueError:
        return _load_exactly(text)
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    digits = raw.translate(DIGITS)
    # One look is enough for nearly all; nanoseconds since 1970 have 19 digits.
    if NINETEEN in digits and (MOST_POSITIVE in digits or MOST_NEGATIVE in digits):
        exact = _load_exactly(text)
        return tree if exact is ABSENT else exact
    return tree


def _load_exactly(text: bytes | str) -> object:
    try:
        whole = text.decode("utf-8") if isinstance(text, bytes) else text
        tree: object = json.loads(
            whole.removeprefix("\ufeff"),
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError):
        return ABSENT
    return tree


def _integer(text: str) -> object:
    return int(text) if len(text) < MOST_DIGITS else Decimal(text)


def _real(text: str) -> object:
    number = float(text)
    if not math.isinf(number):
        return number
    try:
        return Decimal(text)
    except ArithmeticError as error:
        raise ValueError(text) from error


def _refuse(text: str) -> object:
    raise ValueError(text)


def is_same(a: object, b: object) -> bool:
    """Whether two trees are equal: 1 and 1.0 are, 1 and true are not."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return kind in NUMBERS and type(b) in NUMBERS and a == b
    if kind not in CONTAINERS:
        return a == b
    return a == b and is_same_twin(a, b)


def is_same_however_deep(a: object, b: object) -> bool:
    """Like `is_same`, without recursion."""
    open_pairs = [(a, b)]
    while open_pairs:
        x, y = open_pairs.pop()
        if isinstance(x, dict) and isinstance(y, dict):
            if x.keys() != y.keys():
                return False
            open_pairs.extend((value, y[key]) for key, value in x.items())
        elif isinstance(x, list) and isinstance(y, list):
            if len(x) != len(y):
                return False
            open_pairs.extend(zip(x, y, strict=True))
        elif not is_same(x, y):
            return False
    return True


def is_same_twin(a: object, b: object) -> bool:
    """Whether two containers that are equal to Python, which takes True for 1, are the same.

    As texts, at the speed of C, when there is nothing like 1 and 1.0; item by item else.
    """
    try:
        if orjson.dumps(a, option=SORTED) == orjson.dumps(b, option=SORTED):
            return True
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, or too deep for orjson
        pass
    if isinstance(a, dict) and isinstance(b, dict):
        return all(is_same(x, b[key]) for key, x in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return all(is_same(x, y) for x, y in zip(a, b, strict=True))
    return True


def freeze(value: object) -> Hashable:
    """A hashable twin: two trees are `is_same` exactly when their twins are equal.

    Numbers are spelled, because hashes of texts are keyed: of numbers anybody can make a hundred thousand
    with one hash, and a list of those would hold a process for minutes.
    """
    if isinstance(value, dict):
        return ("object", frozenset((key, freeze(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(freeze(item) for item in value))
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float | Decimal):
        return _spelled(value)
    if isinstance(value, str):
        return value if type(value) is str else ("line", str(value))
    return value if isinstance(value, Element) else None


def _spelled(number: int | float | Decimal) -> bytes:
    """The same for equal numbers, and no text."""
    if isinstance(number, float):
        if not number.is_integer():
            return repr(number).encode()
        number = int(number)
    if isinstance(number, int) and abs(number) < BEYOND_DOUBLES:
        return b"%d" % number
    sign, figures, exponent = Decimal(number).as_tuple()
    digits = "".join(map(str, figures))
    kept = digits.rstrip("0")
    return f"{sign} {kept} {int(exponent) + len(digits) - len(kept)}".encode()
