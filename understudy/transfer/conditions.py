"""Conditions of GrowthBook as JSONLogic: https://docs.growthbook.io/lib/build-your-own#evalcondition.

Where SDKs differ, the specification is followed (0.7): values of different types are never equal or ordered.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from understudy.config.place import Place, shown
from understudy.transfer.imported import Draft
from understudy.transfer.rule import Rule, all_of, any_of, field, negated

_ELEMENT: Final = {"var": ""}
_ORDER: Final = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_VERSIONS: Final = {"$veq": "=", "$vne": "!=", "$vlt": "<", "$vlte": "<=", "$vgt": ">", "$vgte": ">="}
_VERSION: Final = re.compile(r"(0|[1-9]\d{0,4})(\.(0|[1-9]\d{0,4})){2}(-[0-9A-Za-z.]+)?\Z", re.ASCII)
_PLAIN: Final = re.compile(r"(\^?)((?:[^\\^$.|?*+()\[\]{}]|\\[^0-9A-Za-z])+)(\$?)\Z", re.DOTALL)
LOOSE_VERSIONS: Final = "versions of other than three numbers are compared in another way here"


class Conditions:
    """Reads the conditions of one feature; ``rules`` are the saved groups that any feature names."""

    def __init__(self, groups: Mapping[str, object], rules: dict[str, Rule], draft: Draft) -> None:
        self._groups = groups
        self._rules = rules
        self._draft = draft

    def read(self, value: object, place: Place, *, is_element: bool = False) -> Rule:
        """Whether the condition *value* holds for the context, or for an element of a list."""
        return all_of(
            [
                self._part(str(key), entry, place.key(str(key)), is_element=is_element)
                for key, entry in place.mapping(value).items()
            ]
        )

    def _part(self, key: str, value: object, place: Place, *, is_element: bool) -> Rule:
        if key in ("$or", "$nor", "$and"):
            parts = [self.read(entry, at, is_element=is_element) for at, entry in place.items(value)]
            if key == "$and":
                return all_of(parts)
            # None at all counts as fulfilled.
            found = any_of(parts) if parts else True
            return negated(found) if key == "$nor" else found
        if key == "$not":
            return negated(self.read(value, place, is_element=is_element))
        if key.startswith("$"):
            place.refuse(f"{key} cannot be said in JSONLogic")
            return False
        unit = "" if is_element else self._draft.unit
        return self._value(field(key, place, unit=unit, is_path=True), value, place)

    def _value(self, attribute: Rule, value: object, place: Place) -> Rule:
        if isinstance(value, Mapping):
            if not value or not all(str(key).startswith("$") for key in value):
                place.refuse("objects cannot be compared in JSONLogic", "name the attribute inside it")
                return False
            return all_of(
                [
                    self._operator(str(key), attribute, entry, place.key(str(key)))
                    for key, entry in value.items()
                ]
            )
        return {"===": [attribute, self._scalar(value, place)]}

    def _operator(self, name: str, attribute: Rule, value: object, place: Place) -> Rule:
        read = self._operators.get(name)
        if read is not None:
            return read(self, attribute, value, place)
        if name in _ORDER:
            return self._ordered(name, attribute, value, place)
        if name in _VERSIONS:
            return self._version(name, attribute, value, place)
        place.refuse(f"{name} cannot be said in JSONLogic")
        return False

    def _ordered(self, name: str, attribute: Rule, value: object, place: Place) -> Rule:
        """Two numbers or two texts are ordered; nothing else is less or greater than anything."""
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            place.refuse(f"must be a number or a text, not {shown(value)}")
        same_kind = {"cat" if isinstance(value, str) else "+": [attribute]}
        return all_of([{"===": [attribute, same_kind]}, {_ORDER[name]: [attribute, value]}])

    def _scalar(self, value: object, place: Place) -> object:
        if isinstance(value, Mapping | list):
            place.refuse(f"{shown(value)} cannot be compared in JSONLogic")
        return value

    def _equal(self, attribute: Rule, value: object, place: Place) -> Rule:
        return {"===": [attribute, self._scalar(value, place)]}

    def _unequal(self, attribute: Rule, value: object, place: Place) -> Rule:
        return {"!==": [attribute, self._scalar(value, place)]}

    def _in(self, attribute: Rule, value: object, place: Place) -> Rule:
        known = [self._scalar(entry, at) for at, entry in place.items(value)]
        return _among(attribute, known) if known else False

    def _not_in(self, attribute: Rule, value: object, place: Place) -> Rule:
        return negated(self._in(attribute, value, place))

    def _in_group(self, attribute: Rule, value: object, place: Place) -> Rule:
        members = self._groups.get(value) if isinstance(value, str) else None
        if isinstance(members, Mapping) and members.get("type") == "list":
            members = members.get("values")
        if not isinstance(members, list):
            place.refuse(f"there is no saved group {shown(value)} in the export")
            return False
        if attribute == _ELEMENT:
            return _among(attribute, members)
        name = f"{value}-{attribute['var']}"
        self._rules[name] = _among(attribute, [self._scalar(entry, place) for entry in members])
        return {"$ref": name}

    def _not_in_group(self, attribute: Rule, value: object, place: Place) -> Rule:
        return negated(self._in_group(attribute, value, place))

    def _exists(self, attribute: Rule, value: object, _place: Place) -> Rule:
        return {"!==" if value else "===": [attribute, None]}

    def _not(self, attribute: Rule, value: object, place: Place) -> Rule:
        return negated(self._value(attribute, value, place))

    def _some(self, attribute: Rule, value: object, place: Place) -> Rule:
        given = place.mapping(value)
        if any(str(key).startswith("$") for key in given):
            return {"some": [attribute, self._value(_ELEMENT, value, place)]}
        return {"some": [attribute, self.read(value, place, is_element=True)]}

    def _all(self, attribute: Rule, value: object, place: Place) -> Rule:
        wanted = place.items(value)
        if not wanted:
            place.refuse("asks for nothing", "take it away")
        return all_of([{"some": [attribute, self._value(_ELEMENT, entry, at)]} for at, entry in wanted])

    def _regex(self, attribute: Rule, value: object, place: Place) -> Rule:
        found = _PLAIN.match(value) if isinstance(value, str) else None
        if found is None:
            hint = "a plain text will do, with ^ before or $ behind it"
            place.refuse(f"the pattern {shown(value)} cannot be said in JSONLogic", hint)
            return False
        start, escaped, end = found.groups()
        text = re.sub(r"\\(.)", r"\1", escaped, flags=re.DOTALL)
        if start and end:
            return {"===": [attribute, text]}
        if start or end:
            return {"starts_with" if start else "ends_with": [attribute, text]}
        return {"in": [text, attribute]}

    def _not_regex(self, attribute: Rule, value: object, place: Place) -> Rule:
        return negated(self._regex(attribute, value, place))

    def _version(self, name: str, attribute: Rule, value: object, place: Place) -> Rule:
        if not isinstance(value, str) or not _VERSION.match(value):
            place.refuse(f"{shown(value)} is no version of three numbers", "like 1.2.3")
            return False
        self._draft.note(LOOSE_VERSIONS)
        if name == "$vne":  # also of what is no version at all
            return negated({"sem_ver": [attribute, "=", value]})
        return {"sem_ver": [attribute, _VERSIONS[name], value]}

    _operators: Final[Mapping[str, Callable[["Conditions", Rule, object, Place], Rule]]] = {
        "$eq": _equal,
        "$ne": _unequal,
        "$in": _in,
        "$nin": _not_in,
        "$inGroup": _in_group,
        "$notInGroup": _not_in_group,
        "$exists": _exists,
        "$not": _not,
        "$elemMatch": _some,
        "$all": _all,
        "$regex": _regex,
        "$notRegex": _not_regex,
    }


def _among(attribute: Rule, known: list[Any]) -> Rule:
    """Whether *attribute*, or one of its elements when it is a list, is one of *known*."""
    return any_of([{"in": [attribute, known]}, {"some": [attribute, {"in": [_ELEMENT, known]}]}])
