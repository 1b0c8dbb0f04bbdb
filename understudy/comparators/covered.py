"""Say what the compare rules in force cover, though it was counted before they came."""

from collections.abc import Iterable, Sequence

from understudy.comparators.evidence import Key
from understudy.comparators.pattern import ANY, Pattern, covers, fits, is_at, parse_pattern, tokens_of
from understudy.comparators.rules import CompareRule
from understudy.comparators.templates import is_meant

Place = tuple[str, str, str, str]
"""(service, endpoint, path, kind)."""


def covered(rules: Sequence[CompareRule], endpoint: str, path: str, kind: str) -> bool:
    """Whether nothing of *kind* at *path*, as a report names it, would count any more at *endpoint*.

    True for what ``ignore`` names, for what ``only`` leaves out, and for the order of a list with
    ``unordered`` or ``key``. What ``matching`` and ``tolerance`` forgive hangs on the values, which
    nobody has any more.
    """
    return _Cover([rule for rule in rules if is_meant(rule.endpoint, endpoint)]).has(path, kind)


def covered_places(keys: Iterable[Key], rules: Sequence[CompareRule]) -> frozenset[Place]:
    """The places among the *keys* of evidence that are covered by *rules*; see `covered`."""
    if not rules:
        return frozenset()
    covers_of: dict[str, _Cover] = {}
    places = {(key[1], key[2], key[3], key[4]) for key in keys if key[0] == "difference" and len(key) == 6}
    for _, endpoint, _, _ in places:
        if endpoint not in covers_of:
            covers_of[endpoint] = _Cover([rule for rule in rules if is_meant(rule.endpoint, endpoint)])
    return frozenset(place for place in places if covers_of[place[1]].has(place[2], place[3]))


class _Cover:
    """What the rules of one endpoint cover whatever the values are."""

    def __init__(self, rules: Sequence[CompareRule]) -> None:
        self._ignore = [parse_pattern(path) for rule in rules for path in rule.ignore]
        self._only = [parse_pattern(path) for rule in rules for path in rule.only]
        self._lists = [parse_pattern(path) for rule in rules for path in (*rule.unordered, *rule.key)]

    def has(self, path: str, kind: str) -> bool:
        tokens = tokens_of(path)
        if any(covers(pattern, tokens) for pattern in self._ignore):
            return True
        if kind == "order" and any(is_at(pattern, tokens) for pattern in self._lists):
            return True
        rivals = [pattern for pattern in self._only if pattern[0] == tokens[0]]
        return bool(rivals) and not any(_meets(pattern, tokens) for pattern in rivals)


def _meets(pattern: Pattern, tokens: Sequence[str]) -> bool:
    """Whether some place that *tokens* stands for lies on the way to *pattern*, or below it."""
    return all(_may_fit(part, token) for part, token in zip(pattern, tokens, strict=False))


def _may_fit(part: str, token: str) -> bool:
    return fits(part, token) or token == ANY or (token[:1] == "{" and token[-1:] == "}")
