"""The operations that apply a rule to each element of a list: there, `var` sees only the element.

Who sends a list says how often the rule runs, and loops in loops multiply: each element is paid for, with
what the rule costs, out of the `Work` of the evaluation.
"""

from collections.abc import Callable
from typing import Any

from understudy.decide.coercion import Json, truthy
from understudy.decide.logic import Arguments, Compiler, Node, constant

_ELEMENTS, _CHARACTERS = 16, 64
"""So many of a list or a text are copied, compared or read as a number in the time of an operation."""


def _parts(compiler: Compiler, arguments: Arguments) -> tuple[Callable[[Any], list[Json]], Node, int]:
    """What gives the list, paid for; the rule for each element, and what that costs."""
    items = compiler.compile(arguments.items[0], arguments.paths[0], arguments.depth + 1)
    inner = compiler.element()
    rule = inner.compile(arguments.items[1], arguments.paths[1], arguments.depth + 1)
    times = len(items.value) if items.constant and isinstance(items.value, list) else 1
    compiler.adopt(inner, arguments.path, times=max(1, times))
    compiler.work.need()
    spend, cost, run = compiler.work.spend, inner.weight + 1, items.run

    def listed(data: Any) -> list[Json]:
        found = run(data)
        if not isinstance(found, list):
            return []
        spend(len(found) * cost)
        return found

    return listed, rule, cost


def mapped(compiler: Compiler, arguments: Arguments) -> Node:
    """`map`: the rule's value for each element."""
    items, rule, _ = _parts(compiler, arguments)
    run = rule.run
    return Node(lambda data: [run(item) for item in items(data)])


def filtered(compiler: Compiler, arguments: Arguments) -> Node:
    """`filter`: the elements for which the rule is true."""
    items, rule, _ = _parts(compiler, arguments)
    test = rule.test
    return Node(lambda data: [item for item in items(data) if test(item)])


def reduced(compiler: Compiler, arguments: Arguments) -> Node:
    """`reduce`: the rule applied to `current` and `accumulator`, over and over."""
    items, rule, cost = _parts(compiler, arguments)
    spend = compiler.work.spend
    run, start = rule.run, constant(None).run
    if len(arguments.items) > 2:
        start = compiler.compile(arguments.items[2], arguments.paths[2], arguments.depth + 1).run

    def total(data: Any) -> Json:
        found, value = items(data), start(data)
        for item in found:
            if type(value) is list:
                spend(len(value) // _ELEMENTS * cost)
            elif type(value) is str:
                spend(len(value) // _CHARACTERS * cost)
            value = run({"current": item, "accumulator": value})
        return value

    return Node(total)


def all_of(compiler: Compiler, arguments: Arguments) -> Node:
    """`all`: whether the rule is true for every element; false for none."""
    return _asked(compiler, arguments, stop=False, empty=False)


def some_of(compiler: Compiler, arguments: Arguments) -> Node:
    """`some`: whether the rule is true for an element."""
    return _asked(compiler, arguments, stop=True, empty=False)


def none_of(compiler: Compiler, arguments: Arguments) -> Node:
    """`none`: whether the rule is true for no element."""
    return _asked(compiler, arguments, stop=True, empty=True, found=False)


def _asked(
    compiler: Compiler, arguments: Arguments, *, stop: bool, empty: bool, found: bool | None = None
) -> Node:
    items, rule, _ = _parts(compiler, arguments)
    run = rule.run
    at_stop = stop if found is None else found

    def ask(data: Any) -> bool:
        listed = items(data)
        if not listed:
            return empty
        for item in listed:
            if truthy(run(item)) is stop:
                return at_stop
        return not at_stop

    return Node(ask, boolean=True)
