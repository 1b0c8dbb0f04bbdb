"""flagd's definition format, in and out: what stock providers read, and what another store takes."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from understudy.config.place import Place
from understudy.errors import ConfigError, Problem
from understudy.transfer.imported import Imported

SCHEMA: Final = "https://flagd.dev/schema/v0/flags.json"
_PARTS: Final = ("flags", "$evaluators", "metadata")


def read_flagd(document: Mapping[str, object]) -> Imported:
    """The flags of *document*: a file in flagd's format, a rules document or a whole configuration.

    They are taken as they stand; whether they are right is for the rules they come into. Raises: ConfigError.
    """
    place = Place()
    if isinstance(document.get("flags"), list):
        place.key("flags").refuse("a list of flags cannot be read", "write a mapping of keys to flags")
    flags, evaluators, metadata = (
        place.key(name).mapping(document.get(name) or {}) if not place.problems else {} for name in _PARTS
    )
    if place.problems:
        raise ConfigError(tuple(place.problems))
    killed = document.get("killed")
    left = [name for name in document if name not in (*_PARTS, "$schema", "version", "killed")]
    message = "is left out: only flags, $evaluators, metadata and killed are imported"
    return Imported(
        flags=flags,
        evaluators=evaluators,
        metadata=metadata,
        killed=tuple(key for key in killed if key in flags) if isinstance(killed, list) else (),
        notes=tuple(Problem(path=name, message=message) for name in left),
    )


def write_flagd(document: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of the rules *document* as a file in flagd's format, each word as it stands."""
    parts = {name: document[name] for name in _PARTS if name in document}
    return {"$schema": SCHEMA, "flags": {}, **parts}


def lost_in_flagd(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the flags of the rules *document* do and flagd's format cannot say."""
    flags = document.get("flags") or {}
    for key in document.get("killed") or ():
        message = "is killed, which flagd's format has no word for: whoever reads the file follows its rule"
        yield Problem(path=f"flags.{key}", message=message)
    for key, flag in flags.items():
        if isinstance(flag, Mapping) and _asks(flag.get("targeting")):
            message = "asks another flag, which flagd cannot: it is for Understudy alone"
            yield Problem(path=f"flags.{key}", message=message)


def _asks(rule: object) -> bool:
    """Whether the operation `flag` stands in *rule*."""
    todo = [rule]
    while todo:
        node = todo.pop()
        if isinstance(node, Mapping):
            if "flag" in node:
                return True
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return False
