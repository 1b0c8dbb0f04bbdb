"""Exports of Unleash, of every age, as one list of features of one environment.

Three kinds exist: what SDKs fetch (``/api/client/features``; strategies stand in their feature), the state
export of versions 3 and 4 and the environment export since 4.22 (strategies stand in a list of their own).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from understudy.config.place import Place, shown
from understudy.errors import ConfigError, Problem

Entry = tuple[Place, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature in one environment; ``place`` has the problems of this feature alone."""

    key: str
    place: Place
    is_enabled: bool
    is_archived: bool
    description: str
    tags: tuple[str, ...]
    strategies: Sequence[Entry]
    variants: Sequence[Entry]
    dependencies: Sequence[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The features of one environment, and the segments (by id) that they name."""

    features: Mapping[str, Feature]
    segments: Mapping[str, Entry]


def read_export(document: Mapping[str, object], environment: str) -> Export:
    """The features in *document* as they are in *environment* (empty: the only one there is).

    Raises: ConfigError when it is no export, or the environment has to be named.
    """
    whole = Place()
    chosen = _environment(document, environment)
    segments = {str(entry.get("id")): (at, entry) for at, entry in _entries(document, "segments", whole)}
    tables = _Tables(document, chosen)
    features: dict[str, Feature] = {}
    for at, entry in _entries(document, "features", whole):
        key = entry.get("name")
        if isinstance(key, str) and key in features:
            at.key("name").refuse(f"there is another feature {key!r}")
        elif isinstance(key, str) and key:
            features[key] = _feature(tables, entry, key, Place(at.path))
        else:
            at.key("name").refuse(f"must be the feature's name, not {shown(key)}")
    if whole.problems:
        raise ConfigError(tuple(whole.problems))
    return Export(features=features, segments=segments)


def _environment(document: Mapping[str, object], wanted: str) -> str:
    """The environment to read; empty when the export is of one without a name."""
    named = {
        str(entry["environment"])
        for name in ("featureEnvironments", "featureStrategies")
        for _, entry in _entries(document, name, Place())
        if entry.get("environment")
    }
    known = ", ".join(sorted(named))
    if wanted and wanted not in named:
        hint = f"there are {known}" if named else "this export is of one environment, without its name"
        raise _refused(f"there is no environment {wanted!r} in it", hint)
    if not wanted and len(named) > 1:
        raise _refused("which environment?", f"--from-environment NAME, one of {known}")
    return wanted or known


class _Tables:
    """The lists of an export that stand beside its features, by the feature they belong to."""

    def __init__(self, document: Mapping[str, object], environment: str) -> None:
        self._document = document
        self._environment = environment
        self.states = self._by_feature("featureEnvironments")
        self.strategies = self._by_feature("featureStrategies")
        self.dependencies = self._by_feature("dependencies")
        self.tags = self._by_feature("featureTags")
        self.segments: dict[str, list[object]] = {}
        for _, link in _entries(document, "featureStrategySegments", Place()):
            self.segments.setdefault(str(link.get("featureStrategyId")), []).append(link.get("segmentId"))

    def _by_feature(self, name: str) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for at, entry in _entries(self._document, name, Place()):
            if entry.get("environment", self._environment) in (self._environment, None, ""):
                found.setdefault(str(entry.get("featureName", entry.get("feature"))), []).append((at, entry))
        return found


def _feature(tables: _Tables, entry: Mapping[str, object], key: str, place: Place) -> Feature:
    here = _inside(tables.states, key, place)
    state = here[0] if here else None
    strategies = _list(entry.get("strategies"), place.key("strategies"))
    strategies += _inside(tables.strategies, key, place)
    own = _list(entry.get("variants"), place.key("variants"))
    variants = _list(state[1].get("variants"), state[0].key("variants")) if state else []
    depends = _list(entry.get("dependencies"), place.key("dependencies"))
    for at, one in _inside(tables.dependencies, key, place):
        depends += _list(one.get("dependencies"), at.key("dependencies"))
    return Feature(
        key=key,
        place=place,
        is_enabled=(state[1] if state else entry).get("enabled") is True,
        is_archived=entry.get("archived") is True or bool(entry.get("archivedAt")),
        description=str(entry.get("description") or ""),
        tags=tuple(str(tag["tagValue"]) for _, tag in tables.tags.get(key, ()) if tag.get("tagValue")),
        strategies=[_with_segments(tables, one) for one in _ordered(strategies)],
        variants=variants or own,
        dependencies=depends,
    )


def _inside(table: Mapping[str, list[Entry]], key: str, place: Place) -> list[Entry]:
    """What *table* has of feature *key*; its problems are the feature's."""
    return [(Place(at.path, place.problems), entry) for at, entry in table.get(key, ())]


def _ordered(strategies: list[Entry]) -> list[Entry]:
    """*strategies* in the order in which they are asked."""

    def order(entry: Entry) -> float:
        value = entry[1].get("sortOrder")
        return value if isinstance(value, int | float) else 0

    return sorted(strategies, key=order)


def _with_segments(tables: _Tables, entry: Entry) -> Entry:
    """A strategy under one name for its name, with the segments that another list gives it."""
    place, strategy = entry
    given = tables.segments.get(str(strategy.get("id")))
    name = strategy.get("strategyName") or strategy.get("name")
    return place, {**strategy, "name": name, **({"segments": given} if given else {})}


def _entries(document: Mapping[str, object], name: str, place: Place) -> list[Entry]:
    return _list(document.get(name), place.key(name))


def _list(value: object, place: Place) -> list[Entry]:
    """The mappings in the list *value*; problems for what is none."""
    if value is None:
        return []
    return [(at, at.mapping(entry)) for at, entry in place.items(value)]


def _refused(message: str, hint: str) -> ConfigError:
    return ConfigError((Problem(path="", message=message, hint=hint),))
