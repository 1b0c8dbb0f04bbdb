"""The `fractional` operation: a key is hashed onto weighted entries; flagd's arithmetic, to the bit.

One addition to flagd: a key built around a unit that is not there (``cat`` of a salt and a missing
`targetingKey`) gives null, hence the default variant; flagd would put all such requests in one bucket.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import mmh3

from understudy.decide import cbor
from understudy.decide.coercion import Json, joined
from understudy.decide.hashing import MOST_WEIGHT, bucket, legacy_bucket, murmur
from understudy.decide.logic import Arguments, Compiler, Node, Run

UNIT = "targetingKey"

_KEY_HINT = "name the unit: {cat: [{var: $flagd.flagKey}, {var: targetingKey}]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One key drawn: ``bucket`` of ``total`` fell on ``value``.

    ``bucket`` is an integer in ``range(total)``; in generation 1 a float in [0, 100] with ``total`` 100.
    """

    key: bytes
    digest: int
    bucket: int | float
    total: int
    weights: tuple[int, ...]
    value: Json


@dataclass(frozen=True, slots=True)
class Distribution:
    """Entries to draw from; ``ends`` are the sums of weights so far, of 100 in generation 1."""

    values: tuple[Json, ...]
    weights: tuple[int, ...]
    ends: tuple[float, ...]
    total: int
    generation: int

    def draw(self, key: bytes) -> Draw | None:
        """Where *key* falls; None when no entry has weight or, in generation 1, beyond the last."""
        digest = murmur(key)
        legacy = self.generation == 1
        place: int | float = bucket(digest, self.total)
        if legacy:
            place = legacy_bucket(digest)
        index = bisect_right(self.ends, place)
        if self.total == 0 or index == len(self.values):
            return None
        return Draw(
            key=key,
            digest=digest,
            bucket=place,
            total=100 if legacy else self.total,
            weights=self.weights,
            value=self.values[index],
        )


def distribution(entries: Sequence[Json], generation: int) -> Distribution | None:
    """The evaluated *entries* ``[value, weight]``; None when one is malformed (flagd: null)."""
    values, weights = [], []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) not in (1, 2) or isinstance(entry[0], list | dict):
            return None
        weight = _weight(entry[1]) if len(entry) == 2 else 1
        if weight is None:
            return None
        values.append(entry[0])
        weights.append(max(0, weight))
    total = sum(weights)
    if total > MOST_WEIGHT:
        return None
    shares = [100 * weight / total for weight in weights] if generation == 1 and total else weights
    return Distribution(tuple(values), tuple(weights), tuple(accumulate(shares)), total, generation)


def _weight(value: Json) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def build(compiler: Compiler, arguments: Arguments) -> Node:
    """`fractional`: the value of the entry that the key falls on."""
    nodes = compiler.each(arguments)
    _lint(compiler, arguments)
    quick = _quick(compiler, arguments, nodes)
    if quick is not None:
        return quick
    draw = _drawer(compiler, arguments, nodes)

    def run(data: Any) -> Json:
        drawn = draw(data)
        return None if drawn is None else drawn.value

    return Node(run)


def drawer(compiler: Compiler, arguments: Arguments) -> Callable[[Any], Draw | None]:
    """The draw of a `fractional` in full; None where the operation gives null."""
    return _drawer(compiler, arguments, compiler.each(arguments))


def _drawer(compiler: Compiler, arguments: Arguments, nodes: Sequence[Node]) -> Callable[[Any], Draw | None]:
    generation, split = compiler.generation, _splitter(compiler, arguments, nodes[0].run)
    runs = [node.run for node in nodes]
    fixed = _fixed(arguments, nodes, generation)
    start = 1 if explicit(arguments) else 0

    def draw(data: Any) -> Draw | None:
        key, first = split(data)
        if key is None:
            return None
        chosen = fixed if first == start else None
        if chosen is None:
            chosen = distribution([run(data) for run in runs[first:]], generation)
        return None if chosen is None else chosen.draw(key)

    return draw


