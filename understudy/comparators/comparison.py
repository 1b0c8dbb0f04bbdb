"""Compare the answers of one exchange under the compare rules: `Comparison` is the way in."""

from collections.abc import Sequence
from typing import Final

from understudy.comparators.body import compare_bodies
from understudy.comparators.difference import Difference, Token, pointer
from understudy.comparators.expression import Expression, compiled
from understudy.comparators.found import Found
from understudy.comparators.headers import compare_content_types, compare_headers
from understudy.comparators.pattern import Pattern, covers, is_at, leads_to, parse_field, parse_pattern
from understudy.comparators.rules import CompareRule
from understudy.comparators.templates import is_meant
from understudy.comparators.tolerance import Tolerance
from understudy.messages import Answer

MOST_ENDPOINTS: Final = 2000
MOST_NAMED: Final = 25_000
"""Endpoints whose paths are remembered: more than settings, rules and what is learned can name."""

MOST_PATHS: Final = 500
"""Different paths kept apart at one endpoint: each is a few counters in memory and in the store."""

OTHER: Final = "{other}"

ItemKey = tuple[Pattern, ...]
"""Paths, inside an item, of the fields that name it together."""


class EndpointRules:
    """The compare rules of one endpoint, compiled: what they say about a place.

    They add up, whatever their order: what any of them forgives is forgiven, and ``only`` of several names
    what any of them names. Where a list has a key, ``unordered`` says nothing more.
    """

    __slots__ = ("_ignore", "_keys", "_matching", "_only", "_parts", "_tolerances", "_unordered")

    def __init__(self, rules: Sequence[CompareRule]) -> None:
        self._ignore = [parse_pattern(path) for rule in rules for path in rule.ignore]
        self._unordered = [parse_pattern(path) for rule in rules for path in rule.unordered]
        self._only = [parse_pattern(path) for rule in rules for path in rule.only]
        self._parts = {pattern[0] for pattern in self._only}
        self._keys: list[tuple[Pattern, ItemKey]] = [
            (parse_pattern(path), tuple(map(parse_field, fields)))
            for rule in rules
            for path, fields in rule.key.items()
        ]
        self._tolerances: list[tuple[Pattern, Tolerance]] = [
            (parse_pattern(path), tolerance) for rule in rules for path, tolerance in rule.tolerance.items()
        ]
        self._matching: list[tuple[Pattern, Expression]] = [
            (parse_pattern(path), compiled(text)) for rule in rules for path, text in rule.matching.items()
        ]

    def ignored(self, tokens: Sequence[Token]) -> int:
        """How many leading tokens name the ignored branch; 0 when the place counts."""
        for pattern in self._ignore:
            if covers(pattern, tokens):
                return len(pattern)
        if tokens[0] in self._parts and not any(
            covers(pattern, tokens) or leads_to(pattern, tokens) for pattern in self._only
        ):
            return len(tokens)
        return 0

    def forgives(self, tokens: Sequence[Token], primary: object, shadow: object) -> bool:
        """Whether two values may differ like this: both match a pattern, or they are close enough.

        Lists, as a header field that comes several times gives them, value by value.
        """
        if isinstance(primary, list) and isinstance(shadow, list):
            return len(primary) == len(shadow) and all(
                a == b or self.forgives(tokens, a, b) for a, b in zip(primary, shadow, strict=True)
            )
        for pattern, expression in self._matching:
            if is_at(pattern, tokens) and _both_match(expression, primary, shadow):
                return True
        return any(
            is_at(pattern, tokens) and tolerance.accepts(primary, shadow)
            for pattern, tolerance in self._tolerances
        )

    def key_of(self, tokens: Sequence[Token]) -> ItemKey | None:
        """The paths, inside an item, of the fields that name it; None: by position."""
        for pattern, fields in self._keys:
            if is_at(pattern, tokens):
                return fields
        return None

    def is_unordered(self, tokens: Sequence[Token]) -> bool:
        """Whether order means nothing in this list."""
        return any(is_at(pattern, tokens) for pattern in self._unordered)


def _both_match(expression: Expression, primary: object, shadow: object) -> bool:
    return all(
        isinstance(value, str | int | float) and expression.matches(str(value)) for value in (primary, shadow)
    )


class Comparison:
    """Compares answers; compiled once from the rules document.

    Remembers, per endpoint, which paths it has named, so that their number stays bounded; with what the
    Comparison *before* has named, under the rules that were in force then.
    """

    def __init__(self, rules: Sequence[CompareRule] = (), *, before: "Comparison | None" = None) -> None:
        self._rules = tuple(rules)
        self._by_endpoint: dict[str, EndpointRules | None] = {}
        self._paths: dict[str, set[str]] = {} if before is None else before._paths

    def compare(
        self, endpoint: str, primary: Answer, shadow: Answer, *, method: str = "GET"
    ) -> list[Difference]:
        """Where *shadow* differs from *primary*; empty when they are equal.

        What a rule forgives is in the list too, with ``ignored``, so that it can be counted. Volatile
        fields and whatever `UNCOMPARED_HEADERS` names are not. Where the statuses differ, the other
        fields and the insides of the bodies are not compared: they belong to two different outcomes.
        Never raises, on any content. *method* is the request's: HEAD answers have no body.
        """
        rules = self._rules_of(endpoint)
        found = Found(rules)
        is_head = method == "HEAD" or endpoint.startswith("HEAD ")
        is_same_outcome = primary.status == shadow.status
        if not is_same_outcome:
            found.add(("status",), "status", primary.status, shadow.status)
            is_same_outcome = not found.has("/status", "status")
        compare_content_types(found, primary, shadow)
        if is_same_outcome:
            compare_headers(found, primary, shadow, is_head=is_head)
        if not is_head:
            compare_bodies(found, primary, shadow, rules=rules, whole=not is_same_outcome)
        return self._bounded(endpoint, found.list())

    def _rules_of(self, endpoint: str) -> EndpointRules | None:
        if not self._rules:
            return None
        if endpoint not in self._by_endpoint:
            if len(self._by_endpoint) >= MOST_ENDPOINTS:
                self._by_endpoint.clear()
            rules = [rule for rule in self._rules if is_meant(rule.endpoint, endpoint)]
            self._by_endpoint[endpoint] = EndpointRules(rules) if rules else None
        return self._by_endpoint[endpoint]

    def _bounded(self, endpoint: str, differences: list[Difference]) -> list[Difference]:
        if not differences:
            return differences
        known = self._paths.get(endpoint)
        if known is None:
            if len(self._paths) >= MOST_NAMED:
                self._paths.clear()
            known = self._paths[endpoint] = set()
        if len(known) + len(differences) <= MOST_PATHS:
            known.update(difference.path for difference in differences)
            return differences
        return _fold(differences, known)


def _fold(differences: list[Difference], known: set[str]) -> list[Difference]:
    """Give paths beyond the bound one name; a path still stands at most once per kind."""
    kept: dict[tuple[str, str], Difference] = {}
    for difference in differences:
        path = difference.path
        if path not in known:
            if len(known) < MOST_PATHS:
                known.add(path)
            else:
                path = pointer((*path.split("/")[1:2], OTHER))
        seen = kept.get((path, difference.kind))
        if seen is None or (seen.ignored and not difference.ignored):
            kept[path, difference.kind] = Difference(
                path=path,
                kind=difference.kind,
                primary=difference.primary,
                shadow=difference.shadow,
                at=difference.at,
                ignored=difference.ignored,
            )
    return list(kept.values())
