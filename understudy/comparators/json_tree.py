"""Walk two JSON trees and note where they differ. The hot loop of comparing: ~10 µs for an 864-byte pair."""

import json
import math
import operator
from collections import Counter
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Final, Protocol

import orjson

from understudy.comparators.difference import Token
from understudy.comparators.found import Found

DEEPEST: Final = 100
"""Levels walked one by one; what lies deeper is compared as one value."""

DIGITS: Final = bytes(ord("0") if 48 <= i <= 57 else i for i in range(256))
NINETEEN: Final = b"0" * 19
MOST_POSITIVE: Final = b"0" * 20  # 2**64 has 20 digits
MOST_NEGATIVE: Final = b"-" + NINETEEN  # -2**63 has 19
MOST_DIGITS: Final = 4000  # int() refuses more than 4,300 digits (CVE-2020-10735)


class Absent:
    """Nothing stands here: not even null."""


ABSENT: Final = Absent()
SORTED: Final = orjson.OPT_SORT_KEYS
NUMBERS: Final = frozenset({int, float, Decimal})
CONTAINERS: Final = frozenset({dict, list})


class ListRules(Protocol):
    """How the lists of one endpoint are matched."""

    def key_of(self, tokens: Sequence[Token]) -> tuple[tuple[str, ...], ...] | None:
        """The paths, inside an item, of the fields that name it; None: by position."""

    def is_unordered(self, tokens: Sequence[Token]) -> bool:
        """Whether order means nothing in this list."""

    def ignored(self, tokens: Sequence[Token]) -> int:
        """How many leading tokens name the ignored branch; 0 when the place counts."""

    def reaches(self, tokens: Sequence[Token]) -> bool:
        """Whether any rule names what lies below this place."""


def load(text: bytes | str) -> object:
    """The tree of a JSON text, or `ABSENT` when it is none (RFC 8259; NaN is none).

    orjson reads integers beyond 64 bits as floats; those texts are read again, exactly.
    """
    try:
        tree: object = orjson.loads(text)
    except ValueError:
        return _load_exactly(text)
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    digits = raw.translate(DIGITS)
    # One look is enough for nearly all; nanoseconds since 1970 have 19 digits.
    if NINETEEN in digits and (MOST_POSITIVE in digits or MOST_NEGATIVE in digits):
        exact = _load_exactly(text)
        return tree if exact is ABSENT else exact
    return tree


def _load_embedded(text: object) -> object:
    """The tree of a text that looks like an object or a list; `ABSENT` when it is none."""
    return load(text) if isinstance(text, str) and text.lstrip()[:1] in ("{", "[") else ABSENT


def _load_exactly(text: bytes | str) -> object:
    try:
        whole = text.decode("utf-8") if isinstance(text, bytes) else text
        tree: object = json.loads(
            whole.removeprefix("\ufeff"),
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError):
        return ABSENT
    return tree


def _integer(text: str) -> object:
    return int(text) if len(text) < MOST_DIGITS else Decimal(text)


def _real(text: str) -> object:
    number = float(text)
    if not math.isinf(number):
        return number
    try:
        return Decimal(text)
    except ArithmeticError as error:
        raise ValueError(text) from error


def _refuse(text: str) -> object:
    raise ValueError(text)


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
        walk.compare(primary, shadow)
    except RecursionError:
        if not _is_same_however_deep(primary, shadow):
            found.add(tokens, "body", "nested too deeply", "nested too deeply")


