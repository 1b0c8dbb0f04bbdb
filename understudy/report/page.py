"""The report as a page: one self-contained file, or the live page that the admin server shows.

What services answered reaches the page as text only: Jinja escapes every value, and a content
security policy keeps the browser from running anything that should slip through.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from understudy.report import chart, numbers, spread, summary
from understudy.report.marks import Side, mark
from understudy.report.numbers import count, duration, moment, percent, plural, signed
from understudy.report.search import CHOICES, SLOWER, Search
from understudy.report.switches import kill_words, part_words
from understudy.report.view import Endpoint, Finding, Flow, Sample, View, read_report
from understudy.report.visible import value_text, visible
from understudy.report.whole import read_whole

if TYPE_CHECKING:
    from jinja2 import Environment

# A page of a few megabytes still opens at once; what lies beyond is counted, and stands in the JSON.
_MOST_FINDINGS: Final = 200
_MOST_QUIET: Final = 500
_MOST_ENDPOINTS: Final = 1000
_MOST_SAMPLES: Final = 3
_MOST_PICTURES: Final = 40
_OPEN_FINDINGS: Final = 5
_SHOWN_ENDPOINTS: Final = 25
_SHOWN_SWITCHES: Final = 8
_PATH_CHARACTERS: Final = 400
_SAMPLE_ID: Final = re.compile(r"[0-9a-f]{8,64}")

STATIC: Final = {"report.css": "text/css", "report.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files the live page links to below ``/static/``, with their media types (UTF-8)."""

