"""Flags that an application asks about while it answers a request: evaluated for it, as a route would.

Compiled when they are first asked for: of thousands of flags an application names a few.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from understudy.decide.coercion import Json
from understudy.decide.context import RequestResolver
from understudy.decide.definition import Document, Flag, outcome
from understudy.decide.evaluation import Evaluation
from understudy.decide.flags import compile_flag
from understudy.messages import Head

Ask = Callable[[Head], Evaluation]


class AskedFlags:
    """All flags of a rules document; *clock* gives ``$flagd.timestamp``, as for `compile_rules`."""

    def __init__(
        self,
        *,
        flags: Mapping[str, Any],
        evaluators: Mapping[str, Any],
        metadata: Mapping[str, Any],
        killed: Collection[str],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._document = Document(flags=flags, evaluators=evaluators, metadata=metadata, killed=killed)
        self._clock = clock
        self._known: dict[tuple[str, str], Ask] = {}

    def evaluate(self, key: str, head: Head, unit_at: str) -> Evaluation:
        """What flag *key* answers for *head*, whose unit stands at *unit_at* (empty: nowhere). Never raises.

        Reasons and error codes are those of `Evaluator`.
        """
        ask = self._known.get((key, unit_at))
        if ask is None:
            flag = self._document.flag(key)
            if flag is None:
                return _failed("FLAG_NOT_FOUND", f"there is no flag {key!r}")
            ask = self._known[key, unit_at] = self._asking(flag, unit_at)
        return ask(head)

    def _asking(self, flag: Flag, unit_at: str) -> Ask:
        settled = self._document.settled(flag)
        if settled is not None:
            fixed = _answer(flag, settled.variant, settled.reason)
            return lambda _: fixed
        compiler, node = compile_flag(
            flag, RequestResolver(flag.key, unit_at or None, self._clock), self._document
        )
        if compiler.fatal:
            broken = _failed("PARSE_ERROR", str(compiler.problems[0]), flag.metadata)
            return lambda _: broken
        run = node.run

        def ask(head: Head) -> Evaluation:
            try:
                meant = outcome(flag, run(head))
            except Exception as error:  # noqa: BLE001  # a rule's own failure is an answer: flagd's PARSE_ERROR
                return _failed("PARSE_ERROR", f"the rule failed: {type(error).__name__}", flag.metadata)
            if meant.error:
                return _failed("GENERAL", meant.error, flag.metadata)
            return _answer(flag, meant.variant, meant.reason)

        return ask


def _answer(flag: Flag, variant: str | None, reason: str) -> Evaluation:
    if variant is None:
        return Evaluation(value=None, variant="", reason=reason, metadata=flag.metadata)
    return Evaluation(
        value=flag.variants.get(variant), variant=variant, reason=reason, metadata=flag.metadata
    )


def _failed(code: str, details: str, metadata: Mapping[str, Json] | None = None) -> Evaluation:
    return Evaluation(
        value=None,
        variant="",
        reason="ERROR",
        error_code=code,
        error_details=details,
        metadata=metadata or {},
    )
