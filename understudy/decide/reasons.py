"""Why a flag answers a context as it does: for people who ask about a unit without having its request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from understudy.decide.coercion import Json
from understudy.decide.definition import MATCH, Document, outcome
from understudy.decide.explain import bucket_text, trace
from understudy.decide.fields import DataResolver
from understudy.decide.flags import compiler_of

_SETTLED: Mapping[str, str] = {
    "KILLED": "killed: safe variant",
    "DISABLED": "state DISABLED: the caller's own default",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The deciding rule, to read. ``key``, ``hash`` and ``bucket`` ("36 of 100") are of the `fractional` that
    decided; empty and None without one.
    """

    rule: str
    key: str = ""
    hash: int | None = None
    bucket: str = ""


def why(
    key: str,
    context: Mapping[str, Json],
    *,
    document: Document,
    clock: Callable[[], float] | None = None,
) -> Why:
    """Why flag *key* of *document* answers *context* so: agrees with `Evaluator.evaluate`. Never raises."""
    flag = document.flag(key)
    if flag is None:
        return Why(rule="there is no such flag")
    settled = document.settled(flag)
    if settled is not None:
        return Why(rule=_SETTLED.get(settled.reason, "no targeting: default variant"))
    resolver = DataResolver(key, clock)
    try:
        traced = trace(flag.targeting, lambda: compiler_of(flag, resolver, document), dict(context))
    except Exception as error:  # noqa: BLE001  # a rule's own failure is an answer, as in `Evaluator`
        return Why(rule=f"the rule failed: {type(error).__name__}")
    found, draw = outcome(flag, traced.value), traced.draw
    is_default = found.variant == flag.default and found.reason != MATCH
    return Why(
        rule=traced.text + (": default variant" if is_default and not found.error else ""),
        key=draw.key.decode("utf-8", "backslashreplace") if draw else "",
        hash=draw.digest if draw else None,
        bucket=bucket_text(draw),
    )