LIVE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy of the live page: nothing inline, nothing from elsewhere, no text as markup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Findings of one endpoint at one service."""

    endpoint: str
    service: str
    findings: list[Finding]

    @property
    def anchor(self) -> str:
        """A name that stays the same from one report to the next."""
        return _anchor("g", self.service, self.endpoint)


def render_html(report: Mapping[str, Any]) -> str:
    """Return *report* (the JSON of DESIGN §8) as one HTML file that needs nothing else and runs no script."""
    return _render(report, search=Search(), live=False, revision=0)


def render_live_html(
    report: Mapping[str, Any],
    *,
    search: Search | None = None,
    revision: int = 0,
    notice: str = "",
    may_kill: bool = False,
) -> str:
    """Return *report*, narrowed by *search*, as the page that links ``/static/`` and keeps itself fresh.

    *revision* is that of the report: while it stays the same the page does not ask again. *notice* is a
    sentence about the server, for the foot of the page. With *may_kill* every flag has its kill button.
    """
    return _render(
        report, search=search or Search(), live=True, revision=revision, notice=notice, may_kill=may_kill
    )


def render_sample_html(sample: Mapping[str, Any]) -> str:
    """Return one sample (the JSON of ``/api/v1/samples/{id}``) as a page with both answers side by side."""
    return (
        _templates()
        .get_template("sample.html.jinja")
        .render(live=True, policy="", style="", whole=read_whole(sample))
    )


@cache
def static_file(name: str) -> bytes:
    """Content of one of ``STATIC``.

    Raises:
        KeyError: there is no such file.
    """
    if name not in STATIC:
        raise KeyError(name)
    return (resources.files("understudy.report") / "static" / name).read_bytes()


@cache
def file_policy() -> str:
    """Content-Security-Policy of the self-contained file: its own style sheet, by hash, no script."""
    digest = b64encode(sha256(static_file("report.css")).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _render(
    report: Mapping[str, Any],
    *,
    search: Search,
    live: bool,
    revision: int,
    notice: str = "",
    may_kill: bool = False,
) -> str:
    view = read_report(report)
    findings, endpoints = search.findings(view), search.endpoints(view)
    attention = [finding for finding in findings if finding.verdict in ("regression", "undecided")]
    quiet = [finding for finding in findings if finding.verdict in ("noise", "ignored")]
    timed = [endpoint for endpoint in endpoints if _is_timed(endpoint)]
    timed.sort(key=_slower, reverse=True)
    return (
        _templates()
        .get_template("report.html.jinja")
        .render(
            live=live,
            notice=notice,
            may_kill=may_kill,
            switches=view.switches[:_SHOWN_SWITCHES],
            more_switches=view.switches[_SHOWN_SWITCHES:],
            more_killed=sum(switch.is_on for switch in view.switches[_SHOWN_SWITCHES:]),
            policy=file_policy(),
            style=static_file("report.css").decode(),
            revision=revision,
            view=view,
            search=search,
            findings_found=len(findings),
            endpoints_found=len(endpoints),
            groups=_groups(attention[:_MOST_FINDINGS]),
            open_findings={finding.anchor for finding in attention[:_OPEN_FINDINGS]},
            hidden_findings=max(0, len(attention) - _MOST_FINDINGS),
            quiet=quiet[:_MOST_QUIET],
            noise_count=sum(finding.verdict == "noise" for finding in quiet),
            ignored_count=sum(finding.verdict == "ignored" for finding in quiet),
            hidden_quiet=max(0, len(quiet) - _MOST_QUIET),
            shown_endpoints=endpoints[:_SHOWN_ENDPOINTS],
            more_endpoints=endpoints[_SHOWN_ENDPOINTS:_MOST_ENDPOINTS],
            hidden_endpoints=max(0, len(endpoints) - _MOST_ENDPOINTS),
            timed=timed[:_MOST_PICTURES],
            hidden_timed=max(0, len(timed) - _MOST_PICTURES),
            scale=chart.time_scale(view.endpoints[:_MOST_ENDPOINTS]),
            matched_share=view.matched / view.exchanges if view.exchanges else None,
            flow_bars=_flow_bars(view),
            cohorts=_traffic_bars(view),
        )
    )


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # by the first page, not at the start

    environment = Environment(
        loader=PackageLoader("understudy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "percent": percent,
        "duration": duration,
        "signed": signed,
        "moment": moment,
        "visible": visible,
        "clip": _clip,
        "lines": _lines,
        "value": _value,
    }
    environment.globals |= {
        "words": summary,
        "written": numbers,
        "plural": plural,
        "sides": _sides,
        "most_samples": _MOST_SAMPLES,
        "choices": CHOICES,
        "slower_choice": SLOWER,
        "time_bars": _time_bars,
        "slower": _slower,
        "actions": _actions,
        "sample_path": _sample_path,
        "anchor": _anchor,
        "side_by_side": spread.side_by_side,
        "difference": spread.difference,
        "part_words": part_words,
        "kill_words": kill_words,
    }
    return environment


def _anchor(letter: str, *names: str) -> str:
    key = "\0".join(names).encode("utf-8", "surrogatepass")
    return f"{letter}-{sha256(key).hexdigest()[:12]}"


def _groups(findings: list[Finding]) -> list[Group]:
    groups: dict[tuple[str, str], Group] = {}
    for finding in findings:
        key = (finding.service, finding.endpoint)
        group = groups.setdefault(key, Group(endpoint=finding.endpoint, service=finding.service, findings=[]))
        group.findings.append(finding)
    return list(groups.values())


def _sides(sample: Sample) -> tuple[Side, Side]:
    return mark(value_text(sample.primary, pretty=True), value_text(sample.shadow, pretty=True))


def _actions(finding: Finding) -> tuple[tuple[str, str, str], ...]:
    """(action, path, words) of the compare rules that a click may write for *finding*.

    None where a rule cannot name the place in plain sight, or would hide all there is.
    """
    path = finding.path
    if not (path + finding.endpoint).isprintable():
        return ()
    actions = []
    if path.startswith(("/headers/", "/body/")):
        actions.append(("ignore", path, "Ignore this path"))
    if finding.kind == "order":
        actions.insert(0, ("unordered", path, "Order means nothing"))
    elif path.startswith("/body/") and path.endswith("/*"):
        actions.append(("unordered", path.removesuffix("/*"), "Order means nothing"))
    return tuple(actions)


def _is_timed(endpoint: Endpoint) -> bool:
    return endpoint.latency.primary.is_known or endpoint.latency.shadow.is_known


def _time_bars(scale: chart.Scale, endpoint: Endpoint) -> tuple[chart.Bar | None, chart.Bar | None]:
    return (
        chart.time_bar(scale, "primary", endpoint.primary_p50, endpoint.primary_p99),
        chart.time_bar(scale, "shadow", endpoint.shadow_p50, endpoint.shadow_p99),
    )


def _slower(endpoint: Endpoint) -> bool:
    return endpoint.latency_verdict == "regression"


def _flow_bars(view: View) -> tuple[chart.Bar, ...]:
    return chart.flow_bars(view.mirror) if view.mirror != Flow() else ()


def _traffic_bars(view: View) -> tuple[chart.Bar, ...]:
    parts = []
    for share in view.traffic:
        cohort = " ".join(visible(part) for part in (share.flag, share.variant) if part) or "no flag"
        parts.append((f"{cohort} → {visible(share.service)}", share.requests))
    return chart.stacked(parts)


def _clip(text: str, most: int = _PATH_CHARACTERS) -> str:
    shown = visible(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _value(value: Any) -> str:
    return _clip(value_text(value))


def _sample_path(sample: Sample) -> str:
    """Where the live page finds the whole answers; empty when nothing can be there."""
    return f"/samples/{sample.id}" if _SAMPLE_ID.fullmatch(sample.id) else ""


def _lines(text: str) -> str:
    return visible(text, keep="\n")
