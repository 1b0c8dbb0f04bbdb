"""A flag evaluated for a context given as data: flagd's resolution order, reasons and error codes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.decide.coercion import Json
from understudy.decide.fields import DataResolver
from understudy.decide.flags import Flag, outcome, read_flag
from understudy.decide.logic import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a flag answers.

    ``value`` None with ``variant`` empty: the caller's own default counts (a disabled flag, no default
    variant, an error). ``reason``: STATIC, DEFAULT, TARGETING_MATCH, DISABLED, ERROR, or KILLED, which
    OpenFeature does not know. ``error_code``: FLAG_NOT_FOUND, PARSE_ERROR, GENERAL, or empty.
    """

    value: Json
    variant: str
    reason: str
    error_code: str = ""
    error_details: str = ""
    metadata: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Compiled:
    flag: Flag
    run: Run | None
    broken: str


class Evaluator:
    """All flags of a rules document, compiled for contexts that are JSON objects.

    A flag with mistakes is kept and answers PARSE_ERROR where flagd could not evaluate it either.
    *clock* gives `$flagd.timestamp` in seconds since 1970; without it, that field is null.
    """

    def __init__(
        self,
        *,
        flags: Mapping[str, Any],
        evaluators: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        killed: Collection[str] = (),
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.metadata: Mapping[str, Json] = metadata or {}
        self._killed = frozenset(killed)
        self._flags = {
            key: _compiled(key, flag, evaluators or {}, self.metadata, clock) for key, flag in flags.items()
        }

    @property
    def keys(self) -> tuple[str, ...]:
        """All flags, in document order."""
        return tuple(self._flags)

    def evaluate(self, key: str, context: Mapping[str, Json]) -> Evaluation:
        """What flag *key* answers for *context* (a dict with `targetingKey` and whatever rules name).

        Never raises.
        """
        found = self._flags.get(key)
        if found is None:
            return _error("FLAG_NOT_FOUND", f"there is no flag {key!r}", self.metadata)
        flag = found.flag
        if key in self._killed:
            return _answer(flag, flag.safe, "KILLED")
        if not flag.is_enabled:
            return _answer(flag, None, "DISABLED")
        if found.broken:
            return _error("PARSE_ERROR", found.broken, flag.metadata)
        if found.run is None:
            return _answer(flag, flag.default, "DEFAULT" if flag.default is None else "STATIC")
        return _evaluated(flag, found.run, context)


def _compiled(
    key: str,
    given: Any,
    evaluators: Mapping[str, Any],
    metadata: Mapping[str, Json],
    clock: Callable[[], float] | None,
) -> _Compiled:
    flag = read_flag(key, given if isinstance(given, Mapping) else {}, metadata)
    if not isinstance(given, Mapping):
        return _Compiled(flag, None, "a flag is an object")
    if flag.targeting is None:
        return _Compiled(flag, None, "")
    compiler, node = flag.compile(DataResolver(key, clock), evaluators)
    return _Compiled(flag, node.run, str(compiler.problems[0]) if compiler.fatal else "")


def _evaluated(flag: Flag, run: Run, context: Mapping[str, Json]) -> Evaluation:
    try:
        result = run(context if isinstance(context, dict) else dict(context))
    except Exception as error:  # noqa: BLE001  # a rule's own failure is an answer: flagd's PARSE_ERROR
        return _error("PARSE_ERROR", f"the rule failed: {type(error).__name__}", flag.metadata)
    found = outcome(flag, result)
    if found.error:
        return _error("GENERAL", found.error, flag.metadata)
    return _answer(flag, found.variant, found.reason)


def _answer(flag: Flag, variant: str | None, reason: str) -> Evaluation:
    if variant is None:
        return Evaluation(value=None, variant="", reason=reason, metadata=flag.metadata)
    if variant not in flag.variants:
        return _error("GENERAL", f"there is no variant {variant!r}", flag.metadata)
    return Evaluation(value=flag.variants[variant], variant=variant, reason=reason, metadata=flag.metadata)


def _error(code: str, details: str, metadata: Mapping[str, Json]) -> Evaluation:
    return Evaluation(
        value=None, variant="", reason="ERROR", error_code=code, error_details=details, metadata=metadata
    )
