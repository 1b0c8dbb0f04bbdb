"""A flag from one environment into another: what travels with it, and what of the target stays. Pure.

The definition travels. What says how far the flag has come in the target stays there unless it is asked for:
its state, its weights and its kill switch, and segments that the target has otherwise, as other flags of the
target rest on them and they often name people.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from understudy.errors import FlagNotFound

PARTS: Final = ("state", "weights", "killed", "segments", "prerequisites")
"""What travels only when it is asked for."""

_NEW_STATE: Final = "DISABLED"
"""Of a flag that the target has not had: nobody there gets anything else until somebody says so."""

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """*part* at *place* of the target stays as it is there: ``there``, where the source has ``here``."""

    part: str
    place: str
    here: Any
    there: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """``document`` is the target's with the flag in it. ``flags`` and ``segments`` came along, by name."""

    document: Plain
    flags: tuple[str, ...]
    segments: tuple[str, ...]
    stays: tuple[Stay, ...]
    notes: tuple[str, ...]


def promoted(
    source: Mapping[str, Any], target: Mapping[str, Any], key: str, *, parts: Collection[str] = ()
) -> Promotion:
    """Flag *key* of the rules document *source* in the rules document *target*, with *parts* of ``PARTS``.

    What comes out still has to be checked: a service, or a prerequisite, may not be there. Raises:
    FlagNotFound.
    """
    flags = _mapping(source, "flags")
    if key not in flags:
        raise FlagNotFound(key, tuple(flags))
    document = deepcopy(dict(target))
    there = document["flags"] = _mapping(document, "flags")
    keys = [key, *(_missing(flags, there, key) if "prerequisites" in parts else ())]
    stays: list[Stay] = []
    for name in keys:
        there[name] = _definition(name, flags[name], there.get(name), parts, stays)
    segments = _segments(source, document, keys, parts, stays)
    if "killed" in parts:
        document["killed"] = _killed(source, document, keys)
    return Promotion(
        document=document,
        flags=tuple(keys),
        segments=tuple(segments),
        stays=tuple(stays),
        notes=tuple(_notes(source, document, target, keys, segments)),
    )


def _definition(name: str, here: Any, there: Any, parts: Collection[str], stays: list[Stay]) -> Any:
    if not isinstance(here, Mapping):
        return here
    definition: Plain = deepcopy(dict(here))
    before = there if isinstance(there, Mapping) else {"state": _NEW_STATE}
    if "state" not in parts and definition.get("state") != before.get("state"):
        stays.append(
            Stay(
                part="state",
                place=f"/flags/{pointer(name)}/state",
                here=definition.get("state"),
                there=before.get("state"),
            )
        )
        definition.pop("state", None)
        if "state" in before:
            definition = {"state": before["state"], **definition}
    if "weights" not in parts:
        _keep_weights(name, definition, before, stays)
    return definition


def _keep_weights(name: str, definition: Plain, before: Mapping[str, Any], stays: list[Stay]) -> None:
    """Give *definition* the weights that the target has, where both share out the same in the same order."""
    fresh, old = (list(_drawn(flag.get("targeting"))) for flag in (definition, before))
    if [_shape(arguments) for arguments in fresh] != [_shape(arguments) for arguments in old]:
        return
    for here, there in zip(fresh, old, strict=True):
        if here == there:
            continue
        place = f"/flags/{pointer(name)}/targeting"
        kept = Stay(part="weights", place=place, here=deepcopy(_entries(here)), there=_entries(there))
        stays.append(kept)
        for mine, theirs in zip(_entries(here), _entries(there), strict=True):
            mine[1] = theirs[1]


def _drawn(rule: Any) -> Iterator[list[Any]]:
    """The arguments of every `fractional` in *rule*."""
    for node in _nodes(rule):
        if isinstance(node, dict) and isinstance(node.get("fractional"), list):
            yield node["fractional"]


def _entries(arguments: list[Any]) -> list[list[Any]]:
    """Those of the entries that say what is drawn and its weight in so many words."""
    return [
        entry
        for entry in arguments
        if isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str | bool)
        and type(entry[1]) is int
    ]


def _weights(flag: Any) -> list[list[list[Any]]]:
    return [_entries(arguments) for arguments in _drawn(_targeting(flag))]


