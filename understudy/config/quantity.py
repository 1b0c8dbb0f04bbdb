"""Numbers with a meaning: durations, sizes, shares, counts, and yes or no. Each reader raises Refused."""

import re
from collections.abc import Mapping

from understudy.config.place import Refused, shown

DURATION_UNITS: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZE_UNITS: Mapping[str, int] = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h)$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(B|KB|MB|GB|KiB|MiB|GiB)$"

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([^\s0-9.]*)\Z", re.ASCII)
_LONGEST_SECONDS = 24 * 3600.0
_LARGEST_BYTES = 2**40
_WORDS = {
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hour", "hours"), "h"),
}


def read_duration(value: object) -> float:
    """Seconds, from a number of seconds or a text such as ``5s``, ``200ms``, ``1.5 m``.

    More than nothing, at most a day: every wait has an end.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refused(f"must be a duration, not {shown(value)}", _DURATION_HINT)
    seconds = _duration(value) if isinstance(value, str) else float(value)
    if not seconds > 0:
        raise Refused(f"must be longer than 0, not {shown(value)}", "every wait has an end")
    if seconds > _LONGEST_SECONDS:
        raise Refused(f"must be at most 24h, not {shown(value)}")
    return seconds


_DURATION_HINT = "units: ms, s, m, h; for example 5s"


def _duration(text: str) -> float:
    match = _AMOUNT.match(text)
    if not match:
        raise Refused(f"{shown(text)} is not a duration", _DURATION_HINT)
    amount, unit = match[1], match[2]
    if not unit:
        return float(amount)
    if unit not in DURATION_UNITS:
        meant = _WORDS.get(unit.lower()) or (unit.lower() if unit.lower() in DURATION_UNITS else None)
        hint = f"did you mean {amount}{meant}?" if meant else _DURATION_HINT
        raise Refused(f"{shown(text)} is not a duration: unknown unit {shown(unit)}", hint)
    return float(amount) * DURATION_UNITS[unit]


def read_size(value: object) -> int:
    """Bytes, from a whole number or a text such as ``64MiB``, ``1 MB``; at most 1 TiB."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Refused(f"must be a size in bytes, not {shown(value)}", _SIZE_HINT)
    size = _size(value) if isinstance(value, str) else value
    if size < 0:
        raise Refused(f"must be 0 or more, not {shown(value)}")
    if size > _LARGEST_BYTES:
        raise Refused(f"must be at most 1024GiB, not {shown(value)}")
    return size


_SIZE_HINT = "units: B, KB, MB, GB (1000) and KiB, MiB, GiB (1024); for example 64MiB"


def _size(text: str) -> int:
    match = _AMOUNT.match(text)
    if not match:
        raise Refused(f"{shown(text)} is not a size", _SIZE_HINT)
    amount, unit = match[1], match[2] or "B"
    if unit not in SIZE_UNITS:
        folded = {name.lower(): name for name in SIZE_UNITS}
        meant = folded.get(unit.lower())
        hint = f"did you mean {amount}{meant}?" if meant else _SIZE_HINT
        raise Refused(f"{shown(text)} is not a size: unknown unit {shown(unit)}", hint)
    size = float(amount) * SIZE_UNITS[unit] if "." in amount else int(amount) * SIZE_UNITS[unit]
    if size != int(size):
        raise Refused(f"{shown(text)} is not a whole number of bytes")
    return int(size)


def read_share(value: object) -> float:
    """A share of all, 0 to 1."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)? ?%", value):
        percent = float(value.rstrip("% "))
        raise Refused(f"must be a number from 0 to 1, not {shown(value)}", f"did you mean {percent / 100:g}?")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"must be a number from 0 to 1, not {shown(value)}")
    if not 0 <= value <= 1:
        hint = f"did you mean {value / 100:g}?" if 1 < value <= 100 else ""
        raise Refused(f"must be a number from 0 to 1, not {shown(value)}", hint)
    return float(value)


def read_count(value: object, *, least: int, most: int) -> int:
    """A whole number from *least* to *most*."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"must be a whole number, not {shown(value)}")
    if not least <= value <= most:
        raise Refused(f"must be {least} to {most}, not {value}")
    return value


def read_switch(value: object) -> bool:
    """``true`` or ``false``; YAML's 1.1 words for them are texts here."""
    if isinstance(value, bool):
        return value
    words = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
    meant = words.get(value.lower()) if isinstance(value, str) else None
    raise Refused(f"must be true or false, not {shown(value)}", f"did you mean {meant}?" if meant else "")


def duration_text(seconds: float) -> str:
    """*seconds* as a person writes it: ``200ms``, ``5s``, ``2m``."""
    for unit in ("h", "m"):
        amount = seconds / DURATION_UNITS[unit]
        if amount >= 1 and amount == round(amount, 1):
            return f"{amount:g}{unit}"
    if seconds >= 1:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms"


def size_text(size: int) -> str:
    """*size* bytes as a person writes it: ``64MiB``, ``1500B``."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"
