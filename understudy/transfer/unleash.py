"""Features of Unleash as flags, where the meaning is the same.

A feature is a boolean flag: `on` when one of its strategies holds, else `off`. One with variants is a flag
of objects, as Unleash's SDKs give them: ``{"enabled", "name", "payload"}``. A feature that is switched off
keeps its rule and is killed, with the safe variant `off`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from understudy.config.names import check_name
from understudy.config.place import Place, shown
from understudy.errors import Problem
from understudy.transfer.imported import Draft, Imported
from understudy.transfer.rule import Rule, all_of, any_of, chain, field, named, split
from understudy.transfer.unleash_export import Entry, Export, Feature, read_export
from understudy.transfer.unleash_strategies import CHANCE, Segments, read_strategy, unit_of

UNIT: Final = "userId"
OFF: Final = "off"
_OBJECTS: Final = "its value is an object {enabled, name, payload}, as SDKs of Unleash give a variant"


def read_unleash(document: Mapping[str, object], *, environment: str = "", unit: str = UNIT) -> Imported:
    """The features in *document*, an export of Unleash, as they are in *environment*.

    The attribute called *unit* becomes our `targetingKey`. Raises: ConfigError when it is no export, or
    the environment has to be named.
    """
    export = read_export(document, environment)
    segments = Segments(export.segments, unit)
    features = export.features.values()
    drafts = {key: Draft(key=key, unit=unit) for key in export.features}
    read = {one.key: _flag(one, export, segments, drafts[one.key]) for one in features}
    kept = {key: flag for key, flag in read.items() if flag is not None}
    used = named({key: flag.get("targeting") for key, flag in kept.items()})
    return Imported(
        flags=kept,
        evaluators={name: rule for name, rule in segments.rules.items() if name in used},
        killed=tuple(one.key for one in features if one.key in kept and _is_off(one)),
        problems=tuple(problem for one in features for problem in one.place.problems),
        refused=tuple(key for key in read if key not in kept),
        notes=tuple(Problem(path=key, message=note) for key in kept for note in drafts[key].notes),
        moved=tuple(key for key in kept if drafts[key].moves),
    )


def _is_off(feature: Feature) -> bool:
    return not feature.is_enabled and not feature.is_archived


def _flag(feature: Feature, export: Export, segments: Segments, draft: Draft) -> dict[str, Any] | None:
    """The flag that *feature* is; None when something about it has no equal."""
    check_name(feature.key, feature.place.key("name"), "flag key")
    parents = [_parent(entry, export) for entry in feature.dependencies]
    active = [entry for entry in feature.strategies if entry[1].get("disabled") is not True]
    if feature.strategies and not active:
        hint = "delete them, or switch the feature off, before the export"
        feature.place.refuse("all of its strategies are disabled, which not every SDK reads alike", hint)
    conditions = [read_strategy(entry, segments, draft) for entry in active] or [True]
    has_variants = feature.variants or any(entry[1].get("variants") for entry in active)
    if has_variants:
        flag = _of_objects(feature, active, conditions, parents, draft)
    else:
        rule = chain([(all_of([*parents, any_of(conditions)]), "on")], OFF)
        flag = _written({"on": True, OFF: False}, rule)
    metadata = _metadata(feature)
    if feature.place.problems:
        return None
    state = "DISABLED" if feature.is_archived else "ENABLED"
    return {"state": state, **flag, **({"metadata": metadata} if metadata else {})}


def _written(variants: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    targeting = {"targeting": rule} if isinstance(rule, dict) else {}
    return {"variants": dict(variants), "defaultVariant": OFF, **targeting}


def _metadata(feature: Feature) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    if feature.description:
        labels["description"] = feature.description
    if feature.tags:
        labels["tags"] = ", ".join(feature.tags)
    if feature.is_archived:
        labels["archived"] = True
    return labels


def _parent(entry: Entry, export: Export) -> Rule:
    """Whether a feature that another depends on is as it has to be."""
    place, given = entry
    key = given.get("feature")
    parent = export.features.get(key) if isinstance(key, str) else None
    if parent is None or parent.is_archived:
        place.key("feature").refuse(f"the feature {shown(key)} is not in the export, or archived")
        return False
    names = given.get("variants") or []
    asked = {"flag": parent.key}
    if given.get("enabled") is False:
        return {"===": [asked, OFF]}
    if not names:
        return {"!==": [asked, OFF]}
    wanted = [variant_name(str(name)) for _, name in place.key("variants").items(names)]
    return {"in": [asked, wanted]}


def _of_objects(
    feature: Feature,
    active: Sequence[Entry],
    conditions: Sequence[Rule],
    parents: Sequence[Rule],
    draft: Draft,
) -> dict[str, Any]:
    """A flag whose value is the variant as SDKs give it."""
    draft.note(_OBJECTS)
    variants: dict[str, Any] = {}
    own = [bool(entry[1].get("variants")) for entry in active]
    if any(own) and not all(own):
        hint = "give variants to each strategy, or to none, before the export"
        feature.place.refuse("some of its strategies have variants, which not every SDK reads alike", hint)
    if any(own):
        branches = [
            (condition, _choice(_given(entry), _group(entry, feature), variants, draft))
            for entry, condition in zip(active, conditions, strict=True)
        ]
    else:
        branches = [(any_of(conditions), _choice(feature.variants, feature.key, variants, draft))]
    variants[OFF] = {"enabled": False, "name": "disabled"}
    within = chain(branches, OFF)
    needed = all_of(parents)
    return _written(variants, within if needed is True else chain([(needed, within)], OFF))


def _given(strategy: Entry) -> list[Entry]:
    at = strategy[0].key("variants")
    return [(place, place.mapping(variant)) for place, variant in at.items(strategy[1].get("variants") or [])]


def _group(strategy: Entry, feature: Feature) -> str:
    parameters = strategy[1].get("parameters")
    group = parameters.get("groupId") if isinstance(parameters, Mapping) else None
    return str(group or feature.key)


def _choice(given: Sequence[Entry], group: str, variants: dict[str, Any], draft: Draft) -> Rule:
    """Which variant one gets: by an override, else by weight."""
    overrides: list[tuple[Rule, Rule]] = []
    line: list[tuple[Rule, float]] = []
    for place, variant in given:
        name = _variant(place, variant, variants)
        overrides += [(rule, name) for rule in _overrides(place, variant, draft)]
        weight = variant.get("weight", 0)
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1_000_000:
            place.key("weight").refuse(f"{shown(weight)} is no weight", "a whole number from 0")
        elif weight:
            line.append((name, float(weight)))
    return chain(overrides, _drawn(given, group, line, draft))


def _drawn(given: Sequence[Entry], group: str, line: list[tuple[Rule, float]], draft: Draft) -> Rule:
    total = sum(weight for _, weight in line)
    if not total:
        # No variant at all was refused where the list should be.
        for place, _ in given[:1]:
            place.refuse("no variant has a weight")
        return OFF
    if len(line) == 1:
        return line[0][0]
    place, first = given[0]
    unit = unit_of(first.get("stickiness"), place.key("stickiness"), draft)
    if unit is None:
        place.key("stickiness").refuse(f"a variant by chance {CHANCE}", "give it another stickiness")
        return OFF
    draft.moves = True
    return split({"cat": [f"{group}:variant:", unit]}, [(name, weight / total) for name, weight in line])


def _variant(place: Place, given: Mapping[str, object], variants: dict[str, Any]) -> str:
    """The name here of the variant *given*, which is added to *variants*."""
    name = given.get("name")
    if not isinstance(name, str) or not name or variant_name(name) == OFF:
        place.key("name").refuse(f"{shown(name)} cannot be the name of a variant here")
        return OFF
    payload = given.get("payload")
    value = {"enabled": True, "name": name, **({"payload": payload} if payload else {})}
    if variants.setdefault(variant_name(name), value) != value:
        place.refuse(f"there are two variants {name!r} with different payloads", "rename one")
    return variant_name(name)


def variant_name(name: str) -> str:
    """*name* in letters that a metric label and a header field take."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:64] or "variant"


def _overrides(place: Place, variant: Mapping[str, object], draft: Draft) -> list[Rule]:
    found = []
    for at, override in place.key("overrides").items(variant.get("overrides") or []):
        given = at.mapping(override)
        values = [str(value) for _, value in at.key("values").items(given.get("values", []))]
        attribute = field(str(given.get("contextName", "")), at.key("contextName"), unit=draft.unit)
        if values:
            found.append({"in": [{"cat": [attribute]}, values]})
    return found
