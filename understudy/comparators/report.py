"""The report as JSON (DESIGN §8): verdicts, findings by weight, and what was not looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp
from typing import Any, Final

from understudy.comparators.covered import covered_places
from understudy.comparators.evidence import Key, quantile
from understudy.comparators.folding import fold
from understudy.comparators.latency import log_slower
from understudy.comparators.noise import EPSILON, exchanges_for, flagged, most_unseen, rate_interval
from understudy.comparators.notes import (
    notes_on_control,
    notes_on_failures,
    notes_on_missed,
    notes_on_rules,
    notes_on_thin_endpoints,
    notes_on_tolerance,
    number_of,
)
from understudy.comparators.rules import CompareRule
from understudy.comparators.verdict import (
    CLEAN,
    IGNORED,
    NOISE,
    REGRESSION,
    UNDECIDED,
    Judgement,
    Place,
    judge,
    worst,
)

Samples = Mapping[Place, Sequence[Mapping[str, Any]]]

ORDER: Final = {REGRESSION: 0, UNDECIDED: 1, NOISE: 2, IGNORED: 3, CLEAN: 4}
SEVERITY: Final = {
    # After Keploy, risk.go: what is gone or of another type breaks clients; an added field seldom does.
    "status": 5.0,
    "missing": 4.0,
    "type": 4.0,
    "content_type": 3.0,
    "value": 2.0,
    "length": 2.0,
    "body": 2.0,
    "order": 1.5,
    "header": 1.0,
    "extra": 0.5,
}
LARGEST_LOG: Final = 690.0  # exp beyond is no JSON number
OUTCOMES: Final = ("eligible", "sent", "skipped", "dropped", "answered", "failed")
BY_REASON: Final = frozenset({"skipped", "dropped", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """On what terms to judge: see `report`."""

    samples: Samples
    control_share: float
    fdr: float
    epsilon: float


def report(
    evidence: Mapping[Key, int],
    *,
    samples: Samples | None = None,
    fdr: float = 0.05,
    control_share: float = 0.1,
    epsilon: float = EPSILON,
    rules: Sequence[CompareRule] = (),
    templates: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of all *evidence*, ready for `json.dumps`. Seconds for times, shares for rates.

    *control_share*: the probability with which a mirrored request is asked twice (0: never). *fdr*: at
    most so many of the findings called a regression are none. *epsilon*: the run is clean once fewer than
    that share of its exchanges can differ without an explanation (95 % certain), every difference
    seen is noise or ignored, and hardly a copy went without being compared. The verdict of latency stands
    at its endpoint and does not change the others. *rules* in force and *templates* of endpoints hold for
    what was counted before them, too: see `covered` and `fold`.

    Keys beside those of DESIGN §8 — run: ``summary``, ``notes``, ``needed``, ``matched``, ``ignored``,
    ``not_compared``, ``unpaired``, ``control``, ``control_share``, ``services``; endpoint:
    ``with_control``, ``ignored``, ``needed``, ``at_most``; finding: ``exchanges``, ``with_control``,
    ``control_rate``, ``interval``, ``ignored``, ``basis``, ``weight``.
    """
    evidence, samples = fold(evidence, samples or {}, [*templates, *(rule.endpoint for rule in rules)])
    terms = _Terms(samples=samples, control_share=control_share, fdr=fdr, epsilon=epsilon)
    covered = covered_places(evidence, rules)
    judgements = judge(evidence, control_share=control_share, fdr=fdr, epsilon=epsilon, covered=covered)
    endpoints = _endpoints(evidence, judgements, terms)
    flows = {key: n for key, n in evidence.items() if key[0] in ("mirror", "control")}
    services = _services(flows)
    totals = {
        what: sum(n for key, n in evidence.items() if key[0] == "exchange" and key[3] == what)
        for what in ("exchanges", "matched", "ignored", "with_control", "not_compared", "unpaired")
    }
    blind = notes_on_failures(services, epsilon) + notes_on_missed(totals, epsilon)
    lacking = _lacking(endpoints, services, epsilon)
    verdict, needed = _run_verdict(
        endpoints, totals, lacking, is_blind=any(is_blind for _, is_blind in blind)
    )
    return {
        "verdict": verdict,
        "summary": _summary(verdict, needed, endpoints, totals),
        "notes": [
            *notes_on_control(services, totals, control_share=control_share, epsilon=epsilon),
            *notes_on_tolerance(judgements, totals, control_share=control_share, epsilon=epsilon),
            *(text for text, _ in blind),
            *notes_on_thin_endpoints(verdict, endpoints),
            *notes_on_rules(rules, endpoints),
        ],
        "needed": needed,
        **totals,
        "control_share": control_share,
        "mirror": _flow(flows, "mirror", None),
        "control": _flow(flows, "control", None),
        "services": services,
        "endpoints": endpoints,
    }