def _fixed(arguments: Arguments, nodes: Sequence[Node], generation: int) -> Distribution | None:
    """The distribution when all entries are constant."""
    entries = nodes[1:] if explicit(arguments) else nodes
    if not all(node.constant for node in entries):
        return None
    return distribution([node.value for node in entries], generation)


def explicit(arguments: Arguments) -> bool:
    """Whether the first argument is a key; a list written there is already an entry."""
    return not isinstance(arguments.items[0], list)


def _splitter(
    compiler: Compiler, arguments: Arguments, first: Run
) -> Callable[[Any], tuple[bytes | None, int]]:
    """What gives the key (None: the operation is null) and the position of the first entry."""
    unit, salt, third = (
        compiler.resolver.field(UNIT).run,
        compiler.resolver.flag_key,
        compiler.generation == 3,
    )
    is_there = _guard(compiler, arguments)

    def implicit(data: Any) -> bytes | None:
        value = unit(data)
        if type(value) is not str or not value:
            return None
        return cbor.encode([salt, value]) if third else cbor.encode_text(salt + value)

    def split(data: Any) -> tuple[bytes | None, int]:
        if not explicit(arguments):
            return implicit(data), 0
        value = first(data)
        if not is_there(data):
            return None, 1
        if type(value) is str:
            return _key(value, third=third), 1
        if value is None:
            # Go falls back to the implicit key (generations 1, 2); generation 3 has no such rule.
            return (None if third else implicit(data)), 1
        if third and type(value) is not list:
            return cbor.encode(value), 1
        return implicit(data), 0

    return split


def _key(value: str, *, third: bool) -> bytes | None:
    if third:
        return cbor.encode(value)
    return cbor.encode_text(value) if value else None


def _guard(compiler: Compiler, arguments: Arguments) -> Callable[[Any], bool]:
    """Whether the key depends on somebody: what it is built around is there.

    The unit must be there when the key is a `cat` around it. Of several fields, one is enough: a
    fallback (`or` of the unit and the address) is a key too.
    """
    rule = arguments.items[0]
    named = list(_named(rule, compiler)) if explicit(arguments) else []
    units = [compiler.resolver.field(name).run for name, plain in named if name == UNIT and plain]
    names = [name for name, _ in named]
    composed = not (isinstance(rule, dict) and "var" in rule)
    others = [compiler.resolver.field(str(name)).run for name in names] if None not in names else []
    if not composed:
        others = []

    def is_there(data: Any) -> bool:
        if any(run(data) in (None, "") for run in units):
            return False
        return not others or any(run(data) not in (None, "") for run in others)

    return is_there


def _named(
    rule: Json, compiler: Compiler, *, plain: bool = True, seen: set[tuple[str, bool]] | None = None
) -> Iterator[tuple[str | None, bool]]:
    """The fields that *rule* names, and whether through `cat` alone; None for one not known yet."""
    seen = set() if seen is None else seen
    if compiler.fatal:
        return
    if isinstance(rule, list):
        for item in rule:
            yield from _named(item, compiler, plain=plain, seen=seen)
    if not isinstance(rule, dict) or len(rule) != 1:
        return
    operator, given = next(iter(rule.items()))
    if operator == "var":
        yield from _named_by_var(given, plain=plain)
    elif operator == "$ref":
        if (given, plain) not in seen:
            seen.add((given, plain))
            yield from _named(compiler.evaluators[given], compiler, plain=plain, seen=seen)
    elif operator in _SCOPED:
        yield None, False
    else:
        yield from _named(given, compiler, plain=plain and operator == "cat", seen=seen)


_SCOPED = frozenset(("map", "filter", "reduce", "all", "some", "none", "missing", "missing_some"))


def _named_by_var(given: Json, *, plain: bool) -> Iterator[tuple[str | None, bool]]:
    name = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(name, str) or not name:
        yield None, False
    elif name.split(".", 1)[0] != "$flagd":
        yield name, plain


