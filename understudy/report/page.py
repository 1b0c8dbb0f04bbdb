"""The report as a page: one self-contained file, or the live page that the admin server shows.

What services answered reaches the page as text only: Jinja escapes every value, and a content
security policy keeps the browser from running anything that should slip through.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from understudy.report import chart, summary
from understudy.report.marks import Side, mark
from understudy.report.numbers import count, duration, moment, percent, plural
from understudy.report.view import Endpoint, Finding, Flow, Sample, View, read_report
from understudy.report.visible import value_text, visible

# A page of a few megabytes still opens at once; what lies beyond is counted, and stands in the JSON.
_MOST_FINDINGS = 200
_MOST_QUIET = 500
_MOST_ENDPOINTS = 1000
_MOST_SAMPLES = 3
_OPEN_FINDINGS = 5
_SHOWN_ENDPOINTS = 25
_PATH_CHARACTERS = 400

STATIC = {"report.css": "text/css", "report.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files the live page links to below ``/static/``, with their media types (UTF-8)."""

LIVE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy of the live page: nothing inline, nothing from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Findings of one endpoint at one service."""

    endpoint: str
    service: str
    findings: list[Finding]


def render_html(report: Mapping[str, Any]) -> str:
    """Return *report* (the JSON of DESIGN §8) as one HTML file that needs nothing else and runs no script."""
    return _render(report, live=False)


def render_live_html(report: Mapping[str, Any]) -> str:
    """Return *report* as the page that links ``/static/`` and keeps itself fresh."""
    return _render(report, live=True)


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


def _render(report: Mapping[str, Any], *, live: bool) -> str:
    view = read_report(report)
    attention = view.having("regression", "undecided")
    quiet = view.having("noise", "ignored")
    return (
        _templates()
        .get_template("report.html.jinja")
        .render(
            live=live,
            policy=file_policy(),
            style=static_file("report.css").decode(),
            view=view,
            groups=_groups(attention[:_MOST_FINDINGS]),
            open_findings={finding.anchor for finding in attention[:_OPEN_FINDINGS]},
            hidden_findings=max(0, len(attention) - _MOST_FINDINGS),
            quiet=quiet[:_MOST_QUIET],
            hidden_quiet=max(0, len(quiet) - _MOST_QUIET),
            shown_endpoints=view.endpoints[:_SHOWN_ENDPOINTS],
            more_endpoints=view.endpoints[_SHOWN_ENDPOINTS:_MOST_ENDPOINTS],
            hidden_endpoints=max(0, len(view.endpoints) - _MOST_ENDPOINTS),
            scale=chart.time_scale(view.endpoints[:_MOST_ENDPOINTS]),
            matched_share=view.matched / view.exchanges if view.exchanges else None,
            flow_bars=_flow_bars(view),
        )
    )


@cache
def _templates() -> Environment:
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
        "moment": moment,
        "visible": visible,
        "clip": _clip,
    }
    environment.globals |= {
        "words": summary,
        "plural": plural,
        "sides": _sides,
        "most_samples": _MOST_SAMPLES,
        "time_bars": _time_bars,
        "slower": _slower,
        "traffic_bars": _traffic_bars,
    }
    return environment


def _groups(findings: tuple[Finding, ...]) -> list[Group]:
    groups: dict[tuple[str, str], Group] = {}
    for finding in findings:
        key = (finding.service, finding.endpoint)
        group = groups.setdefault(key, Group(endpoint=finding.endpoint, service=finding.service, findings=[]))
        group.findings.append(finding)
    return list(groups.values())


def _sides(sample: Sample) -> tuple[Side, Side]:
    return mark(value_text(sample.primary, pretty=True), value_text(sample.shadow, pretty=True))


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
