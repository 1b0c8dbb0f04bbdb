"""A flag evaluated for a context given as data: flagd's resolution order, reasons and error codes.

It is the evaluation that routes requests: same rules, same kill switch, same hash. Only a disabled flag
differs: a route needs some variant and takes the default, whoever asks for a value keeps his own.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.decide.coercion import Json
from understudy.decide.definition import MATCH, Document, Flag, outcome
from understudy.decide.fields import DataResolver
from understudy.decide.flags import compile_flag
from understudy.decide.logic import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a flag answers.

    ``value`` None with ``variant`` empty: the caller's own default counts (a disabled flag, no default
    variant, an error). ``reason``: STATIC, DEFAULT, TARGETING_MATCH, DISABLED, ERROR, or KILLED, which
    OpenFeature does not know. ``error_code``: FLAG_NOT_FOUND, PARSE_ERROR, TYPE_MISMATCH, GENERAL, or empty.
    ``value`` is the document's own object, 1 and 1.0 apart, and not to be changed.
    """

    value: Json
    variant: str
    reason: str
    error_code: str = ""
    error_details: str = ""
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def expecting(self, kind: str) -> "Evaluation":
        """This, for a caller that wants a boolean, string, integer, float or object; else TYPE_MISMATCH.

        As with OpenFeature's SDKs an integer will do for a float and becomes one, a boolean is no number,
        and where the caller's own default counts nothing is asked of it. Raises KeyError for another *kind*.
        """
        wanted = _KINDS[kind]
        if not self.variant:
            return self
        if type(self.value) not in wanted:
            details = f"the value is not of the type {kind}"
            return _error("TYPE_MISMATCH", details, self.metadata)
        return replace(self, value=float(self.value)) if kind == "float" else self


_KINDS: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int,),
    "float": (int, float),
    "object": (dict, list),
}

Ask = Callable[[Mapping[str, Json]], Evaluation]


class Evaluator:
    """All flags of a rules document, compiled for contexts that are JSON objects.

    A flag with mistakes is kept and answers PARSE_ERROR where flagd could not evaluate it either.
    *clock* gives `$flagd.timestamp` in seconds since 1970; without it, that field is null. What is
    unchanged since *before*, which has the same clock, is taken over from it.
    """

    def __init__(
        self,
        *,
        flags: Mapping[str, Any],
        evaluators: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        killed: Collection[str] = (),
        clock: Callable[[], float] | None = None,
        before: "Evaluator | None" = None,
    ) -> None:
        document = Document(flags=flags, evaluators=evaluators, metadata=metadata, killed=killed)
        self.metadata = document.metadata
        self.keys: tuple[str, ...] = tuple(flags)
        """All flags, in document order."""
        self._document, self._clock = document, clock
        self._settled: dict[str, Evaluation] = {}
        self._asked: dict[str, Ask] = {}
        kept = self._keep(before) if before is not None and before._clock is clock else frozenset()
        for key in flags:
            if key in kept:
                continue
            flag = document.flag(key)
            if flag is None:
                self._settled[key] = _error("PARSE_ERROR", "a flag is an object", self.metadata)
                continue
            fixed = document.settled(flag)
            if fixed is not None:
                self._settled[key] = _answer(flag, fixed.variant, fixed.reason)
            else:
                self._compile(flag, document, clock)

    def evaluate(self, key: str, context: Mapping[str, Json]) -> Evaluation:
        """What flag *key* answers for *context* (`targetingKey` and whatever rules name). Never raises."""
        settled = self._settled.get(key)
        if settled is not None:
            return settled
        ask = self._asked.get(key)
        if ask is None:
            return _error("FLAG_NOT_FOUND", f"there is no flag {key!r}", self.metadata)
        return ask(context)

    def _keep(self, before: "Evaluator") -> frozenset[str]:
        kept = self._document.unchanged(before._document)
        self._settled = {key: found for key, found in before._settled.items() if key in kept}
        self._asked = {key: ask for key, ask in before._asked.items() if key in kept}
        return kept

    def _compile(self, flag: Flag, document: Document, clock: Callable[[], float] | None) -> None:
        compiler, node = compile_flag(flag, DataResolver(flag.key, clock), document)
        if compiler.fatal:
            self._settled[flag.key] = _error("PARSE_ERROR", str(compiler.problems[0]), flag.metadata)
        else:
            self._asked[flag.key] = _asking(flag, node.run)


def _asking(flag: Flag, run: Run) -> Ask:
    """Evaluations are made once for each answer: a context only chooses among them."""
    known: dict[str | None, Evaluation] = {None: _answer(flag, flag.default, "DEFAULT")}
    for name in flag.variants:
        known[name] = _answer(flag, name, MATCH)
    find = known.get

    def ask(context: Mapping[str, Json]) -> Evaluation:
        try:
            result = run(context if type(context) is dict else dict(context))
        except Exception as error:  # noqa: BLE001  # a rule's own failure is an answer: flagd's PARSE_ERROR
            return _error("PARSE_ERROR", f"the rule failed: {type(error).__name__}", flag.metadata)
        if type(result) is str or result is None:
            found = find(result)
            if found is not None:
                return found
        meant = outcome(flag, result)
        return _error("GENERAL", meant.error, flag.metadata) if meant.error else known[meant.variant]

    return ask


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
