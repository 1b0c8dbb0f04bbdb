"""A rules document, compiled: which variant each request gets, and what that means for it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

from understudy.decide.by_rule import ByRule
from understudy.decide.coercion import Json
from understudy.decide.context import Field, RequestResolver, unit_field
from understudy.decide.definition import MATCH, Document, Flag, Outcome, outcome
from understudy.decide.explain import Explanation, Trace, bucket_text, trace
from understudy.decide.flags import (
    check_evaluators,
    check_flag,
    check_metadata,
    check_routing_flag,
    compile_flag,
    compiler_of,
)
from understudy.decide.logic import Run, closest
from understudy.decide.routes import Route, check_route, matcher
from understudy.errors import Problem, UnderstudyError
from understudy.messages import Head


class RuleError(UnderstudyError):
    """A rules document is refused; ``problems`` lists every mistake found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """Where one request goes, and why. One object per route, flag, variant, reason and error.

    ``reason``: STATIC, DEFAULT, TARGETINGMATCH, DISABLED, ERROR, KILLED, or ROUTE (no flag).
    ``control`` is the service asked for the second answer of the same version. ``fallback`` is the
    default variant's decision, None when this is it. ``index`` counts from 0 within one document, and is
    no other's there.
    ``unit`` reads the unit from a request, ``unit_at`` says where (the route's ``unit``).
    """

    route: str
    flag: str
    variant: str
    reason: str
    serve: str
    mirror: tuple[str, ...]
    control: str
    mirror_methods: frozenset[str]
    fallback: "Decision | None"
    index: int
    error: str = ""
    unit: Field | None = None
    unit_at: str = ""