class Walk:
    """One walk over two trees; ``tokens`` is where it stands."""

    __slots__ = ("found", "parents", "rules", "tokens", "trusted")

    def __init__(
        self, found: Found, tokens: Sequence[Token], rules: ListRules | None, *, trusted: bool
    ) -> None:
        self.found = found
        self.rules = rules
        self.trusted = trusted
        self.tokens: list[Token] = list(tokens)
        self.parents: list[object] = [None] * (len(tokens) - 1)

    def compare(self, a: object, b: object) -> None:
        """Compare what stands here."""
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
        elif kind is type(b) or (kind in NUMBERS and type(b) in NUMBERS):
            if a != b and not (kind is str and self._are_embedded(a, b)):
                self._note("value", a, b)
        else:
            self._note("type", a, b)

    def _are_embedded(self, a: object, b: object) -> bool:
        """Whether two differing texts are JSON of their own that a rule reaches into; then walk it.

        What differs there stands at the path below the text's; a difference in writing alone is forgiven.
        """
        if self.rules is None or len(self.tokens) >= DEEPEST or not self.rules.reaches(self.tokens):
            return False
        x, y = _load_embedded(a), _load_embedded(b)
        if type(x) not in CONTAINERS or type(x) is not type(y):
            return False
        if is_same(x, y):
            self.found.add(self.tokens, "value", a, b, parents=self.parents, ignored=True)
        else:
            trusted, self.trusted = self.trusted, False
            self.compare(x, y)
            self.trusted = trusted
        return True

    def _note(self, kind: str, a: object, b: object) -> None:
        self.found.add(self.tokens, kind, a, b, parents=self.parents)

    def _below(self, token: Token, parent: object, a: object, b: object) -> None:
        self.tokens.append(token)
        self.parents.append(parent)
        if b is ABSENT:
            self._note("missing", a, None)
        elif a is ABSENT:
            self._note("extra", None, b)
        else:
            self.compare(a, b)
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
                if kind is type(y) and x == y and (trusted or kind not in CONTAINERS or _is_same_twin(x, y)):
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

    def _keyed(self, a: list[object], b: list[object], fields: tuple[tuple[str, ...], ...]) -> None:
        """Match items by what stands at *fields*; items without any, or of a repeated name, by order."""
        theirs: dict[Hashable, list[int]] = {}
        for j, y in enumerate(b):
            theirs.setdefault(_name_of(y, fields), []).append(j)
        is_moved = False
        matched = 0
        for i, x in enumerate(a):
            same_name = theirs.get(_name_of(x, fields))
            if not same_name:
                self._below(i, a, x, ABSENT)
                continue
            j = same_name.pop(0)
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


def is_same(a: object, b: object) -> bool:
    """Whether two trees are equal: 1 and 1.0 are, 1 and true are not."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return kind in NUMBERS and type(b) in NUMBERS and a == b
    if kind not in CONTAINERS:
        return a == b
    return a == b and _is_same_twin(a, b)


def _is_same_however_deep(a: object, b: object) -> bool:
    """Like `is_same`, without recursion."""
    open_pairs = [(a, b)]
    while open_pairs:
        x, y = open_pairs.pop()
        if isinstance(x, dict) and isinstance(y, dict):
            if x.keys() != y.keys():
                return False
            open_pairs.extend((value, y[key]) for key, value in x.items())
        elif isinstance(x, list) and isinstance(y, list):
            if len(x) != len(y):
                return False
            open_pairs.extend(zip(x, y, strict=True))
        elif not is_same(x, y):
            return False
    return True


def _is_same_twin(a: object, b: object) -> bool:
    """Whether two containers equal to Python, which takes True for 1, are the same.

    As texts, at the speed of C, when there is nothing like 1 and 1.0; item by item else.
    """
    try:
        if orjson.dumps(a, option=SORTED) == orjson.dumps(b, option=SORTED):
            return True
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, or too deep for orjson
        pass
    if isinstance(a, dict) and isinstance(b, dict):
        return all(is_same(x, b[key]) for key, x in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return all(is_same(x, y) for x, y in zip(a, b, strict=True))
    return True


def freeze(value: object) -> Hashable:
    """A hashable twin: two trees are `is_same` exactly when their twins are equal."""
    if isinstance(value, dict):
        return ("object", frozenset((key, freeze(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(freeze(item) for item in value))
    if isinstance(value, bool):
        return ("boolean", value)
    return value if isinstance(value, str | int | float | Decimal) else None


def _freeze_counted(value: object, tokens: list[Token], rules: ListRules) -> Hashable:
    if rules.ignored(tokens):
        return None
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
        if not isinstance(item, dict) or name not in item:
            return ABSENT
        item = item[name]
    return ("key", freeze(item))


def _is_permutation(a: list[object], b: list[object]) -> bool:
    if a[0] not in b:
        return False
    return Counter(map(freeze, a)) == Counter(map(freeze, b))
