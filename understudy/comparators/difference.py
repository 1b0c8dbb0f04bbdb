"""One path at which two answers differ, as a value of bounded size that every store takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from understudy.comparators.elements import Element

KINDS: Final = (
    "status",
    "content_type",
    "header",
    "missing",
    "extra",
    "type",
    "value",
    "length",
    "order",
    "body",
)

LONGEST_TEXT: Final = 500
MOST_ITEMS: Final = 20
DEEPEST_SAMPLE: Final = 4
LARGEST_INTEGER: Final = 2**63

Token = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One path and kind at which the shadow's answer differs from the primary's.

    ``path`` groups: list positions are ``*``, keys that look like data are ``{key}``. ``at`` is the
    exact JSON Pointer of the first place seen. ``primary`` and ``shadow`` are JSON-able samples, cut to
    a bounded size; a missing side is None. ``ignored``: a compare rule forgives it; it is counted apart.
    """

    path: str
    kind: str
    primary: object
    shadow: object
    at: str = ""
    ignored: bool = False


def pointer(tokens: Sequence[Token]) -> str:
    """The JSON Pointer (RFC 6901) of *tokens*, printable on every terminal and storable everywhere."""
    parts = []
    for token in tokens:
        parts.append("/")
        if isinstance(token, int):
            parts.append(str(token))
        else:
            parts.append(_usual(token) if len(token) <= LONGEST_USUAL else escape(token))
    return "".join(parts)


LONGEST_USUAL: Final = 100
"""Longer tokens are no names that come again, and would fill the memory of those that do."""


def escape(token: str) -> str:
    """One reference token of a JSON Pointer: ``~`` and ``/`` escaped, bounded, without NUL or surrogates."""
    text = printable(token)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return text.replace("~", "~0").replace("/", "~1")


@lru_cache(maxsize=4096)
def _usual(token: str) -> str:
    return escape(token)


def printable(text: str) -> str:
    """*text* as any UTF-8 store takes it: lone surrogates and NUL replaced."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def brief(value: object, depth: int = 0) -> object:
    """A JSON-able copy of *value* of bounded size: a sample is looked at by people."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        if len(value) <= LONGEST_TEXT and value.isascii() and "\0" not in value:
            return str(value)
        text = printable(value[: LONGEST_TEXT + 1])
        return text if len(value) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    if isinstance(value, int):
        return value if -LARGEST_INTEGER <= value < LARGEST_INTEGER else brief(str(value))
    if isinstance(value, dict):
        return _brief_mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return _brief_list(value, depth)
    if isinstance(value, Element):
        return _brief_element(value, depth)
    return brief(str(value))


def _brief_mapping(value: Mapping[str, object], depth: int) -> object:
    if depth >= DEEPEST_SAMPLE:
        return f"{{… {len(value)} fields}}"
    short: dict[str, object] = {}
    for key, item in value.items():
        if len(short) >= MOST_ITEMS:
            short["…"] = f"{len(value) - MOST_ITEMS} more"
            break
        short[printable(str(key)[:LONGEST_TEXT])] = brief(item, depth + 1)
    return short


def _brief_element(value: Element, depth: int) -> object:
    fields = value.fields()
    if not fields:
        return brief(value.text)
    return _brief_mapping({**fields, "#text": value.text} if value.text else fields, depth)


def _brief_list(value: Sequence[object], depth: int) -> object:
    if depth >= DEEPEST_SAMPLE:
        return f"[… {len(value)} items]"
    short = [brief(item, depth + 1) for item in value[:MOST_ITEMS]]
    return short if len(value) <= MOST_ITEMS else [*short, f"… {len(value) - MOST_ITEMS} more"]
