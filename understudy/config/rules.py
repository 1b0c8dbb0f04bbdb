"""The rules document: flags, routes and compare rules, accepted whole or refused whole.

`parse_rules` is the one gate: workers, admin API and command line all pass through it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from understudy.comparators import CompareRule, parse_compare_rules
from understudy.config.flags import read_flags
from understudy.config.place import Place, Refused
from understudy.config.plain import plain
from understudy.config.routes import read_known, read_routes
from understudy.decide import Document, Route, check_routing, check_shared
from understudy.errors import ConfigError

RULES_KEYS = ("flags", "$evaluators", "metadata", "routes", "compare", "killed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A rules document, read.

    ``document`` is the plain document itself (what ``GET /api/v1/rules`` shows): ``flags``, ``routes``,
    ``compare`` and ``killed`` always, ``$evaluators`` and ``metadata`` when given. The other fields
    are its parts, as `decide.compile_rules` and `comparators.Comparison` take them.
    """

    flags: Mapping[str, Any] = field(default_factory=dict)
    evaluators: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    compare: tuple[CompareRule, ...] = ()
    killed: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(
        default_factory=lambda: {"flags": {}, "routes": [], "compare": [], "killed": []}
    )


def parse_rules(document: object, *, services: Collection[str], before: Rules | None = None) -> Rules:
    """The rules that *document* says, in which every named service is one of *services*.

    Flags that are as in *before*, rules that were accepted, are not checked again by themselves; parts that
    are as a whole are not even copied, so that a kill switch among 10,000 flags takes a fifth of the time.

    Raises: ConfigError with every mistake found; never anything else, whatever *document* is.
    """
    place = Place()
    copied = _plain(document, place, before)
    if isinstance(copied, Mapping):
        place.known_keys(copied, RULES_KEYS)
    rules = read_rules(copied, place, services=services, before=before)
    if place.problems:
        raise ConfigError(tuple(place.problems))
    return rules


def read_rules(
    document: object, place: Place, *, services: Collection[str], before: Rules | None = None
) -> Rules:
    """The parts of the plain *document* that could be read; problems at *place* for the rest.

    Keys that are not of a rules document are left alone.
    """
    given = {key: value for key, value in place.mapping(document).items() if key in RULES_KEYS}
    whole: dict[str, Any] = {"flags": {}, "routes": [], "compare": [], "killed": [], **given}
    flags = _mapping(whole["flags"])
    evaluators = place.key("$evaluators").mapping(whole.get("$evaluators", {}))
    metadata = place.key("metadata").mapping(whole.get("metadata", {}))
    known = len(place.problems)
    routes = read_routes(whole["routes"], place.key("routes"), flags=flags, services=services)
    definitions = Document(flags=flags, evaluators=evaluators, metadata=metadata)
    read_flags(
        whole["flags"],
        place.key("flags"),
        document=definitions,
        routing=_routing(whole["routes"]),
        services=services,
        checked=() if before is None else definitions.unchanged(_definitions(before)),
    )
    for problem in check_shared(definitions):
        Place(problem.path, place.problems).refuse(problem.message, problem.hint)
    killed = _killed(whole["killed"], place.key("killed"), flags)
    rules = Rules(
        flags=flags,
        evaluators=evaluators,
        metadata=metadata,
        routes=routes,
        compare=_compare(whole["compare"], place.key("compare")),
        killed=killed,
        document=whole,
    )
    if len(place.problems) == known:
        _check_routing(rules, place)
    return rules


def _plain(document: object, place: Place, before: Rules | None) -> object:
    """*document* as plain values, with the parts of *before* that it has again."""
    if before is None or not isinstance(document, Mapping):
        return plain(document, place)
    known = {name: part for name, part in before.document.items() if _is_same(document.get(name), part)}
    fresh = plain({name: part for name, part in document.items() if name not in known}, place)
    copied = fresh if isinstance(fresh, Mapping) else {}
    return {name: known.get(name, copied.get(name)) for name in document if name in known or name in copied}


def _is_same(one: object, other: object) -> bool:
    """As text: 1, 1.0 and true are equal, but not the same rule."""
    try:
        return orjson.dumps(one) == orjson.dumps(other)
    except TypeError:
        return False


def _definitions(rules: Rules) -> Document:
    return Document(flags=rules.flags, evaluators=rules.evaluators, metadata=rules.metadata)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _routing(routes: object) -> frozenset[str]:
    """The flags that any route names, whether or not the route can be read."""
    entries = routes if isinstance(routes, list) else []
    flags = [entry.get("flag") for entry in entries if isinstance(entry, Mapping)]
    return frozenset(flag for flag in flags if isinstance(flag, str))


def _killed(value: object, place: Place, flags: Collection[str]) -> tuple[str, ...]:
    killed: list[str] = []
    for at, entry in place.items(value):
        if place.is_full:
            break
        try:
            key = read_known(entry, flags, "flag")
        except Refused as refused:
            at.refuse(refused.message, refused.hint)
            continue
        if key in killed:
            at.refuse(f"{key} stands here twice")
        killed.append(key)
    return tuple(killed)


def _compare(value: object, place: Place) -> tuple[CompareRule, ...]:
    entries = [entry for _, entry in place.items(value)]
    rules, problems = parse_compare_rules(entries)
    for problem in problems:
        hint = problem.hint if " " in problem.hint or not problem.hint else f"did you mean {problem.hint}"
        Place(place.path + problem.path, place.problems).refuse(problem.message, hint)
    return rules


def _check_routing(rules: Rules, place: Place) -> None:
    for problem in check_routing(flags=rules.flags, routes=rules.routes):
        Place(problem.path, place.problems).refuse(problem.message, problem.hint)