def _shape(arguments: list[Any]) -> str:
    """*arguments* without the weights: what is hashed, and what is drawn."""
    entries = _entries(arguments)
    return json.dumps([entry[0] if entry in entries else [entry] for entry in arguments], sort_keys=True)


def _segments(
    source: Mapping[str, Any],
    document: Plain,
    keys: Collection[str],
    parts: Collection[str],
    stays: list[Stay],
) -> list[str]:
    """Bring the segments that the flags *keys* name into *document*; which ones came."""
    here, there = _mapping(source, "$evaluators"), _mapping(document, "$evaluators")
    came = []
    for name in _named_segments(here, [document["flags"][key] for key in keys]):
        if name in there and there[name] != here[name] and "segments" not in parts:
            place = f"/$evaluators/{pointer(name)}"
            stays.append(Stay(part="segments", place=place, here=here[name], there=there[name]))
        elif there.get(name) != here[name]:
            there[name] = deepcopy(here[name])
            came.append(name)
    if there or "$evaluators" in document:
        document["$evaluators"] = there
    return came


def _named_segments(segments: Mapping[str, Any], flags: Collection[Any]) -> list[str]:
    """The *segments* that *flags* name, and those that these name."""
    found: list[str] = []
    waiting = [name for flag in flags for name in _asked(_targeting(flag), "$ref")]
    while waiting:
        name = waiting.pop(0)
        if name in segments and name not in found:
            found.append(name)
            waiting += _asked(segments[name], "$ref")
    return found


def _missing(flags: Mapping[str, Any], there: Mapping[str, Any], key: str) -> list[str]:
    """The prerequisites of *key*, and theirs, that the target has not."""
    found: list[str] = []
    waiting = list(_asked(_targeting(flags[key]), "flag"))
    while waiting:
        name = waiting.pop(0)
        if name in flags and name not in there and name not in (key, *found):
            found.append(name)
            waiting += _asked(_targeting(flags[name]), "flag")
    return found


def _killed(source: Mapping[str, Any], document: Plain, keys: Collection[str]) -> list[str]:
    here, there = source.get("killed") or [], document.get("killed") or []
    return sorted({name for name in there if name not in keys} | {name for name in keys if name in here})


def _notes(
    source: Mapping[str, Any],
    document: Plain,
    target: Mapping[str, Any],
    keys: list[str],
    segments: list[str],
) -> Iterator[str]:
    had = _mapping(target, "flags")
    new = [key for key in keys if key not in had]
    for key in keys:
        if key in had and _weights(had[key]) != _weights(document["flags"][key]):
            yield f"the weights of {key} change: its rule shares out otherwise, or they were asked for"
    off = [key for key in new if _is_off(document["flags"][key])]
    if off:
        yield f"{', '.join(off)} is new there and arrives {_NEW_STATE}; with=state brings the state along"
    for name in segments:
        others = [key for key in had if key not in keys and name in _asked(_targeting(had[key]), "$ref")]
        if others and name in _mapping(target, "$evaluators"):
            yield f"the segment {name} changes for {', '.join(others)}, too"
    here, there = _mapping(source, "metadata"), _mapping(target, "metadata")
    if here.get("hashVersion") != there.get("hashVersion"):
        yield "the two environments hash by different hashVersion: units fall on other variants there"


def _is_off(flag: Any) -> bool:
    return isinstance(flag, Mapping) and flag.get("state") == _NEW_STATE


def _targeting(flag: Any) -> Any:
    return flag.get("targeting") if isinstance(flag, Mapping) else None


def _asked(rule: Any, operation: str) -> list[str]:
    """The names that *operation*, with one name in it, has anywhere in *rule*."""
    found = []
    for node in _nodes(rule):
        if isinstance(node, Mapping) and operation in node:
            name = node[operation]
            name = name[0] if isinstance(name, list) and len(name) == 1 else name
            found += [name] if isinstance(name, str) else []
    return found


def _nodes(rule: Any) -> Iterator[Any]:
    """*rule* and everything in it; without recursion, as it may be nested deeply."""
    waiting = [rule]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Mapping):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _mapping(document: Mapping[str, Any], key: str) -> Plain:
    value = document.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def pointer(name: str) -> str:
    """*name* as a part of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
