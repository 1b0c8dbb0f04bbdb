"""The report as JSON (DESIGN §8): verdicts, findings by weight, and what was not looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp
from typing import Any, Final

from understudy.comparators.covered import covered_places
from understudy.comparators.evidence import Key
from understudy.comparators.folding import fold
from understudy.comparators.idle import notes_on_rules
from understudy.comparators.latency import latencies
from understudy.comparators.ledger import Ledger, Name, ledger_of
from understudy.comparators.noise import (
    EPSILON,
    LARGEST_LOG,
    Counts,
    exchanges_for,
    most_unseen,
    rate_interval,
)
from understudy.comparators.notes import (
    notes_on_beginnings,
    notes_on_control,
    notes_on_drops,
    notes_on_failures,
    notes_on_missed,
    notes_on_omitted,
    notes_on_passed_over,
    notes_on_thin_endpoints,
    notes_on_tolerance,
    notes_on_units,
    number_of,
)
from understudy.comparators.overview import ORDER, Overview, weight
from understudy.comparators.rules import CompareRule
from understudy.comparators.verdict import (
    CLEAN,
    IGNORED,
    NOISE,
    REGRESSION,
    UNDECIDED,
    Judgement,
    Place,
    judged,
    worst,
)

Samples = Mapping[Place, Sequence[Mapping[str, Any]]]

MOST_FINDINGS: Final = 5000
"""A report lists so many, the heaviest: more are megabytes that nobody reads. All of them are judged."""

OUTCOMES: Final = ("eligible", "sent", "skipped", "dropped", "answered", "failed")
TOTALS: Final = (
    "exchanges",
    "matched",
    "ignored",
    "with_control",
    "not_compared",
    "unpaired",
    "passed_over",
    "beginnings",
)
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
    most_findings: int = MOST_FINDINGS,
    rules: Sequence[CompareRule] = (),
    templates: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of all *evidence*, ready for `json.dumps`. Seconds for times, shares for rates.

    *control_share*: the probability with which a mirrored request is asked twice (0: never). *fdr*: at
    most so many of the findings called a regression are none. *epsilon*: the run is clean once fewer than
    that share of its exchanges can differ without an explanation (95 % certain), every difference
    seen is noise or ignored, and hardly a copy went without being compared. The verdict of latency stands
    at its endpoint and does not change the others. *most_findings* are listed, the heaviest. *rules* in force
    and *templates* of endpoints hold for what was counted before them, too: see `covered` and `fold`.

    Keys beside those of DESIGN §8 — run: ``summary``, ``notes``, ``needed``, ``matched``, ``ignored``,
    ``not_compared``, ``passed_over``, ``beginnings``, ``unpaired``, ``control``, ``control_share``,
    ``services``; endpoint: ``with_control``, ``ignored``, ``needed``, ``at_most``, ``omitted``
    (findings that are not listed);
    finding: ``exchanges``, ``with_control``, ``control_rate``, ``interval``, ``ignored``, ``basis``,
    ``weight``, ``units`` (where some repeat: how often it counted, each unit once); latency: see
    `latencies`.
    """
    ledger, samples = fold(
        ledger_of(evidence), samples or {}, [*templates, *(rule.endpoint for rule in rules)]
    )
    terms = _Terms(samples=samples, control_share=control_share, fdr=fdr, epsilon=epsilon)
    covered = covered_places(ledger, rules)
    judgements = judged(ledger, control_share=control_share, fdr=fdr, epsilon=epsilon, covered=covered)
    overview = Overview(judgements, most_findings)
    endpoints = _endpoints(ledger, overview, terms)
    flows = {key: n for key, n in ledger.others().items() if key[0] in ("mirror", "control")}
    services = _services(flows)
    totals = {what: sum(ledger.exchange(name).get(what, 0) for name in ledger.endpoints()) for what in TOTALS}
    blind = [
        *notes_on_failures(services, epsilon),
        *notes_on_drops(services, epsilon),
        *notes_on_missed(totals, epsilon),
    ]
    lacking = _lacking(endpoints, services, epsilon)
    is_blind = any(stops for _, stops in blind)
    verdict, needed = _run_verdict(overview, totals, lacking, is_blind=is_blind)
    return {
        "verdict": verdict,
        "summary": _summary(verdict, needed, overview, endpoints, totals),
        "notes": [
            *notes_on_control(services, totals, control_share=control_share, epsilon=epsilon),
            *notes_on_tolerance(overview, totals, control_share=control_share, epsilon=epsilon),
            *notes_on_units(overview),
            *(text for text, _ in blind),
            *notes_on_passed_over(totals),
            *notes_on_beginnings(totals),
            *notes_on_thin_endpoints(verdict, endpoints),
            *notes_on_omitted(endpoints),
            *notes_on_rules(rules, ledger, enough=exchanges_for(epsilon)),
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


def _endpoints(ledger: Ledger, overview: Overview, terms: _Terms) -> list[dict[str, Any]]:
    names = ledger.endpoints()
    slowness = latencies(ledger, names, terms.fdr)
    return sorted(
        (_endpoint(ledger, name, overview, slowness[name], terms) for name in names), key=_endpoint_order
    )


def _endpoint_order(item: Mapping[str, Any]) -> tuple[int, float, str, str]:
    heaviest = max((finding["weight"] for finding in item["findings"]), default=0.0)
    return ORDER[item["verdict"]], -heaviest, item["endpoint"], item["service"]


def _endpoint(
    ledger: Ledger, name: Name, overview: Overview, latency: dict[str, Any], terms: _Terms
) -> dict[str, Any]:
    service, endpoint = name
    counts = {
        what: ledger.exchange(name).get(what, 0)
        for what in ("exchanges", "matched", "ignored", "with_control", "not_compared", "passed_over")
    }
    missed = counts["not_compared"]
    verdicts = overview.verdicts_at(name)
    findings = [_finding(place, judgement, missed, terms) for place, judgement in overview.heaviest(name)]
    verdict = worst(verdicts)
    lacking = max(0, exchanges_for(terms.epsilon) - counts["exchanges"])
    at_most = most_unseen(counts["exchanges"], missed)
    needed = None
    if verdict == CLEAN and at_most > terms.epsilon:
        verdict = UNDECIDED
    if verdict == UNDECIDED:
        needed = max(lacking, overview.needed_at(name)) or None
    return {
        "endpoint": endpoint,
        "service": service,
        **counts,
        "verdict": verdict,
        "needed": needed,
        "at_most": round(at_most, 6),
        "latency": latency,
        "findings": findings,
        "omitted": verdicts.total() - len(findings),
    }


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
        "weight": weight(place, judgement),
        "units": _units(counts),
        "samples": [dict(sample) for sample in terms.samples.get(place, ())],
    }


def _units(counts: Counts) -> dict[str, int] | None:
    """How many differences count as evidence, each unit once; None when no unit came again."""
    if not counts.differing_again and not counts.control_again:
        return None
    return {"differing": int(counts.first), "control_differing": int(counts.control_first)}


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
    overview: Overview, totals: Mapping[str, int], lacking: int, *, is_blind: bool
) -> tuple[str, int | None]:
    verdict = worst(overview.verdicts)
    if verdict == REGRESSION:
        return verdict, None
    if verdict == CLEAN and not lacking and not is_blind:
        return CLEAN, None
    return UNDECIDED, max(lacking, int(overview.share_needed * totals["exchanges"])) or None


def _summary(
    verdict: str,
    needed: int | None,
    overview: Overview,
    endpoints: Sequence[Mapping[str, Any]],
    totals: Mapping[str, int],
) -> str:
    counted = overview.verdicts
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
