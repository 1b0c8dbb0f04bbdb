"""Constraints of Unleash as conditions: https://docs.getunleash.io/reference/activation-strategies#constraints.

An attribute of Unleash is text; one that is missing fulfils no constraint, and every inverted one.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from understudy.config.place import Place, shown
from understudy.decide.schedule import TIMESTAMP
from understudy.transfer.imported import Draft
from understudy.transfer.rule import Rule, all_of, any_of, field, is_given, negated

_NUMERIC: Final = {"NUM_EQ": "==", "NUM_GT": ">", "NUM_GTE": ">=", "NUM_LT": "<", "NUM_LTE": "<="}
_VERSIONS: Final = {
    "SEMVER_EQ": "=",
    "SEMVER_GT": ">",
    "SEMVER_GTE": ">=",
    "SEMVER_LT": "<",
    "SEMVER_LTE": "<=",
}
_NUMBER: Final = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_VERSION: Final = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?\Z", re.ASCII)
_LIKE_A_NUMBER: Final = re.compile(r"[0-9+\-.eE]+\Z", re.ASCII)
LOOSE_VERSIONS: Final = "a version such as 1.2 or v1.2.3, which Unleash takes for none, is read here"


def read_constraints(value: object, place: Place, draft: Draft) -> Rule:
    """Whether all constraints in the list *value* hold; problems at *place* for those with no equal."""
    return all_of(
        [_constraint(entry, at, draft) for at, entry in place.items([] if value is None else value)]
    )


def _constraint(value: object, place: Place, draft: Draft) -> Rule:
    given = place.mapping(value)
    operator, name = given.get("operator"), given.get("contextName")
    if not isinstance(name, str):
        place.key("contextName").refuse(f"must be the name of an attribute, not {shown(name)}")
        return False
    read = _OPERATORS.get(operator) if isinstance(operator, str) else None
    if read is None:
        place.key("operator").refuse(f"{shown(operator)} cannot be said in JSONLogic")
        return False
    rule = read(given, place, draft)
    return negated(rule) if given.get("inverted") is True else rule


def _attribute(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    name = str(given["contextName"])
    if name == "currentTime":
        place.key("contextName").refuse("currentTime is compared with DATE_AFTER and DATE_BEFORE alone")
    return field(name, place.key("contextName"), unit=draft.unit)


def _values(given: Mapping[str, object], place: Place) -> list[str]:
    """The texts of ``values``; refused are those that SDKs of Unleash read in different ways."""
    texts: list[str] = []
    for at, value in place.key("values").items(given.get("values", [])):
        if not isinstance(value, str):
            at.refuse(f"must be text, not {shown(value)}")
        elif not value or value != value.strip():
            at.refuse("is empty or has spaces around it, which not every SDK reads alike", "take them away")
        else:
            texts.append(value)
    return texts


def _as_text(attribute: Rule, values: list[str]) -> Rule:
    """*attribute*; made a text where a number or a boolean would be like one of *values*."""
    likes = any(_LIKE_A_NUMBER.match(value) or value in "true" or value in "false" for value in values)
    return {"cat": [attribute]} if likes else attribute


def _in(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    values, attribute = _values(given, place), _attribute(given, place, draft)
    _check_case(given, values, place)
    found = {"in": [_as_text(attribute, values), values]} if values else False
    return found if given["operator"] == "IN" else negated(found)


def _check_case(given: Mapping[str, object], values: list[str], place: Place) -> None:
    if given.get("caseInsensitive") is True and any(value.lower() != value.upper() for value in values):
        hint = "JSONLogic has no lower case: send the attribute in lower case, and compare with that"
        place.key("caseInsensitive").refuse("upper and lower case cannot be taken for the same", hint)


def _text(form: Callable[[Rule, str], Rule]) -> Callable[[Mapping[str, object], Place, Draft], Rule]:
    def read(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
        values, attribute = _values(given, place), _attribute(given, place, draft)
        _check_case(given, values, place)
        if not values:
            place.key("values").refuse(
                "is empty, which not every SDK reads alike", "take the constraint away"
            )
        subject = _as_text(attribute, values)
        return any_of([form(subject, value) for value in values])

    return read


def _numeric(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    value, attribute = given.get("value"), _attribute(given, place, draft)
    text = value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
    if not _NUMBER.match(text) or not math.isfinite(float(text)):
        place.key("value").refuse(f"{shown(value)} is no number, so the constraint never holds")
        return False
    number = float(text)
    operator = _NUMERIC[str(given["operator"])]
    rule = {operator: [attribute, int(number) if number.is_integer() else number]}
    # JSONLogic takes a missing attribute and an empty text for 0.
    takes_zero = {"==": number == 0, ">": number < 0, ">=": number <= 0, "<": number > 0, "<=": number >= 0}
    return all_of([is_given(attribute), rule]) if takes_zero[operator] else rule


def _date(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    if given["contextName"] != "currentTime":
        place.key("contextName").refuse("only currentTime is a moment here", "compare it as a number")
        return False
    value = given.get("value")
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        place.key("value").refuse(
            f"{shown(value)} is no moment with its time zone", "like 2026-01-31T12:00:00Z"
        )
        return False
    seconds = moment.astimezone(UTC).timestamp()
    if seconds != int(seconds):
        draft.note("moments are kept to the second")
    # The clock counts whole seconds: after a moment is, to the second, from it on.
    operator = ">=" if given["operator"] == "DATE_AFTER" else "<"
    return {operator: [{"var": TIMESTAMP}, math.ceil(seconds)]}


def _version(given: Mapping[str, object], place: Place, draft: Draft) -> Rule:
    value, attribute = given.get("value"), _attribute(given, place, draft)
    if not isinstance(value, str) or not _VERSION.match(value):
        place.key("value").refuse(f"{shown(value)} is no version that all SDKs compare alike", "like 1.2.3")
        return False
    draft.note(LOOSE_VERSIONS)
    return {"sem_ver": [attribute, _VERSIONS[str(given["operator"])], value]}


_OPERATORS: Final[Mapping[str, Callable[[Mapping[str, Any], Place, Draft], Rule]]] = {
    "IN": _in,
    "NOT_IN": _in,
    "STR_STARTS_WITH": _text(lambda subject, value: {"starts_with": [subject, value]}),
    "STR_ENDS_WITH": _text(lambda subject, value: {"ends_with": [subject, value]}),
    "STR_CONTAINS": _text(lambda subject, value: {"in": [value, subject]}),
    **dict.fromkeys(_NUMERIC, _numeric),
    **dict.fromkeys(_VERSIONS, _version),
    "DATE_AFTER": _date,
    "DATE_BEFORE": _date,
}
