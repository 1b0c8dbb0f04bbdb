"""Walk two trees and note where they differ. The hot loop of comparing: ~10 µs for an 864-byte pair."""

import operator
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from typing import Final, Protocol

from understudy.comparators.difference import Token
from understudy.comparators.elements import Element
from understudy.comparators.found import Found
from understudy.comparators.json_tree import (
    ABSENT,
    CONTAINERS,
    NUMBERS,
    freeze,
    is_same,
    is_same_however_deep,
    is_same_twin,
    load,
)

DEEPEST: Final = 100
"""Levels walked one by one; what lies deeper is compared as one value."""

MOST_INSIDE: Final = 3
"""Texts of JSON in texts of JSON that are looked into: each level is read once more."""

BRACKETS: Final = frozenset({"{", "["})


class ListRules(Protocol):
    """How the lists of one endpoint are matched."""

    def key_of(self, tokens: Sequence[Token]) -> tuple[tuple[str, ...], ...] | None:
        """The paths, inside an item, of the fields that name it; None: by position."""

    def is_unordered(self, tokens: Sequence[Token]) -> bool:
        """Whether order means nothing in this list."""

    def ignored(self, tokens: Sequence[Token]) -> int:
        """How many leading tokens name the ignored branch; 0 when the place counts."""


def compare_trees(
    found: Found,
    primary: object,
    shadow: object,
    *,
    tokens: Sequence[Token] = ("body",),
    rules: ListRules | None = None,
    has_booleans: bool = True,
) -> None:
    """Note in *found* where two trees differ, below *tokens*.

    Kinds: missing, extra, type, value, length, order. 1 and 1.0 are equal, 1 and true are not.
    ``has_booleans=False`` promises that neither tree holds true or false, so that ``==`` can be trusted.
    """
    walk = Walk(found, tokens, rules, trusted=not has_booleans)
    try:
        walk.look(primary, shadow)
    except RecursionError:
        if not is_same_however_deep(primary, shadow):
            found.add(tokens, "body", "nested too deeply", "nested too deeply")


