"""Features of GrowthBook as flags, where the meaning is the same.

https://docs.growthbook.io/lib/build-your-own. The rules of a feature become one chain; an experiment or a
rollout is a line from 0 to 1 there and here, hashed by FNV-1a there and murmur3 here, so units move.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.config.names import check_name
from understudy.config.place import Place, shown
from understudy.decide import Evaluator
from understudy.errors import ConfigError, Problem
from understudy.transfer.conditions import Conditions
from understudy.transfer.growthbook_values import Values, values_of
from understudy.transfer.imported import Draft, Imported
from understudy.transfer.rule import Rule, all_of, chain, field, included, is_given, named, negated, split

UNIT: Final = "id"
_KNOWN: Final = frozenset(
    [
        "id",
        "condition",
        "parentConditions",
        "coverage",
        "force",
        "variations",
        "key",
        "weights",
        "namespace",
        "hashAttribute",
        "hashVersion",
        "range",
        "ranges",
        "meta",
        "filters",
        "seed",
        "name",
        "phase",
        "tracks",
        "fallbackAttribute",
        "disableStickyBucketing",
        "bucketVersion",
        "minBucketVersion",
    ]
)
_STICKY: Final = "sticky bucketing is not kept: a unit that was held in a variation is drawn like any other"
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feature:
    key: str
    place: Place
    given: Mapping[str, object]
    is_enabled: bool
    labels: Mapping[str, Any]
    values: Values
    draft: Draft


def read_growthbook(document: Mapping[str, object], *, environment: str = "", unit: str = UNIT) -> Imported:
    """The features in *document*: what SDKs fetch (``/api/features/KEY``), or a list of the REST API,
    of which *environment* is read. The attribute called *unit* becomes our `targetingKey`.

    Raises: ConfigError when it is no such document, or the environment has to be named.
    """
    features = {one.key: one for one in _features(document, environment, unit)}
    shared: dict[str, Rule] = {}
    groups = document.get("savedGroups")
    known = groups if isinstance(groups, Mapping) else {}
    read = {key: _Reader(one, features, known, shared).flag() for key, one in features.items()}
    kept = {key: flag for key, flag in read.items() if flag is not None}
    used = named({key: flag.get("targeting") for key, flag in kept.items()})
    return Imported(
        flags=kept,
        evaluators={name: rule for name, rule in shared.items() if name in used},
        killed=tuple(key for key in kept if not features[key].is_enabled),
        problems=tuple(problem for one in features.values() for problem in one.place.problems),
        refused=tuple(key for key in read if key not in kept),
        notes=tuple(Problem(path=key, message=note) for key in kept for note in features[key].draft.notes),
        moved=tuple(key for key in kept if features[key].draft.moves),
    )


def _features(document: Mapping[str, object], environment: str, unit: str) -> list[_Feature]:
    given = document.get("features")
    if "encryptedFeatures" in document:
        hint = "export the features of an SDK connection without encryption"
        raise _refused("encryptedFeatures", "cannot be read without their key", hint)
    if isinstance(given, list):
        return [_listed(entry, Place(f"features[{n}]"), environment, unit) for n, entry in enumerate(given)]
    if environment:
        raise _refused("", "this export is of one environment", "leave out --from-environment")
    found = Place().key("features").mapping(given)
    return [
        _feature(str(key), entry, Place().key("features").key(str(key)), unit) for key, entry in found.items()
    ]


def _feature(
    key: str,
    value: object,
    place: Place,
    unit: str,
    *,
    is_enabled: bool = True,
    labels: Mapping[str, Any] | None = None,
) -> _Feature:
    own = Place(place.path)
    given = own.mapping(value)
    check_name(key, own, "flag key")
    return _Feature(
        key=key,
        place=own,
        given=given,
        is_enabled=is_enabled,
        labels=labels or {},
        values=values_of(given, own),
        draft=Draft(key=key, unit=unit),
    )


def _listed(value: object, place: Place, environment: str, unit: str) -> _Feature:
    """A feature of the REST API's list; its definition for SDKs stands in each environment, as text."""
    entry = value if isinstance(value, Mapping) else {}
    environments = entry.get("environments")
    known = environments if isinstance(environments, Mapping) else {}
    name = environment or (next(iter(known)) if len(known) == 1 else "")
    state = known.get(name)
    if not isinstance(state, Mapping):
        names = ", ".join(map(str, known)) or "none"
        raise _refused(place.path, "which environment?", f"--from-environment NAME, one of {names}")
    at = place.key("environments").key(name).key("definition")
    try:
        definition = json.loads(str(state.get("definition", "")))
    except ValueError:
        raise _refused(at.path, "is no JSON", "export the features of an SDK connection") from None
    labels = {label: entry[label] for label in ("description", "owner") if entry.get(label)}
    tags = entry.get("tags")
    if isinstance(tags, list) and tags:
        labels["tags"] = ", ".join(map(str, tags))
    return _feature(
        str(entry.get("id", "")), definition, at, unit, is_enabled=state.get("enabled") is True, labels=labels
    )


