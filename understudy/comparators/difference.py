"""One path at which two answers differ, and the bounded list of them that an exchange may have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from understudy.comparators.identifiers import identify

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

MOST_DIFFERENCES: Final = 200  # an exchange with more is broken as a whole; a report of them helps nobody
MOST_NOTES: Final = 20_000  # places looked at one by one before the walk gives up: ~50 ms
WIDE: Final = 50  # DESIGN §8, after Diffy: more siblings of one shape are a map, not a record
MORE_PATH: Final = "/body/{more}"
LONGEST_TEXT: Final = 500
MOST_ITEMS: Final = 20
DEEPEST_SAMPLE: Final = 4
LARGEST_INTEGER: Final = 2**63
FORGIVABLE: Final = frozenset({"value", "header"})

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


class Forgiving(Protocol):
    """What the compare rules of one endpoint say about a place."""

    def ignored(self, tokens: Sequence[Token]) -> int:
        """How many leading tokens name the ignored branch; 0 when the place counts."""

    def forgives(self, tokens: Sequence[Token], primary: object, shadow: object) -> bool:
        """Whether two values may differ like this."""


class Found:
    """Collects differences: each path once per kind, the first values kept, at most 200 of them."""

    __slots__ = ("_by_key", "_notes", "_shapes", "is_full", "rules")

    def __init__(self, rules: Forgiving | None = None) -> None:
        self.rules = rules
        self.is_full = False
        self._notes = 0
        self._by_key: dict[tuple[str, str], Difference] = {}
        self._shapes: dict[int, bool] = {}

    def add(
        self,
        tokens: Sequence[Token],
        kind: str,
        primary: object,
        shadow: object,
        *,
        parents: Sequence[object] = (),
        ignored: bool = False,
    ) -> None:
        """Note one place. ``parents[i]`` holds ``tokens[i + 1]``; they tell a map from a record."""
        self._notes += 1
        if self._notes > MOST_NOTES:
            self.is_full = True
            return
        exact = tokens
        if self.rules is not None:
            depth = self.rules.ignored(tokens)
            if depth:
                tokens, ignored = tokens[:depth], True
            elif kind in FORGIVABLE and self.rules.forgives(tokens, primary, shadow):
                ignored = True
        path = self._group(tokens, parents)
        seen = self._by_key.get((path, kind))
        if seen is not None and (ignored or not seen.ignored):
            return
        if seen is None and len(self._by_key) >= MOST_DIFFERENCES:
            self.is_full = True
            return
        self._by_key[path, kind] = Difference(
            path=path,
            kind=kind,
            primary=brief(primary),
            shadow=brief(shadow),
            at=pointer(exact),
            ignored=ignored,
        )

    def has(self, path: str, kind: str) -> bool:
        """Whether a difference that counts stands at *path*."""
        seen = self._by_key.get((path, kind))
        return seen is not None and not seen.ignored

    def list(self) -> list[Difference]:
        """What was found, in the order found; a last one says that there was more."""
        whole = list(self._by_key.values())
        if self.is_full:
            whole.append(Difference(path=MORE_PATH, kind="body", primary=None, shadow=None, at="/body"))
        return whole

    def _group(self, tokens: Sequence[Token], parents: Sequence[object]) -> str:
        parts = []
        for i, token in enumerate(tokens):
            if isinstance(token, int):
                parts.append("/*")
            elif 0 < i <= len(parents) and self._is_map(parents[i - 1]):
                parts.append("/{key}")
            else:
                parts.append(_group_token(token))
        return "".join(parts)

    def _is_map(self, parent: object) -> bool:
        if not isinstance(parent, Mapping) or len(parent) <= WIDE:
            return False
        known = self._shapes.get(id(parent))
        if known is None:
            known = self._shapes[id(parent)] = _has_one_shape(parent)
        return known


def pointer(tokens: Sequence[Token]) -> str:
    """The JSON Pointer (RFC 6901) of *tokens*, printable on every terminal and storable everywhere."""
    return "".join("/" + (str(t) if isinstance(t, int) else escape(t)) for t in tokens)


def escape(token: str) -> str:
    """One reference token of a JSON Pointer: ``~`` and ``/`` escaped, bounded, without NUL or surrogates."""
    text = printable(token)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    return text.replace("~", "~0").replace("/", "~1")


def printable(text: str) -> str:
    """*text* as any UTF-8 store takes it: lone surrogates and NUL replaced."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in text else text


def brief(value: object, depth: int = 0) -> object:
    """A JSON-able copy of *value* of bounded size: a sample is looked at by people."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        text = printable(value[: LONGEST_TEXT + 1])
        return text if len(value) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    if isinstance(value, int):
        return value if -LARGEST_INTEGER <= value < LARGEST_INTEGER else brief(str(value))
    if isinstance(value, Mapping):
        return _brief_mapping(value, depth)
    if isinstance(value, list | tuple):
        return _brief_list(value, depth)
    return brief(str(value))


def _brief_mapping(value: Mapping[object, object], depth: int) -> object:
    if depth >= DEEPEST_SAMPLE:
        return f"{{… {len(value)} fields}}"
    short: dict[str, object] = {}
    for key, item in value.items():
        if len(short) >= MOST_ITEMS:
            short["…"] = f"{len(value) - MOST_ITEMS} more"
            break
        short[printable(str(key)[:LONGEST_TEXT])] = brief(item, depth + 1)
    return short


def _brief_list(value: Sequence[object], depth: int) -> object:
    if depth >= DEEPEST_SAMPLE:
        return f"[… {len(value)} items]"
    short = [brief(item, depth + 1) for item in value[:MOST_ITEMS]]
    return short if len(value) <= MOST_ITEMS else [*short, f"… {len(value) - MOST_ITEMS} more"]


@lru_cache(maxsize=4096)
def _group_token(token: str) -> str:
    return "/{key}" if identify(token) else "/" + escape(token)


def _has_one_shape(record: Mapping[object, object]) -> bool:
    """Whether all keys look alike and all values, None aside, look alike: then the keys are data."""
    if len({_spelling(str(key)) for key in record}) > 1:
        return False
    return len({_shape(value) for value in record.values() if value is not None}) <= 1


def _spelling(key: str) -> str:
    """The pattern of character classes: ``EUR`` is ``A``, ``user17`` is ``a0``, ``mem_used`` is ``a_a``."""
    text = re.sub(r"[^\W\d_A-Z]+", "a", re.sub(r"[A-Z]+", "A", key))
    return re.sub(r"\d+", "0", text)


def _shape(value: object) -> object:
    if isinstance(value, Mapping):
        return frozenset(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value)
