"""A JSONLogic rule, compiled to closures once.

Compiling finds every mistake and keeps going, so that one reading names them all. What it makes of a
mistaken rule still runs, as json-logic-js would run it, except where that is impossible (`fatal`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from understudy.decide.coercion import Json, truthy
from understudy.decide.definition import Document, Flag
from understudy.decide.spelling import alike
from understudy.decide.work import Work
from understudy.errors import Problem

Run = Callable[[Any], Json]

DEEPEST = 100
"""Rules may nest this deep: hand-written ones stay below 20, and Python's own stack ends near 1000."""


MOST_OPERATIONS = 10_000
"""One evaluation stays in milliseconds: shared rules that double one another could run for years."""


@dataclass(slots=True, eq=False)
class Node:
    """One compiled rule: ``run(data)`` gives its value; a ``constant`` one has it already.

    ``boolean`` promises True or False and nothing else, which saves asking for truthiness. Never
    changed; not frozen, because making one would cost three times as much.
    """

    run: Run
    constant: bool = False
    value: Json = None
    boolean: bool = False

    @property
    def test(self) -> Run:
        """The node as a condition: True or False by JSONLogic's truth."""
        if self.boolean:
            return self.run
        run = self.run
        return lambda data: truthy(run(data))


def constant(value: Json) -> Node:
    """The node that is always *value*."""
    return Node(lambda _: value, constant=True, value=value, boolean=type(value) is bool)


class Resolver(Protocol):
    """Where the values of `var` come from; chosen when a rule is compiled."""

    @property
    def flag_key(self) -> str:
        """The flag being decided; empty where there is none (inside `map` and its kind)."""

    def field(self, name: str, default: Json = None) -> Node:
        """The value called *name* (dotted), *default* where there is none."""

    def find(self, data: Any, name: str, default: Json = None) -> Json:
        """The same, for a name that is only known at run time. An empty name is all data."""

    def element(self) -> "Resolver":
        """The resolver for rules that look at one element of a list."""

    def of_flag(self, key: str) -> "Resolver":
        """The resolver for another flag in the same context."""


@dataclass(slots=True, eq=False)
class Arguments:
    """What stands to the right of an operator, with the place of each for messages. Never changed."""

    operator: str
    path: str
    items: Sequence[Json]
    paths: Sequence[str]
    depth: int


@dataclass(frozen=True, slots=True)
class Operator:
    """How to compile one operation, and how many arguments it takes (``most`` None: any number).

    With a wrong number a ``strict`` one gives null (flagd's own operations do); the others see null
    for what is missing and nothing of what is too much (json-logic-js).
    """

    build: Callable[["Compiler", Arguments], Node]
    least: int = 0
    most: int | None = None
    strict: bool = False

    def counts(self, given: int) -> bool:
        """Whether *given* arguments are a right number."""
        return self.least <= given and (self.most is None or given <= self.most)

    @property
    def arity(self) -> str:
        """The right numbers, to read."""
        if self.most is None:
            return f"at least {self.least}"
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def closest(word: str, known: Sequence[str] | Mapping[str, Any], meant: str = "did you mean {}?") -> str:
    """A hint naming the *known* word nearest to *word*; empty when none is near."""
    found = get_close_matches(word, alike(word, known), n=1, cutoff=0.65)
    return meant.format(found[0]) if found else ""


def arguments_of(operator: str, given: Json, path: str, depth: int) -> Arguments:
    """The argument list of *operator*; a single argument may stand without its list."""
    if isinstance(given, list):
        paths = [f"{path}.{operator}[{index}]" for index in range(len(given))]
        return Arguments(operator, path, given, paths, depth)
    return Arguments(operator, path, [given], [f"{path}.{operator}"], depth)