Target = Callable[[Head], Decision]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class CompiledRules:
    """A rules document ready to decide; made by `compile_rules`.

    ``decide(head)`` gives the decision, None when no route matches; it never raises and never waits.
    It may be called in any thread.
    """

    decide: Callable[[Head], Decision | None]

    def __init__(
        self,
        *,
        document: Document,
        routes: Sequence[Route],
        clock: Callable[[], float] | None,
    ) -> None:
        self._document = document
        self._routes = tuple(routes)
        routed = {route.flag for route in self._routes if route.flag is not None}
        read = {key: document.flag(key) for key in routed}
        self._flags: dict[str, Flag] = {key: flag for key, flag in read.items() if flag is not None}
        self.errors: dict[str, int] = dict.fromkeys(self._flags, 0)
        """How many evaluations failed at run time, by flag. They only grow."""
        self._told = dict(self.errors)
        self._clock = clock
        self._known: dict[tuple[int, str, str, str], Decision] = {}
        self._indices = count()
        self._route_of = matcher(self._routes, range(len(self._routes)))
        self.decide = self._decider([self._target(place) for place in range(len(self._routes))])

    @property
    def decisions(self) -> list[Decision]:
        """Those made so far, by their index; more, within bounds, once a new kind of failure is met."""
        return sorted(self._known.copy().values(), key=lambda decision: decision.index)

    def new_errors(self) -> dict[str, int]:
        """How much `errors` have grown since this was last asked, of those that have. For one thread."""
        grown = {flag: n - self._told[flag] for flag, n in self.errors.items()}
        found = {flag: n for flag, n in grown.items() if n}
        for flag, n in found.items():
            self._told[flag] += n
        return found

    def explain(self, head: Head, *, now: float | None = None) -> Explanation:
        """Why *head* is decided as it is; *now* stands for the clock. Agrees with ``decide``."""
        place = self._route_of(head)
        if place is None:
            return Explanation(
                route="", flag="", variant="", reason="NO_ROUTE", rule="no route matches", serve=""
            )
        route = self._routes[place]
        if route.flag is None:
            rule = f"the route serves {route.serve}"
            return Explanation(
                route=route.label, flag="", variant="", reason="ROUTE", rule=rule, serve=route.serve or ""
            )
        flag = self._flags[route.flag]
        found, text, traced = self._explained(flag, route, head, now)
        decision = self._decision(place, found)
        unit, draw = unit_field(route.unit), traced.draw if traced else None
        return Explanation(
            route=route.label,
            flag=flag.key,
            variant=decision.variant,
            reason=decision.reason,
            rule=text,
            serve=decision.serve,
            mirror=decision.mirror,
            control=decision.control,
            unit=(unit(head) if unit else None) or "",
            key=draw.key.decode("utf-8", "backslashreplace") if draw else "",
            hash=draw.digest if draw else None,
            bucket=bucket_text(draw),
            safe=flag.safe or "",
            error=decision.error,
        )

    def _explained(
        self, flag: Flag, route: Route, head: Head, now: float | None
    ) -> tuple[Outcome, str, Trace | None]:
        settled = self._settled(flag)
        if settled is not None:
            texts = {"KILLED": "killed: safe variant", "DISABLED": "state DISABLED: default variant"}
            return settled, texts.get(settled.reason, "no targeting: default variant"), None
        clock = self._clock if now is None else lambda: now
        resolver = RequestResolver(flag.key, route.unit, clock)
        try:
            traced = trace(flag.targeting, lambda: compiler_of(flag, resolver, self._document), head)
        except Exception as error:  # noqa: BLE001  # what decide answers with the default variant
            return _failed(flag, error), "the rule failed", None
        found = outcome(flag, traced.value)
        suffix = ": default variant" if found.variant == flag.default and found.reason != MATCH else ""
        return found, traced.text + suffix, traced

    def _decider(self, targets: Sequence[Target]) -> Callable[[Head], Decision | None]:
        if self._routes and self._routes[0].takes_all:
            return targets[0]
        match = matcher(self._routes, targets)

        def decide(head: Head) -> Decision | None:
            target = match(head)
            return None if target is None else target(head)

        return decide

    def _target(self, place: int) -> Target:
        route = self._routes[place]
        if route.flag is None:
            served = self._intern(place, Outcome("", "ROUTE"), {"serve": route.serve or ""}, None)
            return lambda _: served
        flag = self._flags[route.flag]
        settled = self._settled(flag)
        if settled is not None:
            fixed = self._decision(place, settled)
            return lambda _: fixed
        resolver = RequestResolver(flag.key, route.unit, self._clock)
        _, node = compile_flag(flag, resolver, self._document)
        return self._evaluating(place, flag, node.run)

    def _evaluating(self, place: int, flag: Flag, run: Run) -> Target:
        matches = {name: self._decision(place, Outcome(name, MATCH)) for name in flag.variants}
        known: dict[Json, Decision] = {
            **matches,
            None: self._decision(place, Outcome(flag.default, "DEFAULT")),
        }

        def failed(error: Exception) -> Decision:
            return self._fail(place, flag, _failed(flag, error))

        def other(result: Any) -> Decision:
            found = outcome(flag, result)
            return self._fail(place, flag, found) if found.error else self._decision(place, found)

        return ByRule(run, known, other=other, failed=failed)

    def _fail(self, place: int, flag: Flag, found: Outcome) -> Decision:
        # Without a call, behind which another thread may take its turn: no count is lost.
        self.errors[flag.key] += 1
        return self._decision(place, found)

    def _settled(self, flag: Flag) -> Outcome | None:
        """The outcome that depends on no request; None when there is a rule to ask."""
        found = self._document.settled(flag)
        return Outcome(flag.default, found.reason) if found and found.reason == "DISABLED" else found

    def _decision(self, place: int, found: Outcome) -> Decision:
        flag = self._flags[self._routes[place].flag or ""]
        variant = found.variant or ""
        fallback = None
        if variant != flag.default:
            fallback = self._decision(place, Outcome(flag.default, "DEFAULT"))
        return self._intern(
            place, Outcome(variant, found.reason, found.error), flag.variants[variant], fallback
        )

    def _intern(
        self, place: int, found: Outcome, variant: Mapping[str, Any], fallback: Decision | None
    ) -> Decision:
        key = (place, found.variant or "", found.reason, found.error)
        decision = self._known.get(key)
        if decision is None:
            route = self._routes[place]
            decision = Decision(
                route=route.label,
                flag=route.flag or "",
                variant=found.variant or "",
                reason=found.reason,
                serve=variant["serve"],
                mirror=tuple(variant.get("mirror", ())),
                control=variant.get("control") or variant["serve"],
                mirror_methods=frozenset(route.mirror_methods),
                fallback=fallback,
                index=next(self._indices),
                error=found.error,
                unit=unit_field(route.unit),
                unit_at=route.unit or "",
            )
            # Two threads may meet a new kind at once: it is the first one's, and an index stays unused.
            decision = self._known.setdefault(key, decision)
        return decision