class Walk:
    """One walk over two trees; ``tokens`` is where it stands."""

    __slots__ = ("found", "inside", "parents", "rules", "tokens", "trusted")

    def __init__(
        self, found: Found, tokens: Sequence[Token], rules: ListRules | None, *, trusted: bool
    ) -> None:
        self.found = found
        self.rules = rules
        self.trusted = trusted
        self.inside = 0
        self.tokens: list[Token] = list(tokens)
        self.parents: list[object] = [None] * (len(tokens) - 1)

    def look(self, a: object, b: object) -> None:
        """Compare what stands here; of what the rules ignore, note only that it differs."""
        if self.rules is not None and self.rules.ignored(self.tokens):
            self._note("value" if type(a) is type(b) else "type", a, b)
        else:
            self.compare(a, b)

    def compare(self, a: object, b: object) -> None:
        """Compare what stands here, which no rule ignores as a whole."""
        kind = type(a)
        if kind is dict and type(b) is dict:
            if len(self.tokens) < DEEPEST:
                self._objects(a, b)  # type: ignore[arg-type]  # `type() is` narrows for people, not for mypy
            elif not is_same(a, b):
                self._note("value", a, b)
        elif kind is list and type(b) is list:
            if len(self.tokens) < DEEPEST:
                self._lists(a, b)  # type: ignore[arg-type]  # as above
            elif not is_same(a, b):
                self._note("value", a, b)
        elif kind is Element and type(b) is Element:
            if len(self.tokens) < DEEPEST:
                self._elements(a, b)  # type: ignore[arg-type]  # as above
            elif a != b:
                self._note("value", a, b)
        elif kind is type(b) or (kind in NUMBERS and type(b) in NUMBERS):
            if a != b and not (kind is str and self._is_told_inside(a, b)):  # type: ignore[arg-type]  # as above
                self._note("value", a, b)
        else:
            self._note("type", a, b)

    def _note(self, kind: str, a: object, b: object) -> None:
        self.found.add(self.tokens, kind, a, b, parents=self.parents)

    def _is_told_inside(self, a: str, b: str) -> bool:
        """Whether two differing texts both hold an object or a list, which are then compared instead."""
        if a[:1] not in BRACKETS or b[:1] not in BRACKETS or self.inside >= MOST_INSIDE:
            return False
        forgiving = self.found.rules
        if forgiving is not None and forgiving.forgives(self.tokens, a, b):
            return False
        x, y = load(a), load(b)
        if x is ABSENT or y is ABSENT:
            return False
        trusted, self.trusted = self.trusted, False  # an escape may hide true from who looked for it
        self.inside += 1
        self.compare(x, y)
        self.inside -= 1
        self.trusted = trusted
        return True

    def _elements(self, a: Element, b: Element) -> None:
        if a.twin == b.twin:
            return
        if a.space != b.space:
            self._note("type", a.space, b.space)
            return
        if a.text != b.text:
            self.compare(a.text, b.text)
        self._objects(a.fields(), b.fields())
        mine, theirs = a.order(), b.order()
        if mine == theirs:
            if a.text == b.text and a.runs() != b.runs():  # the same words, but not around the same children
                self._note("value", a.runs(), b.runs())
        elif sorted(a.tags()) == sorted(b.tags()):
            is_forgiven = self.rules is not None and (
                self.rules.is_unordered(self.tokens) or self.rules.key_of(self.tokens) is not None
            )
            self.found.add(self.tokens, "order", mine, theirs, parents=self.parents, ignored=is_forgiven)

    def _below(self, token: Token, parent: object, a: object, b: object) -> None:
        self.tokens.append(token)
        self.parents.append(parent)
        if b is ABSENT:
            self._note("missing", a, None)
        elif a is ABSENT:
            self._note("extra", None, b)
        else:
            self.look(a, b)
        self.tokens.pop()
        self.parents.pop()

    def _objects(self, a: dict[str, object], b: dict[str, object]) -> None:
        trusted, get, common = self.trusted, b.get, 0
        for key, x in a.items():
            y = get(key, ABSENT)
            if y is not ABSENT:
                common += 1
                if x is y:
                    continue
                kind = type(x)
                if kind is type(y) and x == y and (trusted or kind not in CONTAINERS or is_same_twin(x, y)):
                    continue
            self._below(key, a, x, y)
            if self.found.is_full:
                return
        if common != len(b):
            for key, y in b.items():
                if key not in a:
                    self._below(key, b, ABSENT, y)

    def _lists(self, a: list[object], b: list[object]) -> None:
        rules = self.rules
        if rules is not None:
            fields = rules.key_of(self.tokens)
            if fields is not None:
                self._keyed(a, b, fields)
                return
            if rules.is_unordered(self.tokens):
                self._unordered(a, b)
                return
        same = operator.eq if self.trusted else is_same
        differing = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x is not y and not same(x, y)]
        if len(a) != len(b):
            self._note("length", len(a), len(b))
        elif len(differing) > 1 and _is_permutation([a[i] for i in differing], [b[i] for i in differing]):
            self._note("order", a, b)
            return
        for i in differing:
            self._below(i, a, a[i], b[i])
            if self.found.is_full:
                return

    def _unordered(self, a: list[object], b: list[object]) -> None:
        """Pair equal items wherever they stand; pair what is left in its order."""
        left = Counter(self._frozen(y, i) for i, y in enumerate(b))
        only_a = []
        for i, x in enumerate(a):
            frozen = self._frozen(x, i)
            if left[frozen]:
                left[frozen] -= 1
            else:
                only_a.append(i)
        only_b = []
        for i, y in reversed(list(enumerate(b))):
            frozen = self._frozen(y, i)
            if left[frozen]:
                left[frozen] -= 1
                only_b.append(i)
        only_b.reverse()
        if len(a) != len(b):
            self._note("length", len(a), len(b))
        elif not only_a and not only_b and not is_same(a, b):
            self.found.add(self.tokens, "order", a, b, parents=self.parents, ignored=True)
        for i, j in zip(only_a, only_b, strict=False):
            self._below(i, a, a[i], b[j])
            if self.found.is_full:
                return

    def _keyed(self, a: list[object], b: list[object], fields: tuple[tuple[str, ...], ...]) -> None:
        """Match items by what stands at *fields*; items without any, or of a repeated name, by order."""
        theirs: dict[Hashable, deque[int]] = {}
        for j, y in enumerate(b):
            theirs.setdefault(_name_of(y, fields), deque()).append(j)
        is_moved = False
        matched = 0
        for i, x in enumerate(a):
            same_name = theirs.get(_name_of(x, fields))
            if not same_name:
                self._below(i, a, x, ABSENT)
                continue
            j = same_name.popleft()
            matched += 1
            is_moved = is_moved or i != j
            if not is_same(x, b[j]):
                self._below(i, a, x, b[j])
        for same_name in theirs.values():
            for j in same_name:
                self._below(j, b, ABSENT, b[j])
        if is_moved and matched == len(a) == len(b):
            self.found.add(self.tokens, "order", a, b, parents=self.parents, ignored=True)

    def _frozen(self, value: object, index: int) -> Hashable:
        """Like `freeze`, without what the rules ignore inside this item."""
        if self.rules is None:
            return freeze(value)
        return _freeze_counted(value, [*self.tokens, index], self.rules)


def _freeze_counted(value: object, tokens: list[Token], rules: ListRules) -> Hashable:
    if rules.ignored(tokens):
        return None
    if isinstance(value, Element):
        return (value.space, tuple(value.runs()), _freeze_counted(value.fields(), tokens, rules))
    if isinstance(value, dict):
        fields = ((key, _freeze_counted(item, [*tokens, key], rules)) for key, item in value.items())
        return ("object", frozenset(fields))
    if isinstance(value, list):
        items = [_freeze_counted(item, [*tokens, i], rules) for i, item in enumerate(value)]
        if rules.is_unordered(tokens) or rules.key_of(tokens) is not None:
            return ("items", frozenset(Counter(items).items()))
        return ("list", tuple(items))
    return freeze(value)


def _name_of(item: object, fields: tuple[tuple[str, ...], ...]) -> Hashable:
    """What tells an item from others; `ABSENT` when it has none of the fields."""
    parts = tuple([_frozen_at(item, field) for field in fields])
    return ABSENT if all(part is ABSENT for part in parts) else parts


def _frozen_at(item: object, field: tuple[str, ...]) -> Hashable:
    for name in field:
        if isinstance(item, Element):
            item = item.fields()
        if not isinstance(item, dict) or name not in item:
            return ABSENT
        item = item[name]
        if isinstance(item, list) and item and isinstance(item[0], Element):
            item = item[0]
    return ("key", freeze(item.text if isinstance(item, Element) and not item.fields() else item))


def _is_permutation(a: list[object], b: list[object]) -> bool:
    if a[0] not in b:
        return False
    return Counter(map(freeze, a)) == Counter(map(freeze, b))
