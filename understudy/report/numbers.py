"""Numbers as a reader wants them."""

from datetime import UTC, datetime

UNKNOWN = "\N{EN DASH}"


def count(number: int) -> str:
    """``12345`` → ``"12,345"``; beyond all that is counted, ``"1.2e+17"``."""
    return f"{number:,}" if abs(number) < 10**15 else f"{number:.1e}"


def percent(share: float | None) -> str:
    """Share of one → ``"8.5%"``; never rounds something up to all or down to nothing."""
    if share is None:
        return UNKNOWN
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    number = share * 100
    return f"{number:.1f}".removesuffix(".0") + "%"


def duration(seconds: float | None) -> str:
    """Seconds → ``"850 µs"``, ``"12 ms"``, ``"1.4 s"``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.00995:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    return f"{seconds:,.0f} s" if seconds < 1e9 else f"{seconds:.1e} s"


def signed(seconds: float | None) -> str:
    """A difference in seconds → ``"+3.0 ms"``, ``"-850 µs"``."""
    if seconds is None:
        return UNKNOWN
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def plural(number: int, one: str, many: str = "") -> str:
    """``(3, "difference")`` → ``"3 differences"``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def moment(at_seconds: float | None) -> str:
    """Unix seconds → ``"2026-01-31 14:05 UTC"``; empty when unknown or no date."""
    if at_seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(at_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return ""