class _Reader:
    """Makes one feature a flag."""

    def __init__(
        self,
        feature: _Feature,
        features: Mapping[str, _Feature],
        groups: Mapping[str, object],
        shared: dict[str, Rule],
    ) -> None:
        self._feature = feature
        self._features = features
        self._draft = feature.draft
        self._groups, self._shared = groups, shared
        self._conditions = Conditions(groups, shared, feature.draft)
        self._has_gate = False

    def flag(self) -> dict[str, Any] | None:
        """The flag; None when something about the feature has no equal."""
        place, given, values = self._feature.place, self._feature.given, self._feature.values
        branches = [
            branch
            for at, entry in place.key("rules").items(given.get("rules") or [])
            for branch in self._rule(at.mapping(entry), at)
        ]
        default = given.get("defaultValue")
        name = values.name(default, place.key("defaultValue")) if default is not None else None
        if not values.variants:
            place.refuse("has no value at all")
        if place.problems:
            return None
        rule = chain(branches, name)
        flag: dict[str, Any] = {"state": "ENABLED", "variants": values.variants}
        # A gate that is closed gives no value, so null in the rule must not mean the default one.
        if name is not None and not self._has_gate:
            flag["defaultVariant"] = name
        if isinstance(rule, dict):
            flag["targeting"] = rule
        labels = {**self._feature.labels, **({"safeVariant": name} if name and self._has_gate else {})}
        return {**flag, **({"metadata": labels} if labels else {})}

    def _rule(self, given: Mapping[str, object], place: Place) -> list[tuple[Rule, Rule]]:
        place.known_keys(given, _KNOWN)
        gates, parents = self._parents(given, place)
        own = self._conditions.read(given.get("condition") or {}, place.key("condition"))
        filters = self._filters(given, place)
        if "force" in given:
            share, result = self._rollout(given, place), self._feature.values.name(given["force"], place)
        elif "variations" in given:
            share, result = self._experiment(given, place)
        else:
            place.refuse("neither forces a value nor has variations")
            return []
        if given.get("bucketVersion") or given.get("minBucketVersion") or given.get("fallbackAttribute"):
            self._draft.note(_STICKY)
        return [*((negated(gate), None) for gate in gates), (all_of([*parents, own, filters, share]), result)]

    def _parents(self, given: Mapping[str, object], place: Place) -> tuple[list[Rule], list[Rule]]:
        """The prerequisites that close the whole feature, and those of this rule alone."""
        gates: list[Rule] = []
        parents: list[Rule] = []
        for at, entry in place.key("parentConditions").items(given.get("parentConditions") or []):
            parent = at.mapping(entry)
            rule = self._parent(parent, at)
            (gates if parent.get("gate") else parents).append(rule)
        self._has_gate = self._has_gate or bool(gates)
        return gates, parents

    def _parent(self, given: Mapping[str, object], place: Place) -> Rule:
        """Whether another feature's value is as wanted: its variant is one of those for which it is."""
        key = given.get("id")
        parent = self._features.get(key) if isinstance(key, str) else None
        if parent is None:
            place.key("id").refuse(f"the feature {shown(key)} is not in the export")
            return False
        groups: dict[str, Rule] = {}
        reader = Conditions(self._groups, groups, Draft(key=self._feature.key, unit=""))
        rule = reader.read(given.get("condition") or {}, place.key("condition"))
        wanted = {"variants": {"yes": True, "no": False}, "targeting": chain([(rule, "yes")], "no")}
        asked = Evaluator(flags={"wanted": wanted}, evaluators=groups)
        possible = [(None, None), *parent.values.variants.items()]
        names = [name for name, value in possible if asked.evaluate("wanted", {"value": value}).value is True]
        return {"in": [{"flag": parent.key}, names]} if names else False

    def _attribute(self, name: object, place: Place) -> Rule:
        return field(str(name or "id"), place, unit=self._draft.unit)

    def _inside(self, attribute: Rule, seed: object, version: object, ranges: Sequence[Range]) -> Rule:
        """Whether the unit in *attribute* falls into one of *ranges* of the line of *seed*."""
        rule = included(_key(attribute, seed, version), ranges)
        self._draft.moves = self._draft.moves or isinstance(rule, dict)
        return is_given(attribute) if rule is True else rule

    def _filters(self, given: Mapping[str, object], place: Place) -> Rule:
        rules = []
        for at, entry in place.key("filters").items(given.get("filters") or []):
            one = at.mapping(entry)
            attribute = self._attribute(one.get("attribute"), at.key("attribute"))
            ranges = [_range(pair, where) for where, pair in at.key("ranges").items(one.get("ranges", []))]
            rules.append(self._inside(attribute, one.get("seed", ""), one.get("hashVersion") or 2, ranges))
        return all_of(rules)

    def _rollout(self, given: Mapping[str, object], place: Place) -> Rule:
        if given.get("range") is None and given.get("coverage") is None:
            return True
        attribute = self._attribute(given.get("hashAttribute"), place.key("hashAttribute"))
        seed = given.get("seed") or self._feature.key
        if given.get("range") is not None:
            ranges = [_range(given["range"], place.key("range"))]
        else:
            ranges = [(0.0, _share(given["coverage"], place.key("coverage")))]
        return self._inside(attribute, seed, given.get("hashVersion") or 1, ranges)

    def _experiment(self, given: Mapping[str, object], place: Place) -> tuple[Rule, Rule]:
        """Who takes part in an experiment, and the variation of those who do."""
        values = place.key("variations").items(given["variations"])
        names = [self._feature.values.name(value, at) for at, value in values]
        if len(names) < 2:
            place.key("variations").refuse("an experiment has two variations at least", "force a value")
            return False, None
        for at, entry in place.key("meta").items(given.get("meta") or []):
            if at.mapping(entry).get("passthrough"):
                at.key("passthrough").refuse("a variation that only holds units back cannot be said")
        attribute = self._attribute(given.get("hashAttribute"), place.key("hashAttribute"))
        seed = given.get("seed") or given.get("key") or self._feature.key
        version = given.get("hashVersion") or 1
        ranges = _ranges(given, len(names), place)
        part = self._inside(attribute, seed, version, [(start, end) for start, end in ranges if end > start])
        drawn = _line(names, ranges, place)
        space = self._namespace(given, attribute, place)
        if len(drawn) == 1:
            return all_of([space, part]), drawn[0][0]
        self._draft.moves = True
        return all_of([space, part]), split(_key(attribute, seed, version), drawn)

    def _namespace(self, given: Mapping[str, object], attribute: Rule, place: Place) -> Rule:
        space = given.get("namespace")
        if space is None or given.get("filters"):
            return True
        at = place.key("namespace")
        if not isinstance(space, list) or len(space) != 3:
            at.refuse("must be a list of a name, a start and an end")
            return True
        return self._inside(attribute, f"__{space[0]}", 1, [_range(space[1:], at)])


