"""What an application tells of a unit, as JSON has it: what rules can look at, and what OFREP can carry."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID

_PLAIN = frozenset((str, int, float, bool, NoneType))
_DEEPEST = 32


def context_of(unit: str | None, attributes: dict[str, Any]) -> dict[str, Any]:
    """The context for *unit*, made in *attributes*. Raises: TypeError for what JSON cannot say.

    A date or time becomes text (ISO 8601), a Decimal a float, an Enum its value, a UUID text, a tuple a list,
    a set a list in an order that is the same in every process.
    """
    for value in attributes.values():
        if type(value) not in _PLAIN:
            attributes = {name: plain(value, name) for name, value in attributes.items()}
            break
    if unit is not None:
        if not isinstance(unit, str):
            raise TypeError(f"the unit is text or None, not {type(unit).__name__}")
        attributes["targetingKey"] = unit if type(unit) is str else text_of(unit)
    return attributes


def plain(value: object, where: str, depth: int = 0) -> Any:
    """*value* as JSON has it. Raises: TypeError, which names the attribute *where*."""
    if type(value) in _PLAIN:
        return value
    if depth > _DEEPEST:
        raise TypeError(f"attribute {where}: more than {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {_name(name, where): plain(inner, where, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, where, depth + 1) for inner in value]
    if isinstance(value, set | frozenset):
        # Python's own order of texts differs from process to process, and so would a hash of them.
        return sorted((plain(inner, where, depth + 1) for inner in value), key=repr)
    return _scalar(value, where, depth)


def _scalar(value: object, where: str, depth: int) -> Any:
    if isinstance(value, Enum):
        return plain(value.value, where, depth + 1)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal | float):
        return _number(value, where)
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"attribute {where}: {type(value).__name__} cannot be said in JSON")


def text_of(value: str) -> str:
    """*value* as plain text, whatever kind of text it is: rules compare and hash no other.

    Not what its own ``__str__`` says: Django's and Jinja's marked texts say themselves there.
    """
    return str.__str__(value)


def _number(value: Decimal | float, where: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise TypeError(f"attribute {where}: {value} cannot be said in JSON") from None


def _name(name: object, where: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"attribute {where}: a name is text, not {type(name).__name__}")
    return text_of(name)
