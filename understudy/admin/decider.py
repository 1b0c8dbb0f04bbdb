"""The flags of the rules in force, compiled once per turn, ready to answer SDKs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, Final

from understudy.admin.control import ControlPlane
from understudy.admin.definition import flag_set
from understudy.admin.in_force import InForce
from understudy.admin.ofrep_answers import failure, success
from understudy.admin.refusal import Refusal
from understudy.decide import Document, Evaluation, Evaluator, Why, why

_AT_ONCE: Final = 500
"""Flags compiled without a pause (40 ms): 10,000 hold up no probe."""
_PIECE: Final = 10
_PIECE_SECONDS: Final = 0.005
"""So long flags are evaluated without a pause: one takes 4 µs, or 20 ms where it loops over a long list."""
_CONSTANT: Final = frozenset({"STATIC", "KILLED"})
"""Reasons of answers that no context and no clock can change."""

Context = Mapping[str, Any]


class Deciding:
    """One rules document that is in force, and its answers as JSON.

    An answer's text depends on flag, variant and reason alone, so each is written once.
    """

    def __init__(self, in_force: InForce, evaluator: Evaluator, *, clock: Callable[[], float]) -> None:
        self.in_force = in_force
        self._clock = clock
        self.evaluator = evaluator
        self._sets: dict[str, list[str]] | None = None
        self._constant: dict[str, bytes] = {}
        self._written: dict[tuple[str, str, str], bytes] = {}

    def keys(self, selector: str) -> Sequence[str]:
        """The flags of the flag set that *selector* names (``metadata.flagSetId``); all when it is empty."""
        if not selector:
            return self.evaluator.keys
        if self._sets is None:
            self._sets = {}
            for key in self.evaluator.keys:
                self._sets.setdefault(flag_set(self.in_force.rules, key), []).append(key)
        return self._sets.get(selector, ())

    def evaluate(self, key: str, context: Context, *, selector: str = "") -> Evaluation:
        """What flag *key* answers; FLAG_NOT_FOUND also for one of another flag set."""
        if selector and flag_set(self.in_force.rules, key) != selector:
            details = f"there is no flag {key!r} in flag set {selector!r}"
            return Evaluation(
                value=None,
                variant="",
                reason="ERROR",
                error_code="FLAG_NOT_FOUND",
                error_details=details,
            )
        return self.evaluator.evaluate(key, context)

    def why(self, key: str, context: Context) -> Why:
        """Why ``evaluate`` answers so."""
        rules = self.in_force.rules
        document = Document(
            flags=rules.flags, evaluators=rules.evaluators, metadata=rules.metadata, killed=rules.killed
        )
        return why(key, context, document=document, clock=self._clock)

    def answer(self, key: str, context: Context) -> bytes:
        """The entry of flag *key* in a bulk answer."""
        constant = self._constant.get(key)
        if constant is not None:
            return constant
        found = self.evaluator.evaluate(key, context)
        if found.error_code:
            return failure(key, found)
        written = self.written(key, found)
        if found.reason in _CONSTANT:
            self._constant[key] = written
        return written

    def written(self, key: str, found: Evaluation) -> bytes:
        """*found*, an answer without error, as JSON."""
        place = (key, found.variant, found.reason)
        written = self._written.get(place)
        if written is None:
            written = self._written[place] = success(key, found)
        return written

    async def answers(self, context: Context, *, selector: str) -> list[bytes]:
        """The entries of a bulk answer, in document order."""
        keys, answer = self.keys(selector), self.answer
        entries: list[bytes] = []
        until = perf_counter() + _PIECE_SECONDS
        for start in range(0, len(keys), _PIECE):
            if perf_counter() > until:
                await asyncio.sleep(0)
                until = perf_counter() + _PIECE_SECONDS
            entries += [answer(key, context) for key in keys[start : start + _PIECE]]
        return entries


def in_force(control: ControlPlane) -> InForce:
    """The rules in force. Raises: Refusal 503 before the store was read for the first time."""
    if control.succession.current is None:
        detail = "the rules have not been read from the store yet; see /readyz for the reason"
        raise Refusal(503, detail, headers={"Retry-After": "1"})
    return control.succession.current


class Decider:
    """Gives the flags of the rules in force, whatever the store is doing meanwhile."""

    def __init__(self, control: ControlPlane, *, clock: Callable[[], float]) -> None:
        self._control = control
        self._clock = clock
        self._deciding: Deciding | None = None
        self._making: tuple[InForce, asyncio.Future[Deciding]] | None = None

    async def deciding(self) -> Deciding:
        """The flags as they are now. Raises: Refusal 503 before the store was read for the first time."""
        current = in_force(self._control)
        if self._deciding is None or self._deciding.in_force is not current:
            self._deciding = await self._made(current)
        return self._deciding

    async def _made(self, current: InForce) -> Deciding:
        """Compiled in a thread, once however many ask, when it takes longer than probes should wait."""
        if len(current.rules.flags) <= _AT_ONCE:
            return self._compiled(current)
        if self._making is None or self._making[0] is not current:
            loop = asyncio.get_running_loop()
            self._making = (current, loop.run_in_executor(None, self._compiled, current))
        return await asyncio.shield(self._making[1])

    def _compiled(self, in_force: InForce) -> Deciding:
        rules, before = in_force.rules, self._deciding
        evaluator = Evaluator(
            flags=rules.flags,
            evaluators=rules.evaluators,
            metadata=rules.metadata,
            killed=rules.killed,
            clock=self._clock,
            before=before.evaluator if before is not None else None,
        )
        return Deciding(in_force, evaluator, clock=self._clock)
