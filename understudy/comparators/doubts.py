"""What compare rules say that is allowed, but hardly meant: for `understudy check`."""

from collections.abc import Iterator, Sequence
from typing import Final

from understudy.comparators.headers import UNCOMPARED_HEADERS, VOLATILE_HEADERS
from understudy.comparators.pattern import Pattern, covers, meant, parse_pattern
from understudy.comparators.rules import CompareRule
from understudy.comparators.templates import is_meant

BY_VALUE: Final = ("matching", "tolerance")
NAMED: Final = ("matching", "unordered", "key", "tolerance", "only")

Entry = tuple[int, str, str, Pattern]
"""Index of the rule, its field, where the path stands, and what it means."""


def doubts(rules: Sequence[CompareRule]) -> Iterator[str]:
    """One sentence for each, with the place first: ``compare[0].ignore[1]: …``."""
    entries = list(_entries(rules))
    for entry in entries:
        yield from _about_place(entry)
    for index, rule in enumerate(rules):
        parts = {parse_pattern(path)[0] for path in rule.only}
        if parts == {"status"}:
            yield f"compare[{index}].only: /status alone leaves the rest compared; ignore leaves it out"
    yield from _about_each_other(rules, entries)


def _entries(rules: Sequence[CompareRule]) -> Iterator[Entry]:
    for index, rule in enumerate(rules):
        for name in ("ignore", *NAMED):
            value = getattr(rule, name)
            for position, path in enumerate(value):
                where = f"[{path}]" if isinstance(value, dict) else f"[{position}]"
                yield index, name, f"compare[{index}].{name}{where}", parse_pattern(path)


def _about_place(entry: Entry) -> Iterator[str]:
    _, name, where, pattern = entry
    if pattern[0] == "headers":
        field = pattern[1].encode("latin-1", "replace")
        if field in UNCOMPARED_HEADERS:
            yield f"{where}: {pattern[1]} is never compared"
        elif field in VOLATILE_HEADERS and name in (*BY_VALUE, "only"):
            yield f"{where}: the value of {pattern[1]} is forgiven anyway; whether it is there is compared"
    elif pattern == ("body",) and name == "ignore":
        yield f"{where}: nothing of the body is compared"
    elif pattern[:2] in (("body", "header"), ("body", "header*")):
        yield f"{where}: names a field of the body; did you mean /headers/…?"
    elif any("[" in part or part.startswith("$") for part in pattern[1:]):
        text = "/" + "/".join(pattern[1:])
        yield f"{where}: names a key with these very signs in it; did you mean {meant(text) or '/a/*/b'}?"


def _about_each_other(rules: Sequence[CompareRule], entries: Sequence[Entry]) -> Iterator[str]:
    ignored = [entry for entry in entries if entry[1] == "ignore"]
    keyed = [entry for entry in entries if entry[1] == "key"]
    for index, name, where, pattern in entries:
        endpoint = rules[index].endpoint
        if name in NAMED:
            for other, _, there, wider in ignored:
                if covers(wider, pattern) and is_meant(rules[other].endpoint, endpoint):
                    yield f"{where}: says nothing more, because {there} ignores it"
                    break
        if name == "unordered":
            for other, _, there, same in keyed:
                if same == pattern and is_meant(rules[other].endpoint, endpoint):
                    yield f"{where}: says nothing more, because {there} matches the items"
                    break