# -- endpoints and findings


def _endpoints(
    evidence: Mapping[Key, int], judgements: Mapping[Place, Judgement], terms: _Terms
) -> list[dict[str, Any]]:
    by_endpoint: dict[tuple[str, str], list[tuple[Place, Judgement]]] = {}
    for key in evidence:
        if key[0] in ("exchange", "latency"):
            by_endpoint.setdefault((key[1], key[2]), [])
    for place, judgement in judgements.items():
        by_endpoint.setdefault((place[0], place[1]), []).append((place, judgement))
    latencies = _latencies(evidence, list(by_endpoint), terms)
    endpoints = [
        _endpoint(evidence, name, found, latencies[name], terms) for name, found in by_endpoint.items()
    ]
    return sorted(endpoints, key=_endpoint_order)


def _endpoint_order(item: Mapping[str, Any]) -> tuple[int, float, str, str]:
    heaviest = max((finding["weight"] for finding in item["findings"]), default=0.0)
    return ORDER[item["verdict"]], -heaviest, item["endpoint"], item["service"]


def _endpoint(
    evidence: Mapping[Key, int],
    name: tuple[str, str],
    found: Sequence[tuple[Place, Judgement]],
    latency: dict[str, Any],
    terms: _Terms,
) -> dict[str, Any]:
    service, endpoint = name
    counts = {
        what: evidence.get(("exchange", service, endpoint, what), 0)
        for what in ("exchanges", "matched", "ignored", "with_control", "not_compared")
    }
    missed = counts["not_compared"]
    findings = sorted(
        (_finding(place, judgement, missed, terms) for place, judgement in found), key=_finding_order
    )
    verdict = worst([finding["verdict"] for finding in findings])
    lacking = max(0, exchanges_for(terms.epsilon) - counts["exchanges"])
    at_most = most_unseen(counts["exchanges"], missed)
    needed = None
    if verdict == CLEAN and at_most > terms.epsilon:
        verdict = UNDECIDED
    if verdict == UNDECIDED:
        needed = max([lacking, *(finding["needed"] or 0 for finding in findings)]) or None
    return {
        "endpoint": endpoint,
        "service": service,
        **counts,
        "verdict": verdict,
        "needed": needed,
        "at_most": round(at_most, 6),
        "latency": latency,
        "findings": findings,
    }


def _finding_order(item: Mapping[str, Any]) -> tuple[int, float, str, str]:
    return ORDER[item["verdict"]], -item["weight"], item["path"], item["kind"]


def _finding(place: Place, judgement: Judgement, missed: int, terms: _Terms) -> dict[str, Any]:
    """One finding. Its interval holds whatever the *missed* pairs of its endpoint may have shown."""
    path, kind = place[2:]
    counts = judgement.counts
    exchanges, with_control = int(counts.exchanges), int(counts.with_control)
    differing, control_differing = int(counts.differing), int(counts.control_differing)
    rate = differing / exchanges if exchanges else 0.0
    control_rate = control_differing / with_control if with_control else None
    possible = exchanges + missed
    low, high = rate_interval(min(differing, exchanges), possible)
    if missed:
        high = rate_interval(min(differing, exchanges) + missed, possible)[1]
    return {
        "path": path,
        "kind": kind,
        "verdict": judgement.verdict,
        "differing": differing,
        "control_differing": control_differing,
        "rate": rate,
        "interval": [round(low, 6), round(high, 6)],
        "control_rate": control_rate,
        "exchanges": exchanges,
        "with_control": with_control,
        "ignored": judgement.ignored,
        "e_value": exp(min(judgement.log_e, LARGEST_LOG)),
        "basis": judgement.basis,
        "needed": judgement.needed,
        "weight": round(SEVERITY.get(kind, 1.0) * max(0.0, rate - (control_rate or 0.0)), 6),
        "samples": [dict(sample) for sample in terms.samples.get(place, ())],
    }


# -- latency


def _latencies(
    evidence: Mapping[Key, int], names: Sequence[tuple[str, str]], terms: _Terms
) -> dict[tuple[str, str], dict[str, Any]]:
    sides: dict[tuple[str, str], dict[str, dict[int, int]]] = {
        name: {"primary": {}, "shadow": {}} for name in names
    }
    for key, number in evidence.items():
        if key[0] == "latency" and len(key) == 5 and key[3] in ("primary", "shadow") and number > 0:
            sides[key[1], key[2]][key[3]][int(key[4])] = number
    logs = [log_slower(side["primary"], side["shadow"]) for side in sides.values()]
    slower = flagged(logs, terms.fdr)
    enough = exchanges_for(terms.epsilon)
    return {
        name: _latency(side, log_e, is_slower=is_slower, enough=enough)
        for (name, side), log_e, is_slower in zip(sides.items(), logs, slower, strict=True)
    }


