"""Collect the differences of one exchange: bounded, grouped by path, each once per kind."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

from understudy.comparators.difference import (
    LONGEST_TEXT,
    Difference,
    Token,
    brief,
    escape,
    pointer,
)
from understudy.comparators.excerpt import around
from understudy.comparators.identifiers import LONGEST_NAME, identify

MOST_DIFFERENCES: Final = 200  # an exchange with more is broken as a whole; a report of them helps nobody
MOST_NOTES: Final = 20_000  # places looked at one by one before the walk gives up: ~50 ms
WIDE: Final = 50  # DESIGN §8, after Diffy: more siblings of one shape are a map, not a record
LONGEST_PATH: Final = 1000
"""A longer one is cut: a hundred levels of long names would be ten thousand letters for each place."""

CUT: Final = "/…"
MORE_PATH: Final = "/body/{more}"
FORGIVABLE: Final = frozenset({"value", "header", "status", "content_type"})
"""Kinds of two values that stand side by side, which a pattern or a tolerance may forgive."""


class Forgiving(Protocol):
    """What the compare rules of one endpoint say about a place."""

    def ignored(self, tokens: Sequence[Token]) -> int:
        """How many leading tokens name the ignored branch; 0 when the place counts."""

    def forgives(self, tokens: Sequence[Token], primary: object, shadow: object) -> bool:
        """Whether two values may differ like this."""

    def is_unordered(self, tokens: Sequence[Token]) -> bool:
        """Whether order means nothing in this list."""


class Found:
    """Collects differences: each path once per kind, the first values kept, at most 200 of them."""

    __slots__ = ("_by_key", "_notes", "_shapes", "is_full", "rules")

    def __init__(self, rules: Forgiving | None = None) -> None:
        self.rules = rules
        self.is_full = False
        self._notes = 0
        self._by_key: dict[tuple[str, str], Difference] = {}
        self._shapes: dict[int, tuple[object, bool]] = {}

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
        if type(primary) is str and type(shadow) is str and max(len(primary), len(shadow)) > LONGEST_TEXT:
            primary, shadow = around(primary, shadow)
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
        known = len(parents)
        for i, token in enumerate(tokens):
            if isinstance(token, int):
                parts.append("/*")
            elif 0 < i <= known and self._is_map(parents[i - 1]):
                parts.append("/{key}")
            else:
                parts.append(_group_token(token) if len(token) <= LONGEST_NAME else "/{key}")
        path = "".join(parts)
        return path if len(path) <= LONGEST_PATH else path[: path.rfind("/", 0, LONGEST_PATH)] + CUT

    def _is_map(self, parent: object) -> bool:
        if not isinstance(parent, dict) or len(parent) <= WIDE:
            return False
        known = self._shapes.get(id(parent))
        if known is None:
            # The record is kept too: another must not get its id while that is remembered.
            known = self._shapes[id(parent)] = parent, _has_one_shape(parent)
        return known[1]


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
