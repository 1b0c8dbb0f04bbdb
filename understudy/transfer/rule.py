"""JSONLogic as it is written down: conditions, chains of them, and shares of a number line."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from understudy.config.place import Place

Rule = Any
"""A JSONLogic rule, or the constant True or False that it comes to."""

WHOLE: Final = 100_000
"""What the weights of a split add up to: a share is kept to 0.001 %."""

UNIT: Final = "targetingKey"


def all_of(rules: Sequence[Rule]) -> Rule:
    """Whether all *rules* hold; True for none."""
    left = [rule for rule in rules if rule is not True]
    if any(rule is False for rule in left):
        return False
    return True if not left else left[0] if len(left) == 1 else {"and": left}


def any_of(rules: Sequence[Rule]) -> Rule:
    """Whether one of *rules* holds; False for none."""
    left = [rule for rule in rules if rule is not False]
    if any(rule is True for rule in left):
        return True
    return False if not left else left[0] if len(left) == 1 else {"or": left}


def negated(rule: Rule) -> Rule:
    """Whether *rule* does not hold."""
    return not rule if isinstance(rule, bool) else {"!": [rule]}


def chain(branches: Sequence[tuple[Rule, Rule]], otherwise: Rule) -> Rule:
    """The result of the first of *branches*, each a condition and a result, that holds; else *otherwise*."""
    parts: list[Rule] = []
    for condition, result in branches:
        if condition is not False:
            parts += [condition, result]
    return {"if": [*parts, otherwise]} if parts else otherwise


def field(name: str, place: Place, *, unit: str, is_path: bool = False) -> Rule:
    """The attribute *name* of the context; the one called *unit* is our `targetingKey`.

    In a product where a dot is a part of the name (not *is_path*), such a name is refused at *place*.
    """
    if not name or name.startswith("$flagd"):
        place.refuse(f"{name!r} cannot be an attribute here")
    elif "." in name and not is_path:
        place.refuse(f"the attribute {name!r} has a dot, which leads into an object here", "rename it")
    return {"var": UNIT if name == unit else name}


def named(rules: object) -> set[str]:
    """The shared rules that *rules* name by ``$ref``."""
    found: set[str] = set()
    todo = [rules]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            if isinstance(node.get("$ref"), str):
                found.add(node["$ref"])
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def is_given(value: Rule) -> Rule:
    """Whether the attribute *value* is there and not empty."""
    return {"!": [{"in": [value, [None, ""]]}]}


def split(key: Rule, line: Sequence[tuple[Rule, float]]) -> Rule:
    """The value whose part of *line* (value and share, 1 in all) the *key* falls on."""
    entries = [[value, weight] for (value, _), weight in zip(line, weights(line), strict=True) if weight]
    return {"fractional": [key, *entries]}


def weights(line: Sequence[tuple[Rule, float]]) -> list[int]:
    """The shares of *line* in whole parts of `WHOLE`: ends are rounded, so that no error adds up."""
    ends, total = [0], 0.0
    for _, share in line:
        total += share
        ends.append(round(total * WHOLE))
    return [after - before for before, after in pairwise(ends)]


def included(key: Rule, ranges: Sequence[tuple[float, float]]) -> Rule:
    """Whether *key* falls into one of *ranges* of the line from 0 to 1."""
    line: list[tuple[Rule, float]] = []
    at = 0.0
    for start, end in sorted(ranges):
        start, end = max(start, at), max(min(end, 1.0), at)
        line += [(False, start - at), (True, end - start)]
        at = end
    line.append((False, 1.0 - at))
    inside = sum(weight for (value, _), weight in zip(line, weights(line), strict=True) if value)
    return inside == WHOLE if inside in (0, WHOLE) else split(key, line)
