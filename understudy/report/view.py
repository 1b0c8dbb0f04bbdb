"""A report as JSON (DESIGN §8), read into values that both renderings share.

Reading is tolerant: keys that are absent count as zero or unknown, keys that are new are left alone,
so that a report of another version still shows what it has.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

VERDICTS = ("regression", "undecided", "noise", "ignored", "clean")
"""From what needs a reader most to what needs none."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One exchange at a path: both sides, and the request that led to them when it is known."""

    primary: Any
    shadow: Any
    primary_absent: bool
    shadow_absent: bool
    request: str


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

    @property
    def words(self) -> str:
        """What the shadow does, for a reader who does not know the kinds."""
        return _WORDS.get(self.kind, "differs")

    @property
    def anchor(self) -> str:
        """A name that stays the same from one report to the next."""
        key = "\0".join((self.service, self.endpoint, self.path, self.kind))
        return "f-" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    @property
    def weight(self) -> tuple[int, int, float]:
        """Smallest first: verdict, then how many answers are hit, then how strong the evidence is."""
        return (VERDICTS.index(self.verdict), -self.differing, -self.e_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint at one shadow service. Times in seconds, None when unknown."""

    endpoint: str
    service: str
    exchanges: int
    matched: int
    verdict: str
    primary_p50: float | None
    primary_p99: float | None
    shadow_p50: float | None
    shadow_p99: float | None
    latency_verdict: str
    findings: tuple[Finding, ...]

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
class Flow:
    """Where mirrored copies went. ``eligible = sent + skipped + dropped``, ``sent = answered + failed``."""

    eligible: int = 0
    sent: int = 0
    answered: int = 0
    skipped: tuple[tuple[str, int], ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()
    failed: tuple[tuple[str, int], ...] = ()

    @property
    def skipped_count(self) -> int:
        """Copies not made, on purpose."""
        return sum(number for _, number in self.skipped)

    @property
    def dropped_count(self) -> int:
        """Copies given up to keep the bounds."""
        return sum(number for _, number in self.dropped)

    @property
    def failed_count(self) -> int:
        """Copies without an answer."""
        return sum(number for _, number in self.failed)

    @property
    def in_flight(self) -> int:
        """Copies sent whose outcome is still to come."""
        return max(0, self.sent - self.answered - self.failed_count)

    @property
    def unaccounted(self) -> int:
        """By how much the books do not balance; 0 when the conservation law holds."""
        open_ends = self.eligible - self.sent - self.skipped_count - self.dropped_count
        return abs(open_ends) + max(0, self.answered + self.failed_count - self.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many requests one cohort had, and who answered them."""

    flag: str
    variant: str
    service: str
    requests: int


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
    variant, service, requests}``), ``notes`` (a list of sentences); in an endpoint ``with_control``;
    in a finding ``with_control``, ``control_rate`` and ``exchanges``; in a sample ``request``.
    """
    endpoints = sorted(
        (_endpoint(item) for item in _mappings(report.get("endpoints"))), key=attrgetter("weight")
    )
    findings = sorted((finding for item in endpoints for finding in item.findings), key=attrgetter("weight"))
    exchanges = _int(report.get("exchanges"))
    control = report.get("control")
    return View(
        verdict=_verdict(report.get("verdict"), "undecided"),
        exchanges=exchanges,
        matched=sum(endpoint.matched for endpoint in endpoints),
        with_control=_int(report.get("with_control")),
        needed=_needed(report, findings),
        rules_version=_optional_int(report.get("rules_version")),
        since=_number(report.get("since")),
        generated_at=_number(report.get("generated_at")),
        mirror=_flow(report.get("mirror")),
        control=_flow(control) if isinstance(control, Mapping) else None,
        traffic=tuple(_share(item) for item in _mappings(report.get("traffic"))),
        endpoints=tuple(endpoints),
        findings=tuple(findings),
        notes=tuple(str(note) for note in _items(report.get("notes"))),
    )


def _endpoint(item: Mapping[str, Any]) -> Endpoint:
    latency = _mapping(item.get("latency"))
    primary, shadow = _mapping(latency.get("primary")), _mapping(latency.get("shadow"))
    return Endpoint(
        endpoint=_text(item.get("endpoint")),
        service=_text(item.get("service")),
        exchanges=_int(item.get("exchanges")),
        matched=_int(item.get("matched")),
        verdict=_verdict(item.get("verdict"), "undecided"),
        primary_p50=_number(primary.get("p50")),
        primary_p99=_number(primary.get("p99")),
        shadow_p50=_number(shadow.get("p50")),
        shadow_p99=_number(shadow.get("p99")),
        latency_verdict=_verdict(latency.get("verdict"), ""),
        findings=tuple(_finding(finding, item) for finding in _mappings(item.get("findings"))),
    )


def _finding(item: Mapping[str, Any], endpoint: Mapping[str, Any]) -> Finding:
    exchanges = _int(item.get("exchanges", endpoint.get("exchanges")))
    with_control = _optional_int(item.get("with_control", endpoint.get("with_control")))
    differing, control_differing = _int(item.get("differing")), _int(item.get("control_differing"))
    rate, control_rate = _number(item.get("rate")), _number(item.get("control_rate"))
    kind = _text(item.get("kind"))
    return Finding(
        service=_text(endpoint.get("service")),
        endpoint=_text(endpoint.get("endpoint")),
        path=_text(item.get("path")),
        kind=kind,
        verdict=_verdict(item.get("verdict"), "undecided"),
        differing=differing,
        exchanges=exchanges,
        control_differing=control_differing,
        with_control=with_control,
        rate=rate if rate is not None else differing / exchanges if exchanges else 0.0,
        control_rate=control_rate
        if control_rate is not None or not with_control
        else control_differing / with_control,
        e_value=_number(item.get("e_value")) or 0.0,
        needed=_optional_int(item.get("needed")),
        samples=_distinct(_sample(sample, kind) for sample in _mappings(item.get("samples"))),
    )


def _sample(item: Mapping[str, Any], kind: str) -> Sample:
    primary, shadow = item.get("primary"), item.get("shadow")
    return Sample(
        primary=primary,
        shadow=shadow,
        primary_absent=primary is None and kind == "extra",
        shadow_absent=shadow is None and kind == "missing",
        request=_text(item.get("request")),
    )


def _distinct(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """*samples* without those that show a reader nothing new. By repr, because 1 equals true."""
    return tuple({repr(sample): sample for sample in samples}.values())


def _flow(item: object) -> Flow:
    flow = _mapping(item)
    return Flow(
        eligible=_int(flow.get("eligible")),
        sent=_int(flow.get("sent")),
        answered=_int(flow.get("answered")),
        skipped=_reasons(flow.get("skipped")),
        dropped=_reasons(flow.get("dropped")),
        failed=_reasons(flow.get("failed")),
    )


def _reasons(item: object) -> tuple[tuple[str, int], ...]:
    if not isinstance(item, Mapping):
        return (("", _int(item)),) if _int(item) else ()
    pairs = ((str(reason), _int(number)) for reason, number in item.items())
    return tuple(sorted(((reason, number) for reason, number in pairs if number), key=_by_count))


def _by_count(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _share(item: Mapping[str, Any]) -> Share:
    return Share(
        flag=_text(item.get("flag")),
        variant=_text(item.get("variant")),
        service=_text(item.get("service")),
        requests=_int(item.get("requests")),
    )


def _needed(report: Mapping[str, Any], findings: Iterable[Finding]) -> int | None:
    whole = _optional_int(report.get("needed"))
    if whole is not None:
        return whole
    return max(
        (item.needed for item in findings if item.verdict == "undecided" and item.needed), default=None
    )


def _verdict(item: object, otherwise: str) -> str:
    return item if isinstance(item, str) and item in VERDICTS else otherwise


def _mapping(item: object) -> Mapping[str, Any]:
    return item if isinstance(item, Mapping) else {}


def _items(item: object) -> Iterable[Any]:
    return item if isinstance(item, list | tuple) else ()


def _mappings(item: object) -> Iterable[Mapping[str, Any]]:
    return (entry for entry in _items(item) if isinstance(entry, Mapping))


def _text(item: object) -> str:
    return item if isinstance(item, str) else "" if item is None else str(item)


def _number(item: object) -> float | None:
    if isinstance(item, bool) or not isinstance(item, int | float):
        return None
    try:
        number = float(item)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _optional_int(item: object) -> int | None:
    number = _number(item)
    return None if number is None else int(number)


def _int(item: object) -> int:
    return _optional_int(item) or 0
