"""How far apart two values may be: numbers, shares, clocks."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

UNITS: Final = ("absolute", "relative", "seconds")
MILLISECONDS_FROM: Final = 1e11  # seconds reach this in the year 5138, milliseconds did in 1973
ROUNDING: Final = 1e-9  # 0.1 + 0.2 is not 0.3; a tolerance of 0.1 means it anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """``absolute`` and ``seconds`` in units of the value; ``relative`` as a share of the larger magnitude.

    Numbers may be written as text ("9.99"). Times are seconds or milliseconds since 1970, ISO 8601, or
    an HTTP date; without a zone they are UTC.
    """

    unit: str
    amount: float

    def accepts(self, a: object, b: object) -> bool:
        """Whether *a* and *b* are close enough. False when either is no number or time."""
        read = _seconds if self.unit == "seconds" else _number
        x, y = read(a), read(b)
        if x is None or y is None:
            return False
        most = self.amount * max(abs(x), abs(y)) if self.unit == "relative" else self.amount
        return abs(x - y) <= most * (1 + ROUNDING)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _seconds(value: object) -> float | None:
    number = _number(value)
    if number is not None:
        return number / 1000 if abs(number) >= MILLISECONDS_FROM else number
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
