"""The values that a feature of GrowthBook can have, as variants with names."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from understudy.config.place import Place, shown

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_KINDS: Final = {bool: "boolean", int: "number", float: "number", str: "text", dict: "object", list: "list"}


class Values:
    """Names each value once: booleans ``on`` and ``off``, others as themselves where that is a name."""

    def __init__(self) -> None:
        self.variants: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._kind = ""

    def name(self, value: object, place: Place) -> str:
        """The name of *value*; a problem at *place* where it has another type than those before it."""
        kind = _KINDS.get(type(value), "")
        if not kind:
            place.refuse(f"{shown(value)} is no value for a variant", "null means the caller's own default")
            return ""
        if self._kind not in ("", kind):
            hint = "give all values of a feature one type"
            place.refuse(f"is of the type {kind}, others are of the type {self._kind}", hint)
            return ""
        self._kind = kind
        written = json.dumps(value, sort_keys=True)
        if written not in self._names:
            self._names[written] = self._new_name(value)
            self.variants[self._names[written]] = value
        return self._names[written]

    def _new_name(self, value: object) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        text = str(value) if isinstance(value, str | int | float) else ""
        numbered = (f"value-{number}" for number in range(1, len(self.variants) + 2))
        wanted = [text] if _NAME.match(text) else []
        return next(name for name in (*wanted, *numbered) if name not in self.variants)


def values_of(feature: Mapping[str, object], place: Place) -> Values:
    """All values that *feature* can have: by default, forced, and of its experiments."""
    values = Values()
    for value, at in _given(feature, place):
        if value is not None or at is not place:
            values.name(value, at)
    return values


def _given(feature: Mapping[str, object], place: Place) -> Iterator[tuple[object, Place]]:
    yield feature.get("defaultValue"), place
    for at, entry in place.key("rules").items(feature.get("rules") or []):
        rule = at.mapping(entry)
        if "force" in rule:
            yield rule["force"], at.key("force")
        elif "variations" in rule:
            for where, value in at.key("variations").items(rule["variations"]):
                yield value, where
