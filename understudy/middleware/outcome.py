"""What a function came to, as an answer that the comparators read: a value, or the exception it raised."""

from dataclasses import dataclass
from typing import Final

from understudy.middleware.plain import as_json

RETURNED: Final = 200
RAISED: Final = 500
"""Statuses, in the words of HTTP, so that one that raises where the other does not differs at ``/status``."""

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
BYTES: Final = b"application/octet-stream"


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
    """*value* as an answer: text and bytes as such, everything else as JSON (see `as_json`).

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
