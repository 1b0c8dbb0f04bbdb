"""The operations that look at data: `var`, `missing`, `missing_some`; and the resolver for plain data."""

from collections.abc import Callable, Sequence
from typing import Any

from understudy.decide.coercion import Json, number, text
from understudy.decide.logic import Arguments, Compiler, Node, constant

MISSING: Any = object()
"""Stands for JavaScript's undefined where null would be a value."""


def descend(data: Json, names: Sequence[str], default: Json = None) -> Json:
    """The value at dotted *names* below *data*; *default* where a name leads nowhere."""
    for name in names:
        if isinstance(data, dict):
            data = data.get(name, MISSING)
        elif isinstance(data, list) and name.isdecimal() and name.isascii() and len(name) < 10:
            data = data[int(name)] if int(name) < len(data) else MISSING
        else:
            return default
        if data is MISSING:
            return default
    return data


class DataResolver:
    """Reads `var` from a JSON object: the context of an SDK, or one element of a list.

    With a *flag_key*, `$flagd.flagKey` and `$flagd.timestamp` (seconds, from *clock*) are added.
    """

    def __init__(self, flag_key: str = "", clock: Callable[[], float] | None = None) -> None:
        self.flag_key = flag_key
        self._clock = clock

    def field(self, name: str, default: Json = None) -> Node:
        """The value called *name* (dotted), *default* where there is none."""
        if self.flag_key and name.split(".", 1)[0] == "$flagd":
            return flagd_field(self.flag_key, self._clock, name, default)
        if name == "":
            return Node(self._whole)
        names = name.split(".")
        if len(names) == 1:
            return Node(
                lambda data: data.get(name, default) if type(data) is dict else descend(data, names, default)
            )
        return Node(lambda data: descend(data, names, default))

    def find(self, data: Any, name: str, default: Json = None) -> Json:
        """The same, for a name that is only known at run time."""
        return self.field(name, default).run(data)

    def element(self) -> "DataResolver":
        """The resolver for rules that look at one element of a list."""
        return _ELEMENT

    def of_flag(self, key: str) -> "DataResolver":
        """The resolver for another flag in the same context."""
        return DataResolver(key, self._clock)

    def _whole(self, data: Json) -> Json:
        if self.flag_key and isinstance(data, dict):
            return {**data, "$flagd": flagd_field(self.flag_key, self._clock, "$flagd").run(data)}
        return data


_ELEMENT = DataResolver()


def flagd_field(flag_key: str, clock: Callable[[], float] | None, name: str, default: Json = None) -> Node:
    """What flagd adds to every context: ``$flagd.flagKey`` and ``$flagd.timestamp`` (whole seconds)."""
    if name == "$flagd.flagKey":
        return constant(flag_key)
    if name == "$flagd.timestamp":
        return constant(default) if clock is None else Node(lambda _: int(clock()))
    if name != "$flagd":
        return constant(default)
    if clock is None:
        return constant({"flagKey": flag_key})
    return Node(lambda _: {"flagKey": flag_key, "timestamp": int(clock())})


def _name(value: Json) -> str:
    return "" if value is None else text(value)


def var(compiler: Compiler, arguments: Arguments) -> Node:
    """`var`: the value called by the first argument, else the second."""
    nodes = compiler.each(arguments)
    resolver = compiler.resolver
    name = nodes[0] if nodes else constant("")
    default = nodes[1] if len(nodes) > 1 else constant(None)
    if name.constant and default.constant:
        return resolver.field(_name(name.value), default.value)
    find, call, otherwise = resolver.find, name.run, default.run

    def look(data: Any) -> Json:
        value = find(data, _name(call(data)), MISSING)
        return otherwise(data) if value is MISSING else value

    return Node(look)


def missing(compiler: Compiler, arguments: Arguments) -> Node:
    """`missing`: those of the named values that are null or empty."""
    nodes = compiler.each(arguments)
    if all(node.constant for node in nodes):
        values = [node.value for node in nodes]
        return _absent(compiler, values[0] if values and isinstance(values[0], list) else values)
    runs, find = [node.run for node in nodes], compiler.resolver.find

    def absent(data: Any) -> list[Json]:
        names = [run(data) for run in runs]
        return _missing_of(find, data, names[0] if isinstance(names[0], list) else names)

    return Node(absent)


def _absent(compiler: Compiler, names: Sequence[Json]) -> Node:
    known = [(name, compiler.resolver.field(_name(name)).run) for name in names]
    return Node(lambda data: [name for name, run in known if run(data) in (None, "")])


def _missing_of(find: Callable[..., Json], data: Any, names: Sequence[Json]) -> list[Json]:
    return [name for name in names if find(data, _name(name)) in (None, "")]


def missing_some(compiler: Compiler, arguments: Arguments) -> Node:
    """`missing_some`: nothing when at least so many of the named values are there, else the missing."""
    need, names = (node.run for node in compiler.each(arguments))
    find = compiler.resolver.find

    def absent(data: Any) -> list[Json]:
        listed = names(data)
        wanted = listed if isinstance(listed, list) else [listed]
        gone = _missing_of(find, data, wanted)
        return [] if len(wanted) - len(gone) >= number(need(data)) else gone

    return Node(absent)
