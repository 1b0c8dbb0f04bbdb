"""Schedules: comparisons of `$flagd.timestamp`, which counts whole seconds since 1970, with a moment."""

from datetime import UTC, datetime
from typing import Any

from understudy.decide.coercion import Json
from understudy.decide.logic import Arguments, Compiler

TIMESTAMP = "$flagd.timestamp"

_LAST_SECONDS = 100_000_000_000
"""The year 5138: a larger number counts milliseconds."""


def check_schedule(compiler: Compiler, arguments: Arguments) -> None:
    """Note moments in *arguments* that are no seconds: such a comparison would never come true."""
    if not any(_is_timestamp(item) for item in arguments.items):
        return
    for item, path in zip(arguments.items, arguments.paths, strict=True):
        if isinstance(item, str):
            hint = _seconds(item) or "seconds since 1970, in UTC"
            compiler.problem(path, f"{TIMESTAMP} is a number of seconds, not {item!r}", hint)
        elif isinstance(item, int | float) and item >= _LAST_SECONDS:
            hint = f"did you mean {int(item) // 1000}?"
            compiler.problem(path, f"{TIMESTAMP} is in seconds, not in milliseconds", hint)


def _is_timestamp(item: Json) -> bool:
    name: Any = item.get("var") if isinstance(item, dict) else None
    return name in (TIMESTAMP, [TIMESTAMP])


def _seconds(text: str) -> str:
    """What *text* is in seconds, to suggest; without a zone it is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return f"did you mean {int(moment.timestamp())}?"
