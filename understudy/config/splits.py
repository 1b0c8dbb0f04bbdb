"""What a targeting rule can come to, read off its text: variants it names, and how it splits the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One ``fractional``: variant and weight in its order; a weight is None when a rule computes it."""

    weights: tuple[tuple[str, int | None], ...]

    def share(self, variant: str) -> float | None:
        """The share of units that get *variant*, 0 to 1; None when it cannot be told."""
        numbers = [weight for _, weight in self.weights if weight is not None]
        total = sum(numbers)
        if len(numbers) < len(self.weights) or total <= 0:
            return None
        return sum(weight or 0 for name, weight in self.weights if name == variant) / total


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Everything a rule may answer: ``named`` outright, by ``splits``, or what only running it tells."""

    named: list[str] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    is_open: bool = False
    """Whether a part of the rule computes its answer."""
    may_default: bool = False
    """Whether a branch answers nothing, so that the default variant is taken."""


def outcomes(targeting: object, evaluators: Mapping[str, Any]) -> Outcomes:
    """The outcomes of *targeting*, following ``if`` and ``$ref`` to their ends."""
    found = Outcomes()
    _follow(targeting, evaluators, found, frozenset())
    return found


def _follow(rule: object, evaluators: Mapping[str, Any], found: Outcomes, seen: frozenset[str]) -> None:
    if rule is None:
        found.may_default = True
    elif isinstance(rule, str | bool):
        found.named.append(rule if isinstance(rule, str) else str(rule).lower())
    elif isinstance(rule, Mapping) and len(rule) == 1:
        ((operator, arguments),) = rule.items()
        _operation(operator, arguments, evaluators, found, seen)
    else:
        found.is_open = True


def _operation(
    operator: str, arguments: object, evaluators: Mapping[str, Any], found: Outcomes, seen: frozenset[str]
) -> None:
    if operator in {"if", "?:"} and isinstance(arguments, Sequence) and not isinstance(arguments, str):
        for result in _results(arguments):
            _follow(result, evaluators, found, seen)
    elif operator == "fractional" and isinstance(arguments, Sequence) and not isinstance(arguments, str):
        _split(arguments, evaluators, found, seen)
    elif (
        operator == "$ref"
        and isinstance(arguments, str)
        and arguments in evaluators
        and arguments not in seen
    ):
        _follow(evaluators[arguments], evaluators, found, seen | {arguments})
    else:
        found.is_open = True


def _results(arguments: Sequence[object]) -> list[object]:
    """What an ``if`` may answer: every second argument, and the last when it has no condition."""
    results = list(arguments[1::2])
    results.append(arguments[-1] if len(arguments) % 2 else None)
    return results


def _split(
    arguments: Sequence[object], evaluators: Mapping[str, Any], found: Outcomes, seen: frozenset[str]
) -> None:
    entries = [entry for entry in arguments if isinstance(entry, list) and entry]
    weights: list[tuple[str, int | None]] = []
    for entry in entries:
        weight = entry[1] if len(entry) > 1 else 1
        known = weight if isinstance(weight, int) and not isinstance(weight, bool) else None
        if isinstance(entry[0], str):
            weights.append((entry[0], known))
        else:
            weights.append(("", known))
            _follow(entry[0], evaluators, found, seen)
    found.splits.append(Split(weights=tuple(weights)))


def needs_unit(rule: object, evaluators: Mapping[str, Any], flags: Mapping[str, Any]) -> bool:
    """Whether *rule* looks at the unit: by name, in a ``fractional`` without a key of its own, or through
    a shared rule or another flag that does."""
    if isinstance(rule, list):
        return any(isinstance(part, list | Mapping) and needs_unit(part, evaluators, flags) for part in rule)
    if not isinstance(rule, Mapping):
        return False
    parts = rule.get("fractional")
    if isinstance(parts, list) and parts and isinstance(parts[0], list):
        return True
    if rule.get("var") in ("targetingKey", ["targetingKey"]):
        return True
    name, asked = rule.get("$ref"), rule.get("flag")
    if isinstance(name, str) and name in evaluators:
        others = {other: part for other, part in evaluators.items() if other != name}
        return needs_unit(evaluators[name], others, flags)
    if isinstance(asked, list) and len(asked) == 1:
        (asked,) = asked
    if isinstance(asked, str) and isinstance(flags.get(asked), Mapping):
        rest = {other: flag for other, flag in flags.items() if other != asked}
        return needs_unit(flags[asked].get("targeting"), evaluators, rest)
    return any(needs_unit(part, evaluators, flags) for part in rule.values())
