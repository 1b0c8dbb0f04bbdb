"""A report as JSON (DESIGN §8), read into values that both renderings share.

Reading is tolerant: keys that are absent count as zero or unknown, keys that are new are left alone,
so that a report of another version still shows what it has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

from understudy.report import tolerant
from understudy.report.flow import Flow, Share, read_flow, read_share
from understudy.report.latency import Interval, Latency, read_interval, read_latency
from understudy.report.switches import Switch, read_switches
from understudy.report.tolerant import VERDICTS

__all__ = ["VERDICTS", "Change", "Endpoint", "Finding", "Flow", "Sample", "Share", "View", "read_report"]

_WORDS = {
    "status": "answers with another status",
    "content_type": "answers with another content type",
    "header": "sends another header",
    "missing": "leaves this out",
    "extra": "adds this",
    "type": "sends another type",
    "value": "sends another value",
    "length": "sends another number of items",
    "order": "sends another order",
    "body": "sends another body",
}

_FUNCTIONS = ("CALL ", "ONCE ")
"""What endpoints of functions begin with: their status is only whether they raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step from the primary's answer to the shadow's, where an answer was explained in full."""

    path: str
    change: str
    primary: Any
    shadow: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One exchange at a path: both sides, and what is known of how they came about.

    ``at`` is the exact path (``/body/items/3/price``), ``seen`` Unix seconds, ``id`` finds the whole
    answers at ``/api/v1/samples/{id}``, ``curl`` repeats the request. Texts are empty when unknown.
    """

    primary: Any
    shadow: Any
    primary_absent: bool
    shadow_absent: bool
    request: str
    id: str = ""
    at: str = ""
    flag: str = ""
    seen: float | None = None
    curl: str = ""
    explanation: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Everything known about one (service, endpoint, path, kind)."""

    service: str
    endpoint: str
    path: str
    kind: str
    verdict: str
    differing: int
    exchanges: int
    control_differing: int
    with_control: int | None
    rate: float
    control_rate: float | None
    e_value: float
    needed: int | None
    samples: tuple[Sample, ...]
    interval: Interval | None = None
    """Of ``rate``; shares."""
    ignored: int = 0
    """How many differences a compare rule forgave here."""
    units: int | None = None
    """How many units the differing answers went to, where that is known."""
    impact: float = 0.0
    """How severe the kind is, times the rate beyond the control's; 0 when unknown."""

    @property
    def words(self) -> str:
        """What the shadow does, for a reader who does not know the kinds."""
        if self.kind == "status" and self.endpoint.startswith(_FUNCTIONS):
            return "raises where the function returns, or returns where it raises"
        return _WORDS.get(self.kind, "differs")

    @property
    def anchor(self) -> str:
        """A name that stays the same from one report to the next."""
        key = "\0".join((self.service, self.endpoint, self.path, self.kind))
        return "f-" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def weight(self) -> tuple[int, float, int, float]:
        """Smallest first: verdict, impact, how many answers are hit, how strong the evidence is."""
        return (VERDICTS.index(self.verdict), -self.impact, -self.differing, -self.e_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint at one shadow service."""

    endpoint: str
    service: str
    exchanges: int
    matched: int
    verdict: str
    latency: Latency
    findings: tuple[Finding, ...]
    with_control: int | None = None
    needed: int | None = None
    at_most: float | None = None
    """The largest share of exchanges that may differ where nothing was seen to (95 % certain)."""
    notes: tuple[str, ...] = ()

    @property
    def primary_p50(self) -> float | None:
        """Median of the primary, in seconds."""
        return self.latency.primary.p50.value

    @property
    def primary_p99(self) -> float | None:
        """99th percentile of the primary, in seconds."""
        return self.latency.primary.p99.value

    @property
    def shadow_p50(self) -> float | None:
        """Median of the shadow, in seconds."""
        return self.latency.shadow.p50.value

    @property
    def shadow_p99(self) -> float | None:
        """99th percentile of the shadow, in seconds."""
        return self.latency.shadow.p99.value

    @property
    def latency_verdict(self) -> str:
        """Whether the shadow is slower beyond the tolerance; empty when nobody judged."""
        return self.latency.verdict

    @property
    def matched_share(self) -> float | None:
        """Share of exchanges without any difference; None without exchanges."""
        return self.matched / self.exchanges if self.exchanges else None

    @property
    def weight(self) -> tuple[int, int, str]:
        """Smallest first: verdict, then traffic, then name."""
        worst = min(VERDICTS.index(self.verdict), VERDICTS.index(self.latency_verdict or "clean"))
        return (worst, -self.exchanges, self.endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole report, ordered by weight."""

    verdict: str
    exchanges: int
    matched: int
    with_control: int
    needed: int | None
    rules_version: int | None
    since: float | None
    generated_at: float | None
    mirror: Flow
    control: Flow | None
    traffic: tuple[Share, ...]
    endpoints: tuple[Endpoint, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    switches: tuple[Switch, ...] = ()
    """Of flags that route, and of those that are killed."""

    def having(self, *verdicts: str) -> tuple[Finding, ...]:
        """Findings with one of *verdicts*, in order of weight."""
        return tuple(finding for finding in self.findings if finding.verdict in verdicts)

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the shadow services, in the order of first mention."""
        return tuple(dict.fromkeys(endpoint.service for endpoint in self.endpoints if endpoint.service))

    @property
    def slower(self) -> tuple[Endpoint, ...]:
        """Endpoints whose shadow is slower beyond the tolerance."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.latency_verdict == "regression")


def read_report(report: Mapping[str, Any]) -> View:
    """Read *report*, the JSON object of DESIGN §8.

    Keys read when they stand beside those of DESIGN: ``needed``, ``rules_version``, ``since`` and
    ``generated_at`` (Unix seconds), ``control`` (like ``mirror``), ``traffic`` (a list of ``{flag,
    variant, service, requests}``), ``notes`` (a list of sentences), what `read_switches` reads; in an
    endpoint ``with_control``,
    ``needed``, ``at_most``, ``notes`` and what `read_latency` reads; in a finding ``exchanges``,
    ``with_control``, ``control_rate``, ``interval``, ``ignored``, ``units`` and ``weight``; in a sample
    ``request``, ``id``, ``at``, ``flag``, ``seen``, ``curl`` and ``explanation``.
    """
    endpoints = sorted(
        (_endpoint(item) for item in tolerant.mappings(report.get("endpoints"))), key=attrgetter("weight")
    )
    findings = sorted((finding for item in endpoints for finding in item.findings), key=attrgetter("weight"))
    exchanges = tolerant.count(report.get("exchanges"))
    control = report.get("control")
    return View(
        verdict=tolerant.verdict(report.get("verdict"), "undecided"),
        exchanges=exchanges,
        matched=sum(endpoint.matched for endpoint in endpoints),
        with_control=tolerant.count(report.get("with_control")),
        needed=_needed(report, findings),
        rules_version=tolerant.whole(report.get("rules_version")),
        since=tolerant.number(report.get("since")),
        generated_at=tolerant.number(report.get("generated_at")),
        mirror=read_flow(report.get("mirror")),
        control=read_flow(control) if isinstance(control, Mapping) else None,
        traffic=tuple(read_share(item) for item in tolerant.mappings(report.get("traffic"))),
        endpoints=tuple(endpoints),
        findings=tuple(findings),
        notes=_sentences(report.get("notes")),
        switches=read_switches(report),
    )


def _endpoint(item: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        endpoint=tolerant.text(item.get("endpoint")),
        service=tolerant.text(item.get("service")),
        exchanges=tolerant.count(item.get("exchanges")),
        matched=tolerant.count(item.get("matched")),
        verdict=tolerant.verdict(item.get("verdict"), "undecided"),
        latency=read_latency(item.get("latency")),
        findings=tuple(_finding(finding, item) for finding in tolerant.mappings(item.get("findings"))),
        with_control=tolerant.whole(item.get("with_control")),
        needed=tolerant.whole(item.get("needed")),
        at_most=tolerant.number(item.get("at_most")),
        notes=_sentences(item.get("notes")),
    )


def _finding(item: Mapping[str, Any], endpoint: Mapping[str, Any]) -> Finding:
    exchanges = tolerant.count(item.get("exchanges", endpoint.get("exchanges")))
    with_control = tolerant.whole(item.get("with_control", endpoint.get("with_control")))
    differing = tolerant.count(item.get("differing"))
    control_differing = tolerant.count(item.get("control_differing"))
    rate, control_rate = tolerant.number(item.get("rate")), tolerant.number(item.get("control_rate"))
    kind = tolerant.text(item.get("kind"))
    return Finding(
        service=tolerant.text(endpoint.get("service")),
        endpoint=tolerant.text(endpoint.get("endpoint")),
        path=tolerant.text(item.get("path")),
        kind=kind,
        verdict=tolerant.verdict(item.get("verdict"), "undecided"),
        differing=differing,
        exchanges=exchanges,
        control_differing=control_differing,
        with_control=with_control,
        rate=rate if rate is not None else differing / exchanges if exchanges else 0.0,
        control_rate=control_rate
        if control_rate is not None or not with_control
        else control_differing / with_control,
        e_value=tolerant.number(item.get("e_value")) or 0.0,
        needed=tolerant.whole(item.get("needed")),
        samples=_distinct(read_sample(sample, kind) for sample in tolerant.mappings(item.get("samples"))),
        interval=read_interval(item.get("interval")),
        ignored=tolerant.count(item.get("ignored")),
        units=_units(item.get("units")),
        impact=tolerant.number(item.get("weight")) or 0.0,
    )


def _units(item: object) -> int | None:
    """A number, or ``{"differing": number}`` as reports have it."""
    return tolerant.whole(item.get("differing") if isinstance(item, Mapping) else item)


def read_sample(item: Mapping[str, Any], kind: str) -> Sample:
    """One entry of ``samples``; *kind* is its finding's."""
    primary, shadow = item.get("primary"), item.get("shadow")
    return Sample(
        primary=primary,
        shadow=shadow,
        primary_absent=primary is None and kind == "extra",
        shadow_absent=shadow is None and kind == "missing",
        request=tolerant.text(item.get("request")),
        id=tolerant.text(item.get("id")),
        at=tolerant.text(item.get("at")),
        flag=tolerant.text(item.get("flag")),
        seen=tolerant.number(item.get("seen")),
        curl=tolerant.text(item.get("curl")),
        explanation=tuple(_change(change) for change in tolerant.mappings(item.get("explanation"))),
    )


def _change(item: Mapping[str, Any]) -> Change:
    return Change(
        path=tolerant.text(item.get("path")),
        change=tolerant.text(item.get("change")),
        primary=item.get("primary"),
        shadow=item.get("shadow"),
    )


def _distinct(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The first of *samples* with the same request and the same sides: others show a reader nothing new."""
    distinct: dict[str, Sample] = {}
    for sample in samples:
        distinct.setdefault(_shown(sample), sample)
    return tuple(distinct.values())


def _shown(sample: Sample) -> str:
    try:
        return repr((sample.primary, sample.shadow, sample.request))  # by repr, because 1 equals true
    except (ValueError, RecursionError):  # an integer of thousands of digits, nesting without end
        return f"only itself {id(sample)}"


def _sentences(item: object) -> tuple[str, ...]:
    return tuple(tolerant.text(sentence) for sentence in tolerant.items(item))


def _needed(report: Mapping[str, Any], findings: Iterable[Finding]) -> int | None:
    whole = tolerant.whole(report.get("needed"))
    if whole is not None:
        return whole
    return max(
        (item.needed for item in findings if item.verdict == "undecided" and item.needed), default=None
    )
