"""How far apart two values may be: numbers, shares, clocks."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final

UNITS: Final = ("absolute", "relative", "seconds")
FRACTIONS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""From so large on a time since 1970 is in nano-, micro- or milliseconds: seconds reach 1e11 in the year
5138, milliseconds did in 1973, and so on for each next thousandth."""

ROUNDING: Final = 1e-9  # 0.1 + 0.2 is not 0.3; a tolerance of 0.1 means it anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """``absolute`` and ``seconds`` in units of the value; ``relative`` as a share of the larger magnitude.

    Numbers may be written as text ("9.99"). Times are seconds since 1970 or thousandths of them, down to
    nanoseconds, ISO 8601, or an HTTP date; without a zone they are UTC.
    """

    unit: str
    amount: float

    def accepts(self, a: object, b: object) -> bool:
        """Whether *a* and *b* are close enough. False when either is no number or time."""
        read = seconds_of if self.unit == "seconds" else number_of
        x, y = read(a), read(b)
        if x is None or y is None:
            return False
        most = self.amount * max(abs(x), abs(y)) if self.unit == "relative" else self.amount
        return abs(x - y) <= most * (1 + ROUNDING)


def number_of(value: object) -> float | None:
    """The finite number that *value* is or is written as; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def seconds_of(value: object) -> float | None:
    """The time that *value* says, in seconds since 1970; None when it says none."""
    number = number_of(value)
    if number is not None:
        return next((number / unit for least, unit in FRACTIONS if abs(number) >= least), number)
    if not isinstance(value, str):
        return None
    moment = _moment(value)
    if moment is None:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