class Compiler:
    """Compiles rules of one flag for one resolver; ``problems`` grows with every mistake met.

    ``weight`` is how many operations one evaluation may run; ``flags`` are those that led here by
    asking one another. ``work`` is shared by all compilers of one rule.
    """

    def __init__(
        self,
        *,
        operators: Mapping[str, Operator],
        document: Document,
        resolver: Resolver,
        generation: int,
        flags: tuple[str, ...] = (),
        inside: tuple[str, ...] = (),
        compiled: dict[tuple[int, str, bool], tuple["Compiler", Node, int]] | None = None,
        work: Work | None = None,
    ) -> None:
        self.operators = operators
        self.document = document
        self.evaluators = document.evaluators
        self.resolver = resolver
        self.generation = generation
        self.problems: list[Problem] = []
        self.fatal = False
        self.reached = 0
        self.weight = 0
        self.flags = flags
        self._inside = inside
        # Shared by all compilers of one rule: evaluators and flags that double each other stay cheap.
        self._compiled = {} if compiled is None else compiled
        self.work = work or Work()

    def problem(self, path: str, message: str, hint: str = "", *, fatal: bool = False) -> Node:
        """Note a mistake; the null node stands in its place."""
        self.problems.append(Problem(path=path, message=message, hint=hint))
        self.fatal = self.fatal or fatal
        return constant(None)

    def compile(self, rule: Json, path: str, depth: int = 0) -> Node:
        """*rule* as a node. Never raises on JSON, however mistaken or deep."""
        self.reached = max(self.reached, depth)
        if depth > DEEPEST:
            return self.problem(path, f"nested deeper than {DEEPEST} levels", fatal=True)
        if isinstance(rule, dict):
            return self._operation(rule, path, depth)
        if isinstance(rule, list):
            return self._list(rule, path, depth)
        if rule is None or isinstance(rule, str | bool | int | float):
            return constant(rule)
        return self.problem(path, f"{type(rule).__name__} is not a JSON value", "quote it", fatal=True)

    def each(self, arguments: Arguments) -> list[Node]:
        """Every argument, compiled."""
        pairs = zip(arguments.items, arguments.paths, strict=True)
        return [self.compile(item, path, arguments.depth + 1) for item, path in pairs]

    def element(self) -> "Compiler":
        """A compiler for the rule that `map` and its kind apply to each element; see `adopt`."""
        return self._another(self.resolver.element(), self._inside)

    def adopt(self, other: "Compiler", path: str, *, times: int = 1) -> None:
        """Take over what compiling with *other* found; what it made may run so many *times*."""
        self.problems += other.problems
        self.fatal = self.fatal or other.fatal
        self.reached = max(self.reached, other.reached)
        self.weigh(0 if other.is_heavy else other.weight * times, path)

    def weigh(self, operations: int, path: str) -> None:
        """Add *operations* to what one evaluation may run; the first too many are a mistake at *path*."""
        was_heavy = self.is_heavy
        self.weight += operations
        if self.is_heavy and not was_heavy:
            message = f"one evaluation may run more than {MOST_OPERATIONS:,} operations"
            self.problem(path, message, fatal=True)

    @property
    def is_heavy(self) -> bool:
        """Whether one evaluation could take too long; what follows is not read any more."""
        return self.weight > MOST_OPERATIONS

    def of_flag(self, flag: Flag, where: str, depth: int) -> Node:
        """The rule of another *flag* in the same context; its mistakes are noted at *where*."""
        if self.fatal:
            # Flags that all ask one another would be met on every way through them, and there are n! ways.
            return constant(None)
        key = (id(self.resolver), flag.key, True)
        if key not in self._compiled:
            other = Compiler(
                operators=self.operators,
                document=self.document,
                resolver=self.resolver.of_flag(flag.key),
                generation=flag.generation,
                flags=(*self.flags, flag.key),
                compiled=self._compiled,
                work=self.work,
            )
            node = other.compile(flag.targeting, "targeting", depth + 1)
            self._compiled[key] = other, node, other.reached - depth
        return self._known(key, where, f"flag {flag.key!r}", depth)

    def _known(self, key: tuple[int, str, bool], where: str, what: str, depth: int) -> Node:
        """What was compiled before, with what came of it."""
        other, node, height = self._compiled[key]
        self.reached = max(self.reached, depth + height)
        self.weigh(0 if other.is_heavy else other.weight, where)
        if other.fatal:
            return self.problem(where, f"{what}: {other.problems[0]}", fatal=True)
        # Lesser mistakes are named once, where they stand, not again by each that refers to it.
        if depth + height > DEEPEST:
            return self.problem(where, f"nested deeper than {DEEPEST} levels", fatal=True)
        return node

    def _another(self, resolver: Resolver, inside: tuple[str, ...]) -> "Compiler":
        return Compiler(
            operators=self.operators,
            document=self.document,
            resolver=resolver,
            generation=self.generation,
            flags=self.flags,
            inside=inside,
            compiled=self._compiled,
            work=self.work,
        )

    def _list(self, items: list[Json], path: str, depth: int) -> Node:
        if self.document.members_of(items).are_plain:
            return constant(items)
        nodes = [self.compile(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(items)]
        if all(node.constant for node in nodes):
            return constant([node.value for node in nodes])
        runs = [node.run for node in nodes]
        return Node(lambda data: [run(data) for run in runs])

    def _operation(self, rule: Mapping[Any, Json], path: str, depth: int) -> Node:
        if len(rule) != 1:
            found = ", ".join(map(str, rule)) or "none"
            self.problem(path, f"a rule has exactly one operator; here: {found}", fatal=bool(rule))
            return constant(dict(rule))
        name, given = next(iter(rule.items()))
        self.weigh(1, path)
        if self.is_heavy:
            return constant(None)
        if name == "$ref":
            return self._reference(given, path, depth)
        operator = self.operators.get(name) if isinstance(name, str) else None
        if operator is None:
            hint = closest(str(name), self.operators)
            return self.problem(f"{path}.{name}", f"unknown operator {name!r}", hint, fatal=True)
        arguments = arguments_of(name, given, path, depth)
        if operator.counts(len(arguments.items)):
            return operator.build(self, arguments)
        return self._miscounted(operator, arguments)

    def _miscounted(self, operator: Operator, arguments: Arguments) -> Node:
        given = len(arguments.items)
        where = f"{arguments.path}.{arguments.operator}"
        self.problem(where, f"takes {operator.arity} arguments, not {given}")
        if operator.strict:
            self.each(arguments)
            return constant(None)
        most = operator.least if operator.most is None else operator.most
        missing = max(0, operator.least - given)
        items = [*arguments.items[:most], *[None] * missing]
        paths = [*arguments.paths[:most], *[where] * missing]
        return operator.build(
            self, Arguments(arguments.operator, arguments.path, items, paths, arguments.depth)
        )

    def _reference(self, name: Json, path: str, depth: int) -> Node:
        where = f"{path}.$ref"
        if not isinstance(name, str) or name not in self.evaluators:
            hint = closest(str(name), self.evaluators)
            return self.problem(where, f"there is no evaluator {name!r}", hint, fatal=True)
        if name in self._inside:
            circle = " → ".join((*self._inside[self._inside.index(name) :], name))
            return self.problem(where, f"evaluators refer to each other in a circle: {circle}", fatal=True)
        key = (id(self.resolver), name, False)
        if key not in self._compiled:
            other = self._another(self.resolver, (*self._inside, name))
            node = other.compile(self.evaluators[name], f"$evaluators.{name}", depth + 1)
            self._compiled[key] = other, node, other.reached - depth
        return self._known(key, where, f"evaluator {name!r}", depth)


def applied(function: Callable[..., Json], nodes: Sequence[Node], *, boolean: bool = False) -> Node:
    """The node that calls *function* with the values of *nodes*; folded when all are constant."""
    if all(node.constant for node in nodes):
        try:
            return constant(function(*(node.value for node in nodes)))
        except (ArithmeticError, ValueError, TypeError, RecursionError):
            pass  # let it fail where it is counted: at run time
    runs = [node.run for node in nodes]
    if len(runs) == 1:
        (only,) = runs
        return Node(lambda data: function(only(data)), boolean=boolean)
    if len(runs) == 2:
        first, second = runs
        return Node(lambda data: function(first(data), second(data)), boolean=boolean)
    return Node(lambda data: function(*[run(data) for run in runs]), boolean=boolean)
