"""Propose compare rules from a report, each as narrow as it can be; refuse where a rule would hide faults."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.comparators.comparison import EndpointRules
from understudy.comparators.forms import HIDDEN, Form, Pair, recognise
from understudy.comparators.found import FORGIVABLE
from understudy.comparators.pattern import covers, is_at, parse_pattern, tokens_of
from understudy.comparators.rules import parse_compare_rules
from understudy.comparators.templates import is_meant
from understudy.comparators.verdict import IGNORED, NOISE, REGRESSION, UNDECIDED

REFUSED_KINDS: Final = {
    # After Keploy, pkg/matcher/noisepath.go: only values that drift make a rule.
    "status": ("STRUCTURAL", "another status is another outcome"),
    "missing": ("STRUCTURAL", "what is gone breaks clients"),
    "extra": ("STRUCTURAL", "what is new is a change of the answer's shape"),
    "type": ("STRUCTURAL", "another type breaks clients"),
    "content_type": ("STRUCTURAL", "another content type breaks clients"),
    "length": ("ARRAY_LENGTH", "a list of another length lacks items, or has more"),
    "body": ("ROOT_VALUE", "the rule would take in the whole body"),
}
BY_HAND: Final = "; whoever knows that it does not matter writes ignore: [{path}]"
BOUNDS: Final = ("{other}", "{more}", "…")
"""In a path: many places under one name, or a name that is cut."""

ID_NAME: Final = re.compile(r"(?i)^(?:id|_id|uuid|guid|key|sku|code|slug|ref|number|isbn|ean)$")
ID_ENDING: Final = re.compile(r"(?:[_-](?:id|uuid|key|ref)|(?<=[a-z])(?:Id|ID|Uuid|UUID|Key|Ref)|(?<=.)-id)$")
SEVERITY: Final = (REGRESSION, UNDECIDED, NOISE, IGNORED)


@dataclass(slots=True, kw_only=True)
class _Seen:
    """One (endpoint, path, kind) over all services."""

    endpoint: str
    path: str
    kind: str
    verdict: str = IGNORED
    differing: int = 0
    pairs: list[Pair] = field(default_factory=list)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tokens_of(self.path)


class _Refused(Exception):
    def __init__(self, reason: str, why: str) -> None:
        self.reason = reason
        self.why = why
        super().__init__(reason)


def suggest(report: Mapping[str, Any], *, include_regressions: bool = False) -> dict[str, Any]:
    """What rules would forgive the noise in *report*, and for which differences none is proposed.

    ``suggestions``: each ``rule`` as a document has it, for the one place at ``path``, the differences it
    would have hidden (``hides``), and ``why``. ``refused``: the reason in a word (REGRESSION, UNDECIDED,
    STRUCTURAL, ARRAY_LENGTH, ROOT_VALUE, OVER_BROAD, ORDER_AMBIGUOUS, UNREPRESENTABLE, UNRESOLVED,
    NO_SAMPLE) and in a sentence. No rule covers a place that is a regression or undecided, unless it is
    the regression's own and *include_regressions* asks for it. Never raises on what JSON can say.
    """
    places = _places(report)
    suggestions, refused = [], []
    for seen in places:
        if seen.verdict == IGNORED:
            continue
        try:
            form = _propose(seen, places, include_regressions=include_regressions)
        except _Refused as refusal:
            refused.append({**_about(seen), "reason": refusal.reason, "why": refusal.why})
            continue
        rule = _rule(seen, form)
        suggestions.append({**_about(seen), "rule": rule, "why": form.why, "hides": seen.differing})
    return {"suggestions": suggestions, "refused": refused}


def _about(seen: _Seen) -> dict[str, Any]:
    return {"endpoint": seen.endpoint, "path": seen.path, "kind": seen.kind}


def _rule(seen: _Seen, form: Form) -> dict[str, Any]:
    said = [seen.path] if form.value is None else {seen.path: form.value}
    return {"endpoint": seen.endpoint, form.rule: said}


# -- what the report says


def _places(report: Mapping[str, Any]) -> list[_Seen]:
    places: dict[tuple[str, str, str], _Seen] = {}
    for endpoint, finding in _findings(report):
        path, kind = finding.get("path"), finding.get("kind")
        if not (isinstance(path, str) and path.startswith("/") and isinstance(kind, str)):
            continue
        seen = places.setdefault((endpoint, path, kind), _Seen(endpoint=endpoint, path=path, kind=kind))
        verdict = finding.get("verdict")
        known = verdict if verdict in SEVERITY else UNDECIDED
        seen.verdict = min(seen.verdict, known, key=SEVERITY.index)
        differing = finding.get("differing")
        seen.differing += differing if isinstance(differing, int) else 0
        samples = finding.get("samples")
        for sample in samples if isinstance(samples, list) else []:
            if isinstance(sample, Mapping):
                seen.pairs.append((sample.get("primary"), sample.get("shadow")))
    return list(places.values())


def _findings(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    endpoints = report.get("endpoints")
    for item in endpoints if isinstance(endpoints, list) else []:
        if isinstance(item, Mapping) and isinstance(item.get("endpoint"), str):
            findings = item.get("findings")
            for finding in findings if isinstance(findings, list) else []:
                if isinstance(finding, Mapping):
                    yield item["endpoint"], finding


# -- one place


def _propose(seen: _Seen, places: Sequence[_Seen], *, include_regressions: bool) -> Form:
    """The rule for *seen*. Raises `_Refused`."""
    _check_kind(seen, include_regressions=include_regressions)
    near = [other for other in places if other is not seen and is_meant(seen.endpoint, other.endpoint)]
    form = _order(seen, near) if seen.kind == "order" else _value(seen, near)
    _check_breadth(seen, form, near)
    _check_it_holds(seen, form)
    return form


def _check_kind(seen: _Seen, *, include_regressions: bool) -> None:
    if seen.verdict == REGRESSION and not include_regressions:
        raise _Refused("REGRESSION", "it is no noise: the shadow differs more often than the control")
    if seen.verdict == UNDECIDED:
        raise _Refused("UNDECIDED", "it is not known yet whether it is noise")
    if not seen.endpoint.partition(" ")[2].startswith("/") or any(mark in seen.path for mark in BOUNDS):
        raise _Refused(
            "UNREPRESENTABLE", "many places are counted under this name, so no path names this one"
        )
    if HIDDEN.search(seen.path):
        raise _Refused("UNREPRESENTABLE", "the path is redacted")
    if seen.kind in REFUSED_KINDS:
        reason, why = REFUSED_KINDS[seen.kind]
        raise _Refused(reason, why + BY_HAND.format(path=seen.path))
    if seen.tokens == ("body",) and seen.kind != "order":
        raise _Refused("ROOT_VALUE", "the rule would take in the whole body")


def _value(seen: _Seen, near: Sequence[_Seen]) -> Form:
    for other in near:
        if other.kind == "order" and other.verdict != IGNORED and covers((*other.tokens, "*"), seen.tokens):
            why = f"items of {other.path} come in another order; match them first, then look again"
            raise _Refused("ORDER_AMBIGUOUS", why)
    pairs = [pair for found in seen.pairs for pair in _flat(found)]
    if not pairs:
        raise _Refused("NO_SAMPLE", "no sample is kept, so nobody knows what the values are")
    is_id = ID_NAME.match(seen.tokens[-1]) is not None or ID_ENDING.search(seen.tokens[-1]) is not None
    form = recognise(pairs, is_id=is_id)
    if form is not None:
        return form
    return Form(
        rule="ignore", value=None, why="values that no pattern can be held against: the place is ignored"
    )


def _flat(pair: Pair) -> list[Pair]:
    """The values of a header field that comes several times, side by side."""
    a, b = pair
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    return [pair]


def _order(seen: _Seen, near: Sequence[_Seen]) -> Form:
    name = _item_key(seen.pairs)
    if name:
        return Form(rule="key", value=name, why=f"items come in another order, and {name} tells them apart")
    below = [
        other for other in near if covers((*seen.tokens, "*"), other.tokens) and other.verdict != IGNORED
    ]
    if below:
        why = f"items come in another order and differ at {below[0].path}, and no field tells them apart"
        raise _Refused("ORDER_AMBIGUOUS", why)
    return Form(rule="unordered", value=None, why="the same items, in another order")


def _item_key(pairs: Sequence[Pair]) -> str:
    """The field by which people would tell items apart: in each, a text or number, no two alike; or none."""
    lists = [_items(value) for pair in pairs for value in pair]
    if not lists or not all(lists):
        return ""
    items = [item for part in lists for item in part]
    if not all(isinstance(item, Mapping) for item in items):
        return ""
    names = [name for name in items[0] if isinstance(name, str) and "…" not in name]
    likely = [name for name in names if ID_NAME.match(name)] + [
        name for name in names if ID_ENDING.search(name)
    ]
    for name in likely:
        if all(_tells_apart(part, name) for part in lists):
            return name.replace("~", "~0").replace("/", "~1")
    return ""


def _items(value: object) -> list[Any]:
    """The items of a sample; its last may say how many more there were."""
    items = value if isinstance(value, list) else []
    return items[:-1] if items and isinstance(items[-1], str) and items[-1].startswith("… ") else items


def _tells_apart(items: Sequence[Mapping[str, Any]], name: str) -> bool:
    found = [item.get(name) for item in items]
    return all(isinstance(value, str | int) for value in found) and len(set(found)) == len(found)


# -- whether the rule is narrow enough, and does what it is meant to


def _check_breadth(seen: _Seen, form: Form, near: Sequence[_Seen]) -> None:
    """Refuse a rule that would also forgive what is no noise, or what no rule shall hide."""
    pattern = parse_pattern(seen.path)
    for other in near:
        if other.verdict == IGNORED:
            continue
        is_fault = other.verdict != NOISE or other.kind in REFUSED_KINDS
        if form.rule == "ignore":
            hides = covers(pattern, other.tokens)
        elif form.rule in ("matching", "tolerance"):
            hides = other.kind in FORGIVABLE and is_at(pattern, other.tokens)
        else:
            hides = False
        if is_fault and hides:
            where = "" if other.endpoint == seen.endpoint else f" of {other.endpoint}"
            what = f"{other.kind} at {other.path}{where}, which is a {other.verdict}"
            if other.verdict in (UNDECIDED, NOISE):
                what = f"{other.kind} at {other.path}{where}, which no rule shall hide unasked"
            raise _Refused("OVER_BROAD", f"{form.rule} would hide {what}")


def _check_it_holds(seen: _Seen, form: Form) -> None:
    """Refuse a rule that cannot be written, or that would not forgive what was seen."""
    rules, problems = parse_compare_rules([_rule(seen, form)])
    if problems:
        raise _Refused("UNREPRESENTABLE", problems[0].message)
    compiled, tokens = EndpointRules(rules), seen.tokens
    if form.rule in ("matching", "tolerance") and not all(
        compiled.forgives(tokens, a, b) for a, b in seen.pairs if a != b
    ):
        raise _Refused("UNRESOLVED", f"{form.rule} would not forgive the samples: they are cut, or lists")