def _quick(compiler: Compiler, arguments: Arguments, nodes: Sequence[Node]) -> Node | None:
    """The common shape, without detours: constant entries, and one field between constant texts."""
    shape = _around(compiler, arguments)
    if shape is None or compiler.fatal or compiler.generation == 3:
        return None
    prefix, name, suffix, text_only = shape
    field = compiler.resolver.field(name)
    chosen = _fixed(arguments, nodes, compiler.generation)
    if chosen is None or chosen.total == 0 or field.constant:
        return None
    return Node(_quick_run(chosen, prefix, field.run, suffix, text_only=text_only))


def _quick_run(chosen: Distribution, prefix: str, field: Run, suffix: str, *, text_only: bool) -> Run:
    values, ends, total, legacy = chosen.values, chosen.ends, chosen.total, chosen.generation == 1
    digest_of = mmh3.hash

    def run(data: Any) -> Json:
        unit = field(data)
        if type(unit) is not str:
            if unit is None or text_only:
                return None
            unit = joined(unit)
        if not unit:
            return None
        # Bytes only: mmh3 5.3 crashes the process on a str with half a surrogate pair.
        try:
            digest = digest_of((prefix + unit + suffix).encode(), 0, False)
        except UnicodeEncodeError:
            digest = murmur(cbor.encode_text(prefix + unit + suffix))
        if legacy:
            index = bisect_right(ends, legacy_bucket(digest))
            return values[index] if index < len(values) else None
        return values[bisect_right(ends, digest * total >> 32)]

    return run


def _around(compiler: Compiler, arguments: Arguments) -> tuple[str, str, str, bool] | None:
    """Text before, field, text after, and whether only a text will do; None for any other key."""
    if not explicit(arguments):
        return compiler.resolver.flag_key, UNIT, "", True
    rule = arguments.items[0]
    if rule in ({"var": UNIT}, {"var": [UNIT]}):
        return "", UNIT, "", True
    if not isinstance(rule, dict) or set(rule) != {"cat"} or not isinstance(rule["cat"], list):
        return None
    before, name, after = "", "", ""
    for part in rule["cat"]:
        word = _field_name(part)
        if word is None or (word and name and word != "$flagd.flagKey"):
            return None
        if word == "$flagd.flagKey":
            text = compiler.resolver.flag_key
        elif word:
            name, text = word, ""
        else:
            text = joined(part)
        before, after = (before, after + text) if name else (before + text, after)
    return (before, name, after, False) if name else None


def _field_name(part: Json) -> str | None:
    """The field a part of `cat` is; empty for a constant, None for anything else."""
    if not isinstance(part, dict | list):
        return ""
    if not isinstance(part, dict) or set(part) != {"var"}:
        return None
    given = part["var"]
    name = given[0] if isinstance(given, list) and len(given) == 1 else given
    if not isinstance(name, str) or not name:
        return None
    return name if name == "$flagd.flagKey" or not name.startswith("$flagd") else None


def _lint(compiler: Compiler, arguments: Arguments) -> None:
    """Note entries that can never be drawn from."""
    start, total = (1 if explicit(arguments) else 0), 0
    if len(arguments.items) == start:
        compiler.problem(f"{arguments.path}.fractional", "nothing to choose from", 'like ["canary", 5]')
    for item, path in list(zip(arguments.items, arguments.paths, strict=True))[start:]:
        if not isinstance(item, list) or len(item) not in (1, 2):
            compiler.problem(path, "an entry is a list of a variant and a weight", 'like ["canary", 5]')
            continue
        weight = item[1] if len(item) == 2 else 1
        if isinstance(weight, dict):
            continue
        whole = _weight(weight)
        if whole is None or whole < 0:
            hint = "multiply all weights until they are whole" if isinstance(weight, float) else ""
            compiler.problem(f"{path}[1]", f"a weight is a whole number from 0, not {weight!r}", hint)
        else:
            total += whole
    if start and not compiler.fatal and not list(_named(arguments.items[0], compiler)):
        compiler.problem(arguments.paths[0], "this key is the same for everybody", _KEY_HINT)
    if total > MOST_WEIGHT:
        compiler.problem(f"{arguments.path}.fractional", f"weights add up to {total}, over {MOST_WEIGHT}")
