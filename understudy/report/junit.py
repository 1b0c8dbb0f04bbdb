"""The report as JUnit XML, which GitLab, Jenkins and GitHub's test reporters show.

There is no standard; this keeps to what all of them read: ``testsuites``, ``testsuite``, ``testcase`` with
``failure`` or ``skipped``, and ``system-out``.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # written, never parsed

from understudy.report import summary
from understudy.report.diff import diff_lines
from understudy.report.numbers import plural
from understudy.report.view import Endpoint, Finding, View, read_report
from understudy.report.visible import clip

_MOST_ENDPOINTS = 5000
_MOST_FINDINGS = 20  # of one endpoint
_NAME_CHARACTERS = 300
_CURL_CHARACTERS = 2000
_RUN = "run"


def render_junit(report: Mapping[str, Any], *, failing: Collection[str] = ("regression",)) -> str:
    """Return *report* (the JSON of DESIGN §8) as JUnit XML: a suite for the run, and one for each service.

    The run and each endpoint are a test case: ``failure`` when what *failing* names holds for it
    (``regression``, ``undecided``, ``latency``); ``skipped`` when it is undecided otherwise, since nobody
    can say that it passed; else passed. ``time`` is the shadow's median in seconds.
    """
    view = read_report(report)
    root = Element("testsuites", name="understudy")
    _add_suite(root, _RUN, [_run_case(view, failing)])
    for service in dict.fromkeys(endpoint.service for endpoint in view.endpoints[:_MOST_ENDPOINTS]):
        own = [item for item in view.endpoints[:_MOST_ENDPOINTS] if item.service == service]
        _add_suite(root, _name(service), [_endpoint_case(item, failing) for item in own])
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _add_suite(root: Element, name: str, cases: list[Element]) -> None:
    suite = SubElement(root, "testsuite", name=name, tests=str(len(cases)), errors="0")
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.6f}")
    suite.extend(cases)


def _run_case(view: View, failing: Collection[str]) -> Element:
    case = Element("testcase", classname="understudy", name="verdict", time="0")
    sentence = summary.one_line(view)
    copies, answers = summary.books(view.mirror)
    books = "\n".join([sentence, *summary.notes(view), copies, answers])
    reason = view.verdict if view.verdict in failing else ""
    if not reason and view.slower and "latency" in failing:
        reason = "latency"
    _judge(case, reason, view.verdict, sentence, books)
    _tell(case, books)
    return case


def _endpoint_case(endpoint: Endpoint, failing: Collection[str]) -> Element:
    case = Element("testcase", classname=_name(endpoint.service), name=_name(endpoint.endpoint))
    case.set("time", f"{max(0.0, endpoint.shadow_p50 or 0.0):.6f}")
    is_slower = endpoint.latency_verdict == "regression"
    reason = endpoint.verdict if endpoint.verdict in failing else ""
    if not reason and is_slower and "latency" in failing:
        reason = "latency"
    evidence = "\n\n".join(_evidence(endpoint))
    _judge(case, reason, endpoint.verdict, _message(endpoint), evidence)
    _tell(case, evidence)
    return case


def _judge(case: Element, reason: str, verdict: str, message: str, evidence: str) -> None:
    if reason:
        SubElement(case, "failure", type=reason, message=message).text = evidence
    elif verdict == "undecided":
        SubElement(case, "skipped", message=message)


def _tell(case: Element, text: str) -> None:
    """What a failure does not show already."""
    if text and case.find("failure") is None:
        SubElement(case, "system-out").text = text


def _message(endpoint: Endpoint) -> str:
    """What a list of failed tests shows beside the name."""
    found = [item for item in endpoint.findings if item.verdict == endpoint.verdict]
    parts = [summary.ruling(endpoint)]
    if found:
        parts.append(", ".join(f"{clip(item.path, 80)} {item.words}" for item in found[:3]))
    if len(found) > 3:
        parts.append(f"{len(found) - 3} more")
    if endpoint.verdict == "undecided" and endpoint.needed:
        parts.append(f"about {plural(endpoint.needed, 'more mirrored request')} to decide")
    return "; ".join(parts)


def _evidence(endpoint: Endpoint) -> Iterator[str]:
    yield from summary.endpoint_notes(endpoint)
    if endpoint.latency.delta.is_known:
        yield f"latency, shadow minus primary: {summary.slowness(endpoint)}"
    shown = [item for item in endpoint.findings if item.verdict in ("regression", "undecided")]
    shown.sort(key=lambda item: item.weight)
    for finding in shown[:_MOST_FINDINGS]:
        yield "\n".join(_finding_lines(finding))
    if len(shown) > _MOST_FINDINGS:
        yield f"… and {plural(len(shown) - _MOST_FINDINGS, 'more finding')}"


def _finding_lines(finding: Finding) -> Iterable[str]:
    yield f"{finding.verdict}: {clip(finding.path, _NAME_CHARACTERS)} ({clip(finding.kind, 40)})"
    needed = summary.more_needed(finding)
    yield f"the shadow {finding.words}: {summary.evidence(finding)}{f'; {needed}' if needed else ''}"
    for sample in finding.samples[:1]:
        if sample.request:
            yield f"request: {clip(sample.request, _NAME_CHARACTERS)}"
        yield from diff_lines(sample)
        if sample.curl.isprintable() and 0 < len(sample.curl) <= _CURL_CHARACTERS:
            yield f"repeat: {sample.curl}"


def _name(text: str) -> str:
    return clip(text, _NAME_CHARACTERS) or "(unnamed)"
