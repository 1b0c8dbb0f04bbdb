"""Compare a pair, turn it into counts and a few redacted samples. Runs in the control process."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from understudy.comparators import Comparison, Difference, observe
from understudy.messages import Answer, Pair
from understudy.shadow.curl import curl
from understudy.shadow.document import shown_answer
from understudy.shadow.draws import Draws
from understudy.shadow.redaction import Redaction
from understudy.shadow.units import CountedUnits, unit_digest

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One example of a difference, ready to store: redacted JSON values. ``priority`` was drawn for it.

    ``name`` is 16 hex digits, ``unit`` the digest of whoever asked (`unit_digest`; empty: nobody knows).
    ``body`` is what a report shows, ``whole`` both answers (``{"primary", "shadow"}``, see `shown_answer`).
    """

    service: str
    endpoint: str
    path: str
    kind: str
    priority: float
    at: float
    body: dict[str, object]
    name: str = ""
    unit: str = ""
    whole: dict[str, object] | None = None


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
    """Compares by the rules in force; knows which paths are noise, to label results.

    ``unit_key`` names units in samples; without it they are not named. ``origins`` has the URL of each
    service, for the commands that ask again.
    """

    def __init__(self, comparison: Comparison, redaction: Redaction, draws: Draws) -> None:
        self.comparison = comparison
        self.draws = draws
        self.redaction = redaction
        self.noise: Collection[Key] = frozenset()
        """(service, endpoint, path, kind) of what the last report called noise."""
        self.unit_key = b""
        self.origins: Mapping[str, str] = {}
        self._counted = CountedUnits()

    def assess(self, pair: Pair, *, is_hurried: bool = False) -> Assessment:
        """Compare *pair*. Never raises on any content (see `Comparison.compare`).

        *is_hurried*: samples, which take most of the time, are made of no more than what has none.
        """
        differences = self._compare(pair, pair.primary, pair.shadow)
        control = None if pair.control is None else self._compare(pair, pair.primary, pair.control)
        if pair.again is not None:
            again = pair.again
            differences = confirmed(differences, self._compare(pair, again.primary, again.shadow))
            if control is not None and again.control is not None:
                control = confirmed(control, self._compare(pair, again.primary, again.control))
        counts: Counter[Key] = Counter()
        observe(
            counts,
            service=pair.service,
            endpoint=pair.endpoint,
            differences=differences,
            control_differences=control,
            repeated=self._repeated(pair, differences, control or ()),
        )
        if pair.primary.is_truncated or pair.shadow.is_truncated:
            counts["exchange", pair.service, pair.endpoint, "beginnings"] += 1
        if pair.again is not None or pair.unconfirmed:
            what = "asked_again" if pair.again is not None else "unconfirmed"
            counts["exchange", pair.service, pair.endpoint, what] += 1
        counted = [d for d in differences if not d.ignored]
        return Assessment(
            counts=dict(counts),
            found=self._drawn(pair, differences, is_hurried=is_hurried),
            result=self._result(pair, counted),
            kinds=[d.kind for d in counted],
        )

    def _compare(self, pair: Pair, primary: Answer, answer: Answer) -> list[Difference]:
        """Where *answer* differs from *primary*, at paths that name nobody."""
        unit = pair.asked.unit
        found = self.comparison.compare(pair.endpoint, primary, answer, method=pair.method)
        named = []
        for difference in found:
            told = difference.path
            is_named = unit and (unit in told or "~" in told or "%" in told)  # it may stand there escaped
            path = (self._hiding(pair) if is_named else self.redaction).path(told)
            named.append(difference if path == difference.path else replace(difference, path=path))
        return named

    def _hiding(self, pair: Pair) -> Redaction:
        """What hides the unit of *pair* too. It takes longer than a comparison, so it is made when needed."""
        return self.redaction.of_unit(pair.asked.unit, pair.asked.unit_at)

    def _repeated(
        self, pair: Pair, differences: Sequence[Difference], control: Sequence[Difference]
    ) -> set[tuple[str, str]]:
        """The places at which this pair's unit has counted already."""
        if not pair.asked.unit:
            return set()
        places = {(d.path, d.kind) for found in (differences, control) for d in found if not d.ignored}
        return self._counted.repeated(pair.asked.unit, pair.service, pair.endpoint, places)

    def _result(self, pair: Pair, differences: list[Difference]) -> str:
        if not differences:
            return "match"
        if all((pair.service, pair.endpoint, d.path, d.kind) in self.noise for d in differences):
            return "noise"
        return "mismatch"

    def _drawn(self, pair: Pair, differences: list[Difference], *, is_hurried: bool) -> list[Found]:
        won = []
        for difference in differences:
            key = (pair.service, pair.endpoint, difference.path, difference.kind)
            priority = self.draws.draw(key, is_hurried=is_hurried)
            if priority is not None:
                won.append((difference, priority))
        if not won:
            return []
        hide = self._hiding(pair)
        places = [difference.at for difference, _ in won]
        # Once for all places of one pair: it takes longer than to compare it.
        whole: dict[str, object] = {
            "primary": shown_answer(pair.primary, hide, places),
            "shadow": shown_answer(pair.shadow, hide, places),
        }
        command = curl(pair, hide, self.origins)
        return [self._found(pair, difference, priority, hide, whole, command) for difference, priority in won]

    def _found(
        self,
        pair: Pair,
        difference: Difference,
        priority: float,
        hide: Redaction,
        whole: dict[str, object],
        command: str,
    ) -> Found:
        at = difference.at or difference.path
        name = sample_name(pair, difference, priority)

        def side(value: object) -> object:
            return jsonable(hide.value(at, value))

        return Found(
            service=pair.service,
            endpoint=pair.endpoint,
            path=difference.path,
            kind=difference.kind,
            priority=priority,
            at=pair.at,
            name=name,
            unit=unit_digest(self.unit_key, pair.asked.unit),
            whole=whole,
            body={
                "id": name,
                "primary": side(difference.primary),
                "shadow": side(difference.shadow),
                "at": hide.text(at),
                "request": f"{pair.method} {hide.target(pair.path, pair.query)}",
                "flag": pair.flag,
                "seen": pair.at,
                "curl": command,
            },
        )


def confirmed(first: list[Difference], second: Sequence[Difference]) -> list[Difference]:
    """Those of the *first* differences that count only if they were met the *second* time too."""
    met = {(d.path, d.kind) for d in second if not d.ignored}
    return [d for d in first if d.ignored or (d.path, d.kind) in met]


def sample_name(pair: Pair, difference: Difference, priority: float) -> str:
    """16 hex digits that no other sample has: the draw alone is one of 2^53."""
    place = (pair.service, pair.endpoint, difference.path, difference.kind, pair.at, priority)
    return hashlib.blake2b(repr(place).encode("utf-8", "replace"), digest_size=8).hexdigest()


def jsonable(value: object) -> object:
    """*value*, or its text where JSON cannot say it (huge integers, lone surrogates, deep nesting)."""
    try:
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:2000].encode("utf-8", "backslashreplace").decode()
    return value
