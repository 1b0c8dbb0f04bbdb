"""Compare a pair, turn it into counts and a few redacted samples. Runs in the control process."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import orjson

from understudy.comparators import Comparison, Difference, observe
from understudy.messages import Answer, Pair
from understudy.shadow.draws import Draws
from understudy.shadow.redaction import Redaction

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One example of a difference, ready to store: redacted JSON values. ``priority`` was drawn for it."""

    service: str
    endpoint: str
    path: str
    kind: str
    priority: float
    at: float
    body: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one pair adds: ``result`` is the label of ``understudy_comparisons_total``.

    ``found`` has the differences that drew a place among the samples.
    """

    counts: dict[Key, int]
    found: list[Found]
    result: str
    kinds: list[str]


class Assessor:
    """Compares by the rules in force; knows which paths are noise, to label results."""

    def __init__(self, comparison: Comparison, redaction: Redaction, draws: Draws) -> None:
        self.comparison = comparison
        self.draws = draws
        self.redaction = redaction
        self.noise: Collection[Key] = frozenset()
        """(service, endpoint, path, kind) of what the last report called noise."""

    def assess(self, pair: Pair) -> Assessment:
        """Compare *pair*. Never raises on any content (see `Comparison.compare`)."""
        differences = self._compare(pair, pair.shadow)
        control = None if pair.control is None else self._compare(pair, pair.control)
        counts: Counter[Key] = Counter()
        observe(
            counts,
            service=pair.service,
            endpoint=pair.endpoint,
            differences=differences,
            control_differences=control,
        )
        counted = [d for d in differences if not d.ignored]
        return Assessment(
            counts=dict(counts),
            found=self._drawn(pair, differences),
            result=self._result(pair, counted),
            kinds=[d.kind for d in counted],
        )

    def _compare(self, pair: Pair, answer: Answer) -> list[Difference]:
        """Where *answer* differs from the primary's, at paths that name nobody."""
        found = self.comparison.compare(pair.endpoint, pair.primary, answer, method=pair.method)
        return [
            difference if path == difference.path else replace(difference, path=path)
            for difference in found
            for path in (self.redaction.path(difference.path),)
        ]

    def _result(self, pair: Pair, differences: list[Difference]) -> str:
        if not differences:
            return "match"
        if all((pair.service, pair.endpoint, d.path, d.kind) in self.noise for d in differences):
            return "noise"
        return "mismatch"

    def _drawn(self, pair: Pair, differences: list[Difference]) -> list[Found]:
        found = []
        for difference in differences:
            priority = self.draws.draw((pair.service, pair.endpoint, difference.path, difference.kind))
            if priority is not None:
                found.append(self._found(pair, difference, priority))
        return found

    def _found(self, pair: Pair, difference: Difference, priority: float) -> Found:
        hide = self.redaction
        at = difference.at or difference.path

        def side(value: object) -> object:
            return jsonable(hide.value(at, value))

        return Found(
            service=pair.service,
            endpoint=pair.endpoint,
            path=difference.path,
            kind=difference.kind,
            priority=priority,
            at=pair.at,
            body={
                "primary": side(difference.primary),
                "shadow": side(difference.shadow),
                "at": hide.text(at),
                "request": f"{pair.method} {hide.target(pair.path, pair.query)}",
                "flag": pair.flag,
                "seen": pair.at,
            },
        )


def jsonable(value: object) -> object:
    """*value*, or its text where JSON cannot say it (huge integers, lone surrogates, deep nesting)."""
    try:
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:2000].encode("utf-8", "backslashreplace").decode()
    return value
