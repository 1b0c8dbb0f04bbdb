"""Imported flags in a rules document: added, or in the place of others, or instead of all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from understudy.errors import ConfigError, Problem
from understudy.transfer.imported import Imported

_DEFAULT_HASH: Final = 2


class Mode(StrEnum):
    """What becomes of flags that are there: a conflict, or those imported win, or none of them stay."""

    ADD = "add"
    MERGE = "merge"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The next rules ``document``, and which flags are new, different, gone, and as they were."""

    document: Mapping[str, Any]
    added: tuple[str, ...]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]


def merged(document: Mapping[str, Any], imported: Imported, mode: Mode) -> Merged:
    """The rules *document* with the *imported* flags in it. Routes and compare rules stay as they are.

    A flag that is killed stays so. Metadata of the imported set that the document has not becomes each
    flag's own, so that no other flag changes. Raises: ConfigError, naming each conflict.
    """
    before = _part(document, "flags")
    is_empty = mode is Mode.REPLACE or not before
    flags = imported.flags if is_empty else dict(_with_metadata(document, imported))
    if mode is Mode.ADD:
        conflicts: tuple[Problem, ...] = (
            *_conflicts(before, flags, "flags"),
            *_segment_conflicts(document, imported),
        )
        if conflicts:
            raise ConfigError(conflicts)
    after = dict(flags) if mode is Mode.REPLACE else {**before, **flags}
    whole = {**document, "flags": after}
    whole["killed"] = [
        *(key for key in document.get("killed") or () if key in after),
        *(key for key in imported.killed if key not in (document.get("killed") or ())),
    ]
    _put(whole, "$evaluators", _evaluators(document, imported, mode))
    if is_empty:
        _put(whole, "metadata", imported.metadata)
    return Merged(
        document=whole,
        added=tuple(key for key in after if key not in before),
        replaced=tuple(key for key in after if key in before and not _is_same(before[key], after[key])),
        removed=tuple(key for key in before if key not in after),
        unchanged=tuple(key for key in flags if key in before and _is_same(before[key], after[key])),
    )


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _put(document: dict[str, Any], name: str, part: Mapping[str, Any]) -> None:
    """*part* in *document* under *name*; an empty one leaves no key behind that was not there."""
    if part:
        document[name] = dict(part)
    else:
        document.pop(name, None)


def _evaluators(document: Mapping[str, Any], imported: Imported, mode: Mode) -> dict[str, Any]:
    kept = {} if mode is Mode.REPLACE else _part(document, "$evaluators")
    return {**kept, **imported.evaluators}


def _segment_conflicts(document: Mapping[str, Any], imported: Imported) -> Iterator[Problem]:
    return _conflicts(_part(document, "$evaluators"), imported.evaluators, "$evaluators")


def _conflicts(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> Iterator[Problem]:
    for key, value in after.items():
        if key in before and not _is_same(before[key], value):
            hint = "--merge takes what is imported, --replace nothing but that"
            yield Problem(
                path=f"{name}.{key}", message="is there already, and says something else", hint=hint
            )


def _with_metadata(document: Mapping[str, Any], imported: Imported) -> Iterator[tuple[str, Any]]:
    """The imported flags with what their set says of all of them, where the document says otherwise."""
    whole = _part(document, "metadata")
    own = {key: value for key, value in imported.metadata.items() if not _has(whole, key, value)}
    if "hashVersion" in whole and "hashVersion" not in imported.metadata:
        own["hashVersion"] = _DEFAULT_HASH
    for key, flag in imported.flags.items():
        labels = flag.get("metadata") if isinstance(flag, Mapping) else None
        if own and isinstance(flag, Mapping) and (labels is None or isinstance(labels, Mapping)):
            yield key, {**flag, "metadata": {**own, **(labels or {})}}
        else:
            yield key, flag


def _has(metadata: Mapping[str, Any], key: str, value: Any) -> bool:
    return key in metadata and _is_same(metadata[key], value)


def _is_same(one: Any, other: Any) -> bool:
    """Whether both say the same; 1, 1.0 and true do not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
