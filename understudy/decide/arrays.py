"""The operations that apply a rule to each element of a list: there, `var` sees only the element."""

from typing import Any

from understudy.decide.coercion import Json, truthy
from understudy.decide.logic import Arguments, Compiler, Node, Run, constant


def _parts(compiler: Compiler, arguments: Arguments) -> tuple[Run, Node]:
    items = compiler.compile(arguments.items[0], arguments.paths[0], arguments.depth + 1)
    inner = compiler.element()
    rule = inner.compile(arguments.items[1], arguments.paths[1], arguments.depth + 1)
    times = len(items.value) if items.constant and isinstance(items.value, list) else 1
    compiler.adopt(inner, arguments.path, times=max(1, times))
    return items.run, rule


def mapped(compiler: Compiler, arguments: Arguments) -> Node:
    """`map`: the rule's value for each element."""
    items, rule = _parts(compiler, arguments)
    run = rule.run

    def each(data: Any) -> list[Json]:
        found = items(data)
        return [run(item) for item in found] if isinstance(found, list) else []

    return Node(each)


def filtered(compiler: Compiler, arguments: Arguments) -> Node:
    """`filter`: the elements for which the rule is true."""
    items, rule = _parts(compiler, arguments)
    test = rule.test

    def kept(data: Any) -> list[Json]:
        found = items(data)
        return [item for item in found if test(item)] if isinstance(found, list) else []

    return Node(kept)


def reduced(compiler: Compiler, arguments: Arguments) -> Node:
    """`reduce`: the rule applied to `current` and `accumulator`, over and over."""
    items, rule = _parts(compiler, arguments)
    run, start = rule.run, constant(None).run
    if len(arguments.items) > 2:
        start = compiler.compile(arguments.items[2], arguments.paths[2], arguments.depth + 1).run

    def total(data: Any) -> Json:
        found, value = items(data), start(data)
        if isinstance(found, list):
            for item in found:
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
    items, rule = _parts(compiler, arguments)
    run = rule.run
    at_stop = stop if found is None else found

    def ask(data: Any) -> bool:
        listed = items(data)
        if not isinstance(listed, list) or not listed:
            return empty
        for item in listed:
            if truthy(run(item)) is stop:
                return at_stop
        return not at_stop

    return Node(ask, boolean=True)
