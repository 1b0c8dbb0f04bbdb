"""Who moves: how a change of the rules shifts units between the variants of a flag. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from understudy.admin.references import needed, touched
from understudy.config import Rules
from understudy.decide import Document, Evaluator

UNITS: Final = tuple(f"unit-{number}" for number in range(10_000))
"""Made up, and always the same: shares are right to about half a percent."""
MOST_FLAGS: Final = 10
"""Flags that are drawn for: 10,000 units before and after take 0.1 s each."""
_EXAMPLES: Final = 3

Clock = Callable[[], float]


def changed_flags(before: Rules, after: Rules) -> list[str]:
    """The flags that may answer other than they did, in document order; those that are gone last."""
    flags = {
        key
        for key in {*before.flags, *after.flags}
        if not _is_same(before.flags.get(key), after.flags.get(key))
        or (key in before.killed) != (key in after.killed)
    }
    if not _is_same(before.metadata, after.metadata):
        flags |= {*before.flags, *after.flags}
    segments = {
        name
        for name in {*before.evaluators, *after.evaluators}
        if not _is_same(before.evaluators.get(name), after.evaluators.get(name))
    }
    if segments or flags:
        flags |= touched(before.document, flags=flags, segments=segments)
        flags |= touched(after.document, flags=flags, segments=segments)
    return [key for key in dict.fromkeys([*after.flags, *before.flags]) if key in flags]


def _is_same(one: Any, other: Any) -> bool:
    """As text: 1, 1.0 and true are equal, but not the same answer."""
    return orjson.dumps(one, default=dict) == orjson.dumps(other, default=dict)


def moves(
    before: Rules,
    after: Rules,
    *,
    units: Sequence[str],
    context: Mapping[str, Any],
    clock: Clock,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Who moves in each flag that changed, and the keys of flags that are too many to be drawn for.

    *units* are the targeting keys that are drawn for, each with *context* beside it.
    """
    changed = changed_flags(before, after)
    found = [
        _moves(key, before, after, units=units, context=context, clock=clock) for key in changed[:MOST_FLAGS]
    ]
    return found, changed[MOST_FLAGS:]


def _moves(
    key: str, before: Rules, after: Rules, *, units: Sequence[str], context: Mapping[str, Any], clock: Clock
) -> dict[str, Any]:
    was = _variants(key, before, units=units, context=context, clock=clock)
    will = _variants(key, after, units=units, context=context, clock=clock)
    counted: Counter[tuple[str | None, str | None]] = Counter()
    examples: dict[tuple[str | None, str | None], list[str]] = {}
    for unit, pair in zip(units, zip(was, will, strict=True), strict=True):
        counted[pair] += 1
        if counted[pair] <= _EXAMPLES:
            examples.setdefault(pair, []).append(unit)
    moved = sum(n for (old, new), n in counted.items() if old != new)
    return {
        "flag": key,
        "units": len(units),
        "moved": moved,
        "share": moved / len(units),
        "matrix": [
            {"from": old, "to": new, "units": n, "share": n / len(units), "examples": examples[old, new]}
            for (old, new), n in sorted(counted.items(), key=lambda item: (-item[1], str(item[0])))
        ],
        "routes": _routes(key, after) or _routes(key, before),
    }


def _variants(
    key: str, rules: Rules, *, units: Sequence[str], context: Mapping[str, Any], clock: Clock
) -> list[str | None]:
    """What each of *units* gets: the name of a variant; None where there is none, or no such flag."""
    if key not in rules.flags:
        return [None] * len(units)
    wanted = needed(rules.document, key)
    evaluator = Evaluator(
        flags={name: flag for name, flag in rules.flags.items() if name in wanted},
        evaluators=rules.evaluators,
        metadata=rules.metadata,
        killed=rules.killed,
        clock=clock,
    )
    # A route needs some variant: where the flag has none, it takes the default.
    fallback = _default(key, rules) if _routes(key, rules) else None
    return [evaluator.evaluate(key, {**context, "targetingKey": unit}).variant or fallback for unit in units]


def _default(key: str, rules: Rules) -> str | None:
    read = Document(flags=rules.flags, metadata=rules.metadata).flag(key)
    return read.default if read is not None else None


def _routes(key: str, rules: Rules) -> list[dict[str, Any]]:
    """The routes that consult flag *key*: which requests are concerned."""
    return [
        {"position": at, **{name: value for name, value in route.items() if name != "flag"}}
        for at, route in enumerate(rules.document["routes"])
        if isinstance(route, Mapping) and route.get("flag") == key
    ]