def _failed(flag: Flag, error: Exception) -> Outcome:
    # The kind alone: a message could hold what the client sent, and errors must stay few.
    return Outcome(flag.default, "ERROR", f"the rule failed: {type(error).__name__}")


def check_rules(
    *,
    flags: Mapping[str, Any],
    routes: Sequence[Route],
    evaluators: Mapping[str, Any] = _EMPTY,
    metadata: Mapping[str, Any] = _EMPTY,
) -> list[Problem]:
    """Every mistake in a rules document, with paths like ``flags.KEY.state`` and ``routes[0].unit``."""
    document = Document(flags=flags, evaluators=evaluators, metadata=metadata)
    problems = check_shared(document) + _check_flags(document, flags)
    return problems + check_routing(flags=flags, routes=routes)


def check_shared(document: Document) -> list[Problem]:
    """Every mistake in what the flags of *document* share: its metadata and ``$evaluators``."""
    return [*check_metadata(document.metadata, "metadata"), *check_evaluators(document)]


def _check_flags(document: Document, keys: Iterable[str]) -> list[Problem]:
    found = [(key, check_flag(key, document.flags[key], document)) for key in keys]
    return [_below(f"flags.{key}", problem) for key, problems in found for problem in problems]


def check_routing(*, flags: Mapping[str, Any], routes: Sequence[Route]) -> list[Problem]:
    """What is wrong with the routes, and what keeps their flags, right or wrong themselves, from routing."""
    problems: list[Problem] = []
    for key in dict.fromkeys(route.flag for route in routes):
        if key is not None and key in flags:
            problems += [_below(f"flags.{key}", problem) for problem in check_routing_flag(flags[key])]
    for place, route in enumerate(routes):
        problems += check_route(route, f"routes[{place}]")
        if route.flag is not None and route.flag not in flags:
            message = f"there is no flag {route.flag!r}"
            hint = closest(route.flag, list(flags))
            problems.append(Problem(path=f"routes[{place}].flag", message=message, hint=hint))
    return problems


def _below(path: str, problem: Problem) -> Problem:
    inner = f"{path}.{problem.path}" if problem.path else path
    return Problem(path=inner, message=problem.message, hint=problem.hint)


def compile_rules(
    *,
    flags: Mapping[str, Any],
    routes: Sequence[Route],
    evaluators: Mapping[str, Any] = _EMPTY,
    metadata: Mapping[str, Any] = _EMPTY,
    killed: Collection[str] = (),
    clock: Callable[[], float] | None = None,
    are_checked: bool = False,
) -> CompiledRules:
    """Compile a rules document. Raises RuleError with every mistake found.

    *are_checked* says that `check_rules` found none: then only what routes consult is read again.
    *killed* names the flags whose kill switch is on (unknown ones are ignored). *clock* gives
    `$flagd.timestamp` in seconds since 1970, asked only by rules that name it; without it, null.
    """
    document = Document(flags=flags, evaluators=evaluators, metadata=metadata, killed=killed)
    if are_checked:
        named = dict.fromkeys(route.flag for route in routes)
        routed = [key for key in named if key is not None and key in flags]
        problems = [*_check_flags(document, routed), *check_routing(flags=flags, routes=routes)]
    else:
        problems = check_rules(flags=flags, routes=routes, evaluators=evaluators, metadata=metadata)
    if problems:
        raise RuleError(tuple(problems))
    return CompiledRules(
        document=document,
        routes=routes,
        clock=clock,
    )
