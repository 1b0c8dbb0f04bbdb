"""Tell which compare rules did nothing: a typing error in them, or nothing to forgive yet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from understudy.comparators.ledger import AT, Ledger, Name
from understudy.comparators.pattern import Pattern, leads_to, meets, parse_pattern, tokens_of
from understudy.comparators.rules import CompareRule
from understudy.comparators.templates import is_meant

MOST_NAMED: Final = 3
FORGIVING: Final = ("ignore", "matching", "tolerance")


def notes_on_rules(rules: Sequence[CompareRule], ledger: Ledger, *, enough: int) -> list[str]:
    """Rules that mean no endpoint that was seen, and paths that forgave nothing in *enough* exchanges."""
    names = ledger.endpoints()
    if not rules or not names:
        return []
    strange: list[str] = []
    idle: list[str] = []
    for index, rule in enumerate(rules):
        meant = [name for name in names if is_meant(rule.endpoint, name[1])]
        if not meant:
            strange.append(f"compare[{index}] ({rule.endpoint})")
        elif sum(ledger.exchange(name).get("exchanges", 0) for name in meant) >= enough:
            idle.extend(f"compare[{index}].{where}" for where in _idle_paths(rule, ledger, meant))
    return [
        *_note(strange, "means no endpoint that was seen so far", "mean no endpoint that was seen so far"),
        *_note(idle, "has forgiven nothing so far", "have forgiven nothing so far"),
    ]


def _note(places: Sequence[str], one: str, many: str) -> list[str]:
    if not places:
        return []
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return [f"{', '.join(places[:MOST_NAMED])}{more} {one if len(places) == 1 else many}."]


def _idle_paths(rule: CompareRule, ledger: Ledger, names: Sequence[Name]) -> Iterator[str]:
    """Paths of *rule* at which nothing was forgiven.

    Those inside of lists that are matched by content are passed over: there, nobody counts what is left out.
    """
    lists = [parse_pattern(path) for path in (*rule.unordered, *rule.key)]
    forgiven = [
        tokens_of(path)
        for name in names
        for (path, _), numbers in ledger.places(name).items()
        if numbers[AT["ignored"]]
    ]
    for field in FORGIVING:
        said: Sequence[str] | Mapping[str, object] = getattr(rule, field)
        for position, path in enumerate(said):
            pattern = parse_pattern(path)
            if _is_inside(pattern, lists) or any(meets(pattern, tokens) for tokens in forgiven):
                continue
            yield f"{field}[{path}]" if isinstance(said, Mapping) else f"{field}[{position}] ({path})"


def _is_inside(pattern: Pattern, lists: Sequence[Pattern]) -> bool:
    return any(leads_to(pattern, part) for part in lists)