def _latency(
    sides: Mapping[str, Mapping[int, int]], log_e: float, *, is_slower: bool, enough: int
) -> dict[str, Any]:
    """Simple for now: slower by the e-value, else clean once the exchanges suffice for a clean verdict."""
    answered = sum(sides["shadow"].values())
    calm = CLEAN if answered >= enough else UNDECIDED
    return {
        **{side: _quantiles(buckets) for side, buckets in sides.items()},
        "verdict": REGRESSION if is_slower else calm,
        "e_value": exp(min(log_e, LARGEST_LOG)),
        "answers": answered,
    }


def _quantiles(buckets: Mapping[int, int]) -> dict[str, float | None]:
    if not buckets:
        return {"p50": None, "p99": None}
    return {name: round(quantile(buckets, q), 7) for name, q in (("p50", 0.5), ("p99", 0.99))}


# -- what was sent and what became of it


def _services(flows: Mapping[Key, int]) -> dict[str, dict[str, Any]]:
    names = sorted({key[1] for key in flows})
    return {name: {role: _flow(flows, role, name) for role in ("mirror", "control")} for name in names}


def _flow(flows: Mapping[Key, int], role: str, service: str | None) -> dict[str, Any]:
    flow: dict[str, Any] = {outcome: {} if outcome in BY_REASON else 0 for outcome in OUTCOMES}
    for key, number in flows.items():
        if key[0] != role or len(key) != 4 or key[2] not in flow or service not in (None, key[1]):
            continue
        _, _, outcome, reason = key
        if outcome in BY_REASON:
            flow[outcome][reason] = flow[outcome].get(reason, 0) + number
        else:
            flow[outcome] += number
    return flow


# -- the run


def _lacking(
    endpoints: Sequence[Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]], epsilon: float
) -> int:
    """How many more mirrored requests until every service had enough exchanges for a clean verdict."""
    exchanges = {name: 0 for name, service in services.items() if service["mirror"]["eligible"]}
    for item in endpoints:
        exchanges[item["service"]] = exchanges.get(item["service"], 0) + item["exchanges"]
    enough, whole = exchanges_for(epsilon), sum(exchanges.values())
    if not exchanges:
        return enough
    return max(
        ceil((enough - n) * whole / n) if 0 < n < enough else max(0, enough - n) for n in exchanges.values()
    )


def _run_verdict(
    endpoints: Sequence[Mapping[str, Any]], totals: Mapping[str, int], lacking: int, *, is_blind: bool
) -> tuple[str, int | None]:
    findings = [(item, finding) for item in endpoints for finding in item["findings"]]
    verdict = worst([finding["verdict"] for _, finding in findings])
    if verdict == REGRESSION:
        return verdict, None
    if verdict == CLEAN and not lacking and not is_blind:
        return CLEAN, None
    shares = [
        finding["needed"] * totals["exchanges"] / max(1, item["exchanges"])
        for item, finding in findings
        if finding["verdict"] == UNDECIDED and finding["needed"]
    ]
    return UNDECIDED, int(max([lacking, *shares])) or None


def _summary(
    verdict: str, needed: int | None, endpoints: Sequence[Mapping[str, Any]], totals: Mapping[str, int]
) -> str:
    counted = dict.fromkeys(ORDER, 0)
    for item in endpoints:
        for finding in item["findings"]:
            counted[finding["verdict"]] += 1
    broken = sum(item["verdict"] == REGRESSION for item in endpoints)
    slower = sum(item["latency"]["verdict"] == REGRESSION for item in endpoints)
    seen = f"{number_of(totals['exchanges'], 'exchange')}, {totals['with_control']:,} with control"
    if verdict == REGRESSION:
        head = f"{number_of(counted[REGRESSION], 'regression')} at {number_of(broken, 'endpoint')}"
    elif verdict == CLEAN:
        head = "no difference but noise" if counted[NOISE] else "no difference"
    else:
        head = (
            f"{number_of(counted[UNDECIDED], 'difference')} undecided"
            if counted[UNDECIDED]
            else "not enough seen"
        )
        head += f", about {number_of(needed, 'more mirrored request')} needed" if needed else ""
    parts = [head]
    if slower:
        parts.append(f"{number_of(slower, 'endpoint')} slower")
    parts.extend(f"{counted[kind]} {kind}" for kind in (NOISE, IGNORED) if counted[kind])
    return f"{verdict}: {'; '.join(parts)} ({seen})"
