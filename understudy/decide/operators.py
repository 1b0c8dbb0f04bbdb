"""The operations of JSONLogic (json-logic-js) and flagd, by name."""

import math
from collections.abc import Callable, Mapping, Sequence

from understudy.decide import arrays, fields, fractional, prerequisites, semver
from understudy.decide.coercion import (
    MOST_TEXT,
    Json,
    joined,
    less,
    less_or_equal,
    loose_equal,
    number,
    parse_float,
    strict_equal,
    text,
    truthy,
)
from understudy.decide.logic import Arguments, Compiler, Node, Operator, applied, constant
from understudy.decide.naming import check_names
from understudy.decide.schedule import check_schedule


def _eager(
    function: Callable[..., Json],
    least: int,
    most: int | None = None,
    *,
    boolean: bool = False,
    strict: bool = False,
) -> Operator:
    def build(compiler: Compiler, arguments: Arguments) -> Node:
        return applied(function, compiler.each(arguments), boolean=boolean)

    return Operator(build, least, most, strict)


def _if(compiler: Compiler, arguments: Arguments) -> Node:
    nodes = compiler.each(arguments)
    last = nodes.pop() if len(nodes) % 2 else constant(None)
    if not nodes:
        return last
    if len(nodes) == 2:
        return _either(nodes[0], nodes[1], last)
    pairs = [(nodes[i].test, nodes[i + 1].run) for i in range(0, len(nodes), 2)]
    otherwise = last.run

    def run(data: object) -> Json:
        for condition, then in pairs:
            if condition(data):
                return then(data)
        return otherwise(data)

    return Node(run)


def _either(condition: Node, then: Node, otherwise: Node) -> Node:
    if condition.constant:
        return then if truthy(condition.value) else otherwise
    test, first, second, value = condition.test, then.run, otherwise.run, then.value
    boolean = then.boolean and otherwise.boolean
    if then.constant:
        return Node(lambda data: value if test(data) else second(data), boolean=boolean)
    return Node(lambda data: first(data) if test(data) else second(data), boolean=boolean)


def _and(compiler: Compiler, arguments: Arguments) -> Node:
    return _until(compiler.each(arguments), stop=False)


def _or(compiler: Compiler, arguments: Arguments) -> Node:
    return _until(compiler.each(arguments), stop=True)


def _until(nodes: Sequence[Node], *, stop: bool) -> Node:
    runs, boolean = [node.run for node in nodes], all(node.boolean for node in nodes)

    def first(data: object) -> Json:
        value = None
        for run in runs:
            value = run(data)
            if truthy(value) is stop:
                return value
        return value

    if all(node.constant for node in nodes):
        return constant(first(None))
    return Node(first, boolean=boolean)


def contains(needle: Json, hay: Json) -> bool:
    """The `in` operation: a part of a text, or an element of a list."""
    if type(hay) is str:
        return (needle if type(needle) is str else text(needle)) in hay
    if type(hay) is not list:
        return False
    # A text equals nothing but a text, in Python too, and the list may be a client's.
    return needle in hay if type(needle) is str else any(strict_equal(needle, item) for item in hay)


def _in(compiler: Compiler, arguments: Arguments) -> Node:
    needle, hay = compiler.each(arguments)
    if needle.constant and isinstance(needle.value, str) and not hay.constant:
        word, run = needle.value, hay.run

        def find(data: object) -> bool:
            value = run(data)
            if value is None:
                return False
            return word in value if type(value) is str else contains(word, value)

        return Node(find, boolean=True)
    if hay.constant and isinstance(hay.value, list):
        return _in_list(compiler, needle, hay.value)
    return applied(contains, (needle, hay), boolean=True)


def _in_list(compiler: Compiler, needle: Node, items: list[Json]) -> Node:
    members, run = compiler.document.members_of(items), needle.run
    if needle.constant or not members.are_plain:
        return applied(contains, (needle, constant(items)), boolean=True)
    return Node(lambda data: run(data) in members, boolean=True)


def _cat(compiler: Compiler, arguments: Arguments) -> Node:
    nodes = compiler.each(arguments)
    if len(nodes) == 2 and nodes[0].constant and not nodes[1].constant:
        prefix, run = joined(nodes[0].value), nodes[1].run
        return Node(lambda data: prefix + joined(run(data)))
    return applied(_concatenated, nodes)


def _concatenated(*values: Json) -> str:
    parts = [joined(value) for value in values]
    if sum(map(len, parts)) > MOST_TEXT:
        raise ValueError("a rule makes a text that is too long")
    return "".join(parts)


def _substr(source: Json, start: Json, length: Json = None) -> str:
    whole = text(source)
    begin = _whole(start, 0)
    rest = whole[max(0, len(whole) + begin) if begin < 0 else begin :]
    if length is None:
        return rest
    return rest[: _whole(length, 0)]


def _whole(value: Json, otherwise: int) -> int:
    found = number(value)
    if found != found:
        return otherwise
    return int(max(-(2**53), min(2**53, found)))


def _between(compare: Callable[[Json, Json], bool]) -> Callable[..., bool]:
    def ordered(low: Json, middle: Json, *high: Json) -> bool:
        return compare(low, middle) and (not high or compare(middle, high[0]))

    return ordered


