"""Why a rule gave what it gave, in words: the same rule, walked branch by branch."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from understudy.decide.coercion import Json, truthy
from understudy.decide.fractional import Draw, drawer
from understudy.decide.logic import Compiler, arguments_of

_LONGEST = 160
"""A condition longer than this is cut: one line of a terminal, twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one request went where it went.

    ``rule`` is the deciding rule, to read; ``unit`` is empty when the request has none. ``key``, ``hash``
    and ``bucket`` ("36 of 100") are of the `fractional` that decided, empty and None without one. ``safe``
    is the variant that the kill switch would choose. Without a matching route ``reason`` is NO_ROUTE.
    """

    route: str
    flag: str
    variant: str
    reason: str
    rule: str
    serve: str
    mirror: tuple[str, ...] = ()
    control: str = ""
    unit: str = ""
    key: str = ""
    hash: int | None = None
    bucket: str = ""
    safe: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The value of a rule, the path that led there in words, and the draw that decided."""

    value: Json
    text: str
    draw: Draw | None = None


def bucket_text(draw: Draw | None) -> str:
    """``"36 of 100"``; a bucket of generation 1 is not whole."""
    if draw is None:
        return ""
    place = draw.bucket if isinstance(draw.bucket, int) else round(draw.bucket, 4)
    return f"{place} of {draw.total}"


def trace(rule: Json, compiler: Callable[[], Compiler], data: Any) -> Trace:
    """Evaluate *rule* (which compiles) for *data*, noting the way. Raises what the rule raises."""
    if isinstance(rule, dict) and len(rule) == 1:
        operator, given = next(iter(rule.items()))
        if operator in ("if", "?:"):
            return _trace_if(operator, given if isinstance(given, list) else [given], compiler, data)
        if operator == "$ref":
            inner = trace(compiler().evaluators[given], compiler, data)
            return Trace(inner.value, f"$ref {given}: {inner.text}", inner.draw)
        if operator == "fractional" and given != []:
            return _trace_fractional(given, compiler, data)
    value = compiler().compile(rule, "").run(data)
    text = describe(value) if _is_plain(rule) else f"{describe(rule)} → {describe(value)}"
    return Trace(value, text)


def _trace_if(operator: str, items: list[Json], compiler: Callable[[], Compiler], data: Any) -> Trace:
    for index in range(0, len(items) - 1, 2):
        condition = trace(items[index], compiler, data)
        if truthy(condition.value):
            then = trace(items[index + 1], compiler, data)
            text = f"{operator}[{index + 1}] {describe(items[index])} → {then.text}"
            return Trace(then.value, text, then.draw or condition.draw)
    if len(items) % 2 == 0:
        return Trace(None, f"{operator} without a match → null")
    last = trace(items[-1], compiler, data)
    where = f"{operator}[{len(items) - 1}] otherwise → " if len(items) > 1 else ""
    return Trace(last.value, where + last.text, last.draw)


def _trace_fractional(given: Json, compiler: Callable[[], Compiler], data: Any) -> Trace:
    fresh = compiler()
    drawn = drawer(fresh, arguments_of("fractional", given, "", 0))(data)
    shape = describe({"fractional": given})
    if drawn is None:
        return Trace(None, f"{shape} → null")
    return Trace(drawn.value, f"{shape} → {describe(drawn.value)}", drawn)


def _is_plain(rule: Json) -> bool:
    return not isinstance(rule, dict | list)


def describe(rule: Json) -> str:
    """*rule* as one line to read: ``in("@example.com", headers.x-user-email)``."""
    text = _described(rule, 0)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _described(rule: Json, depth: int) -> str:
    if depth > 8:
        return "…"
    if isinstance(rule, list):
        return f"[{', '.join(_described(item, depth + 1) for item in rule[:20])}]"
    if not isinstance(rule, dict) or len(rule) != 1:
        return rule if isinstance(rule, str) and depth == 0 else json.dumps(rule, ensure_ascii=False)
    operator, given = next(iter(rule.items()))
    items = given if isinstance(given, list) else [given]
    if operator == "var" and items and isinstance(items[0], str):
        return str(items[0]) or "var()"
    if operator == "$ref":
        return f"$ref {given}"
    if operator == "fractional":
        return "fractional " + _described_entries(items)
    return f"{operator}({', '.join(_described(item, depth + 1) for item in items[:20])})"


def _described_entries(items: list[Json]) -> str:
    entries = [item for item in items if isinstance(item, list) and item]
    parts = [" ".join(_described(part, 1).strip('"') for part in entry) for entry in entries[:20]]
    return ", ".join(parts) or "nothing"
