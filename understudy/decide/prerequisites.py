"""The `flag` operation: the variant that another flag has in the same context.

It is ours: flagd has none, so a provider that evaluates by itself cannot read a flag that uses it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from understudy.decide.coercion import Json
from understudy.decide.definition import Flag, outcome
from understudy.decide.logic import Arguments, Compiler, Node, closest, constant

DEEPEST_PREREQUISITES = 10
"""Flags that ask flags that ask flags: further than this nobody follows them by reading."""


def flag(compiler: Compiler, arguments: Arguments) -> Node:
    """`flag`: the variant's name; null where the flag has none (disabled, or no default variant).

    A killed flag has its safe variant. A flag whose rule fails makes the rule that asks it fail.
    """
    key, where = arguments.items[0], f"{arguments.path}.flag"
    asked = compiler.document.flag(key) if isinstance(key, str) else None
    if asked is None:
        known = closest(str(key), compiler.document.flags) or "the key of a flag, written out"
        return compiler.problem(where, f"there is no flag {key!r}", known, fatal=True)
    if not compiler.resolver.flag_key:
        hint = "ask it outside of map, filter, reduce, all, some and none"
        return compiler.problem(where, "a flag needs the whole context", hint, fatal=True)
    if asked.metadata.get("archived") is True:
        return compiler.problem(where, f"flag {asked.key!r} is archived", "write its variant here")
    if asked.key in compiler.flags:
        circle = " → ".join((*compiler.flags[compiler.flags.index(asked.key) :], asked.key))
        return compiler.problem(where, f"flags ask each other in a circle: {circle}", fatal=True)
    if len(compiler.flags) > DEEPEST_PREREQUISITES:
        chain = " → ".join((*compiler.flags, asked.key))
        message = f"more than {DEEPEST_PREREQUISITES} flags ask one another: {chain}"
        return compiler.problem(where, message, fatal=True)
    settled = compiler.document.settled(asked)
    if settled is not None:
        return constant(settled.variant)
    return _asking(compiler, asked, where, arguments.depth)


def _asking(compiler: Compiler, asked: Flag, where: str, depth: int) -> Node:
    node = compiler.of_flag(asked, where, depth)
    return Node(_variant(asked, node.run))


def _variant(asked: Flag, run: Callable[[Any], Json]) -> Callable[[Any], Json]:
    def variant(data: Any) -> Json:
        result = run(data)
        if type(result) is str and result in asked.variants:
            return result
        found = outcome(asked, result)
        if found.error:
            raise LookupError(found.error)
        return found.variant

    return variant


def referred(rule: Any) -> Iterator[tuple[str, str]]:
    """The operations ``flag`` and ``$ref`` anywhere in *rule*, each with its name, empty if it is no text."""
    todo = [rule]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += [item for item in node if isinstance(item, list | Mapping)]
        elif isinstance(node, Mapping):
            for name in ("flag", "$ref"):
                if name in node:
                    yield name, node[name] if isinstance(node[name], str) else ""
            todo += node.values()