def _equality(function: Callable[..., Json]) -> Operator:
    def build(compiler: Compiler, arguments: Arguments) -> Node:
        check_names(compiler, arguments)
        return applied(function, compiler.each(arguments), boolean=True)

    return Operator(build, 2, 2)


def _order(function: Callable[..., Json], most: int) -> Operator:
    def build(compiler: Compiler, arguments: Arguments) -> Node:
        check_schedule(compiler, arguments)
        return applied(function, compiler.each(arguments), boolean=True)

    return Operator(build, 2, most)


def _arithmetic(function: Callable[[float, float], float]) -> Callable[[Json, Json], Json]:
    def calculate(left: Json, right: Json) -> Json:
        try:
            return function(number(left), number(right))
        except (OverflowError, ValueError):
            return math.nan

    return calculate


def _divided(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or left != left else math.copysign(math.inf, left)
    return left / right


def _difference(left: Json, *right: Json) -> Json:
    return number(left) - number(right[0]) if right else -number(left)


def _sum(*values: Json) -> Json:
    total: int | float = 0
    for value in values:
        total = number(total + parse_float(value))
    return total


def _product(*values: Json) -> Json:
    if len(values) == 1:
        # json-logic-js does not even read a lone factor; as a number is what every other port makes of it
        return parse_float(values[0])
    total: int | float = 1
    for value in values:
        total = number(total * parse_float(value))
    return total


def _extreme(choose: Callable[[Sequence[float]], float]) -> Callable[..., Json]:
    def extreme(*values: Json) -> Json:
        numbers = [number(value) for value in values]
        return math.nan if any(item != item for item in numbers) else choose(numbers)

    return extreme


def _merge(*values: Json) -> list[Json]:
    merged: list[Json] = []
    for value in values:
        if isinstance(value, list):
            merged += value
        else:
            merged.append(value)
        if len(merged) > MOST_TEXT:
            raise ValueError("a rule makes a list that is too long")
    return merged


def _starts_with(value: Json, prefix: Json) -> bool | None:
    return value.startswith(prefix) if type(value) is str and type(prefix) is str else None


def _ends_with(value: Json, suffix: Json) -> bool | None:
    return value.endswith(suffix) if type(value) is str and type(suffix) is str else None


def _sem_ver(compiler: Compiler, arguments: Arguments) -> Node:
    version, sign, target = compiler.each(arguments)
    if sign.constant and sign.value not in semver.OPERATORS:
        hint = "one of " + " ".join(semver.OPERATORS)
        compiler.problem(arguments.paths[1], f"unknown comparison {sign.value!r}", hint)
    if target.constant and semver.parse(target.value) is None:
        compiler.problem(arguments.paths[2], f"{target.value!r} is not a version", "like 1.2.3")
    wanted = semver.parse(target.value) if target.constant else None
    if version.constant or wanted is None or sign.value not in semver.OPERATORS:
        return applied(semver.satisfies, (version, sign, target))
    run, operator = version.run, str(sign.value)

    def satisfied(data: object) -> bool | None:
        found = semver.parse(run(data))
        return None if found is None else semver.compare(found, operator, wanted)

    return Node(satisfied)


OPERATORS: Mapping[str, Operator] = {
    "var": Operator(fields.var, 0, 2),
    "missing": Operator(fields.missing),
    "missing_some": Operator(fields.missing_some, 2, 2),
    "if": Operator(_if),
    "?:": Operator(_if),
    "and": Operator(_and, 1),
    "or": Operator(_or, 1),
    "==": _equality(loose_equal),
    "===": _equality(strict_equal),
    "!=": _equality(lambda a, b: not loose_equal(a, b)),
    "!==": _equality(lambda a, b: not strict_equal(a, b)),
    "!": _eager(lambda value: not truthy(value), 1, 1, boolean=True),
    "!!": _eager(truthy, 1, 1, boolean=True),
    ">": _order(lambda a, b: less(b, a), 2),
    ">=": _order(lambda a, b: less_or_equal(b, a), 2),
    "<": _order(_between(less), 3),
    "<=": _order(_between(less_or_equal), 3),
    "max": _eager(_extreme(max), 1),
    "min": _eager(_extreme(min), 1),
    "+": _eager(_sum, 1),
    "*": _eager(_product, 1),
    "-": _eager(_difference, 1, 2),
    "/": _eager(_arithmetic(_divided), 2, 2),
    "%": _eager(_arithmetic(math.fmod), 2, 2),
    "map": Operator(arrays.mapped, 2, 2),
    "filter": Operator(arrays.filtered, 2, 2),
    "reduce": Operator(arrays.reduced, 2, 3),
    "all": Operator(arrays.all_of, 2, 2),
    "some": Operator(arrays.some_of, 2, 2),
    "none": Operator(arrays.none_of, 2, 2),
    "merge": _eager(_merge, 0),
    "in": Operator(_in, 2, 2),
    "cat": Operator(_cat, 0),
    "substr": _eager(_substr, 2, 3),
    "flag": Operator(prerequisites.flag, 1, 1, strict=True),
    "fractional": Operator(fractional.build, 1, strict=True),
    "starts_with": _eager(_starts_with, 2, 2, strict=True),
    "ends_with": _eager(_ends_with, 2, 2, strict=True),
    "sem_ver": Operator(_sem_ver, 3, 3, strict=True),
}
