"""Python's values in JSON's words, so that two of them are equal there when they are here.

What JSON cannot tell apart is told in words: numbers that are none, bytes, keys that are no text.
"""

import dataclasses
import datetime
import enum
import inspect
import json
import math
import numbers
import os
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import orjson

OPTIONS: Final = orjson.OPT_NON_STR_KEYS

TOLD: Final = (numbers.Number, datetime.timedelta, uuid.UUID, range)
"""Told by their text; among the numbers Decimal, Fraction, complex."""


def as_json(value: object) -> bytes:
    """JSON of *value*; integers of any size.

    Raises TypeError for what there are no words for, and what reading it raises.
    """
    try:
        body = orjson.dumps(value, default=plain, option=OPTIONS)
    except TypeError:
        # What orjson cannot say: integers over 64 bits, keys of other kinds, lone surrogates.
        return json.dumps(worded(value)).encode("ascii")
    return body if b"null" not in body or is_finite(value) else json.dumps(worded(value)).encode("ascii")


def is_finite(value: object) -> bool:
    """Whether every number in *value*, which orjson has read, is one: of others it makes a null."""
    try:
        _only_finite.encode(value)
    except ValueError:
        return False
    return True


def worded(value: Any) -> object:
    """*value* in JSON's kinds alone, as orjson says it where it can."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return worded(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, dict):
        return {key_of(key): worded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [worded(item) for item in value]
    return worded(plain(value))


def key_of(key: Any) -> str:
    """A key of a mapping as text: as orjson says it, others as Python spells them."""
    if isinstance(key, enum.Enum):
        return key_of(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, datetime.date | datetime.time):
        return key.isoformat()
    return str(key) if isinstance(key, int | float | uuid.UUID) else repr(key)


def plain(value: Any) -> object:
    """*value*, which is none of JSON's kinds, in simpler ones: a pydantic model as it dumps itself, numbers
    and times by their text, collections as lists and mappings, an object as its type and its attributes.

    Raises TypeError for what has none.
    """
    if isinstance(value, type) or inspect.isroutine(value):
        raise unsayable(value)
    if hasattr(
        type(value), "model_dump"
    ):  # of the type: some objects have every attribute they are asked for
        return value.model_dump(mode="json")
    found = _of_kind(value)
    if found is not None:
        return found
    attributes = _attributes(value)
    if attributes is None:
        raise unsayable(value)
    return {"type": type(value).__qualname__, **attributes}


def _of_kind(value: Any) -> object:
    """What values of well-known kinds, and of kinds made of these, are told as; None for others."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: getattr(value, name) for name in names if not name.startswith("_")}
    if isinstance(value, bytes | bytearray | memoryview):
        return repr(bytes(value))
    if isinstance(value, BaseException):
        return {"raised": type(value).__qualname__, "message": str(value)}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Set):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, TOLD):
        return str(value)
    if hasattr(type(value), "tolist"):
        return value.tolist()  # numpy's arrays and numbers, array
    if isinstance(value, Sequence) or type(value).__name__ == "deque":
        return list(value)
    if hasattr(type(value), "keys"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118  a mapping of any kind
    return None


def _attributes(value: Any) -> dict[str, Any] | None:
    """By name, also those in slots; None when there can be none."""
    own = getattr(value, "__dict__", None)
    slots = [(kind, name) for kind in type(value).__mro__ for name in _slots(kind)]
    if own is None and not slots:
        return None
    found = dict(own or {})
    for kind, name in slots:
        hidden = name.startswith("__") and not name.endswith("__")
        real = f"_{kind.__name__.lstrip('_')}{name}" if hidden else name
        if name not in ("__dict__", "__weakref__") and hasattr(value, real):
            found[name] = getattr(value, real)
    return found


def _slots(kind: type) -> Sequence[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def unsayable(value: object) -> TypeError:
    """That there are no words for *value*."""
    return TypeError(f"a result of type {type(value).__qualname__} cannot be compared")


_only_finite: Final = json.JSONEncoder(default=plain, skipkeys=True, allow_nan=False)
