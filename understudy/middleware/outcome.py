"""What a function came to, as an answer that the comparators read: a value, or the exception it raised."""

import json
from dataclasses import dataclass
from typing import Any, Final

import orjson

RETURNED: Final = 200
RAISED: Final = 500
"""Statuses, in the words of HTTP, so that one that raises where the other does not differs at ``/status``."""

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
BYTES: Final = b"application/octet-stream"

OPTIONS: Final = orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status, media type and body."""

    status: int
    kind: bytes
    body: bytes

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The fields of an answer that says so."""
        return [(b"content-type", self.kind)]


def returned(value: object) -> Outcome:
    """*value* as an answer: text and bytes as such, everything else as JSON (see `plain`).

    Raises ValueError, TypeError or what reading the value raises when it cannot be said.
    """
    if isinstance(value, str):
        return Outcome(RETURNED, TEXT, value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes | bytearray | memoryview):
        return Outcome(RETURNED, BYTES, bytes(value))
    return Outcome(RETURNED, JSON, as_json(value))


def raised(error: BaseException) -> Outcome:
    """*error* as an answer: its type and its message."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  an exception that cannot say its message is compared by its type
        message = ""
    return Outcome(RAISED, JSON, as_json({"raised": name, "message": message}))


def as_json(value: object) -> bytes:
    """JSON of *value*; integers of any size."""
    try:
        return orjson.dumps(value, default=plain, option=OPTIONS)
    except TypeError:
        # What orjson cannot say: integers over 64 bits, lone surrogates, subclasses with ideas of their own.
        return json.dumps(value, default=plain, skipkeys=True).encode("ascii")


def plain(value: Any) -> object:
    """*value* in JSON's words: a pydantic model as it dumps itself, a set in a fixed order, an object as its
    type's name and its attributes. Raises TypeError for what has none."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("latin-1")
    if isinstance(value, BaseException):
        return {"raised": type(value).__qualname__, "message": str(value)}
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        return {"type": type(value).__qualname__, **attributes}
    if isinstance(value, complex):
        return {"real": value.real, "imag": value.imag}
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    if slots:
        return {name: getattr(value, name) for name in slots if hasattr(value, name)}
    if hasattr(value, "as_tuple") or hasattr(value, "numerator"):
        return str(value)  # Decimal, Fraction
    if hasattr(value, "keys"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118  a mapping of any kind
    raise TypeError(f"a result of type {type(value).__qualname__} cannot be compared")
