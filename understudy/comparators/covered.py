"""Say what the compare rules in force cover, though it was counted before they came."""

from collections.abc import Sequence

from understudy.comparators.ledger import Ledger
from understudy.comparators.pattern import covers, is_at, meets, parse_pattern, tokens_of
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


def covered_places(ledger: Ledger, rules: Sequence[CompareRule]) -> frozenset[Place]:
    """The places of which *ledger* knows that are covered by *rules*; see `covered`."""
    found: list[Place] = []
    for name in ledger.endpoints() if rules else ():
        meant = [rule for rule in rules if is_meant(rule.endpoint, name[1])]
        if meant:
            cover = _Cover(meant)
            found.extend((*name, *spot) for spot in ledger.places(name) if cover.has(*spot))
    return frozenset(found)


class _Cover:
    """What the rules of one endpoint cover whatever the values are."""

    def __init__(self, rules: Sequence[CompareRule]) -> None:
        self._ignore = [parse_pattern(path) for rule in rules for path in rule.ignore]
        self._only = [parse_pattern(path) for rule in rules for path in rule.only]
        self._lists = [parse_pattern(path) for rule in rules for path in (*rule.unordered, *rule.key)]

    @property
    def is_empty(self) -> bool:
        return not (self._ignore or self._only or self._lists)

    def has(self, path: str, kind: str) -> bool:
        tokens = tokens_of(path)
        if any(covers(pattern, tokens) for pattern in self._ignore):
            return True
        if kind == "order" and any(is_at(pattern, tokens) for pattern in self._lists):
            return True
        rivals = [pattern for pattern in self._only if pattern[0] == tokens[0]]
        return bool(rivals) and not any(meets(pattern, tokens) for pattern in rivals)