def _key(attribute: Rule, seed: object, version: object) -> Rule:
    """What is hashed: rules with one seed stay on one line, as they do in GrowthBook."""
    return {"cat": [f"{seed}:{version}:", attribute]}


def _ranges(given: Mapping[str, object], count: int, place: Place) -> list[Range]:
    """The part of the line of each variation, as GrowthBook lays them out."""
    if given.get("ranges") is not None:
        ranges = [_range(pair, at) for at, pair in place.key("ranges").items(given["ranges"])]
        if len(ranges) != count:
            place.key("ranges").refuse(f"has {len(ranges)} ranges for {count} variations")
        return ranges
    coverage = given.get("coverage")
    share = 1.0 if coverage is None else _share(coverage, place.key("coverage"))
    weights = [_share(weight, at) for at, weight in place.key("weights").items(given.get("weights") or [])]
    if len(weights) != count or not 0.99 <= sum(weights) <= 1.01:
        weights = [1 / count] * count
    found, start = [], 0.0
    for weight in weights:
        found.append((start, start + share * weight))
        start += weight
    return found


def _line(names: Sequence[str], ranges: Sequence[Range], place: Place) -> list[tuple[Rule, float]]:
    """The line from 0 to 1 with the variations on it; what lies between them goes to the one before."""
    line: list[tuple[Rule, float]] = []
    at = 0.0
    parts = sorted(
        (start, end, name) for (start, end), name in zip(ranges, names, strict=False) if end > start
    )
    if not parts:
        place.refuse("no unit takes part in it", "take the rule away")
        return [(None, 1.0)]
    for (start, end, name), following in zip(parts, [*parts[1:], (1.0, 1.0, "")], strict=True):
        if start < at - 1e-9:
            place.key("ranges").refuse("overlap, so that the order of the variations decides")
        until = max(end, following[0])
        line.append((name, until - (0.0 if not line else at)))
        at = until
    return line


def _range(value: object, place: Place) -> Range:
    pair = value if isinstance(value, list) and len(value) == 2 else None
    if pair is None:
        place.refuse(f"must be a start and an end, not {shown(value)}", "like [0, 0.5]")
        return 0.0, 0.0
    return _share(pair[0], place.item(0)), _share(pair[1], place.item(1))


def _share(value: object, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        place.refuse(f"must be a number from 0 to 1, not {shown(value)}")
        return 0.0
    return min(max(float(value), 0.0), 1.0)


def _refused(path: str, message: str, hint: str) -> ConfigError:
    return ConfigError((Problem(path=path, message=message, hint=hint),))
