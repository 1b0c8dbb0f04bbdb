"""The report as Markdown, for a comment on a pull request or the summary of a job.

What services answered stands in code and in nothing else: there GitHub and GitLab read no markup, no
link and no mention.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from understudy.report import summary
from understudy.report.diff import diff_lines
from understudy.report.numbers import count, moment, percent, plural
from understudy.report.view import Endpoint, Finding, Sample, View, read_report
from understudy.report.visible import clip, visible

MOST_CHARACTERS = 65_000
"""A little below 65,536, the most that GitHub takes in a comment; GitLab takes a million."""

_SIGNS = {"regression": "\N{CROSS MARK}", "undecided": "\N{HOURGLASS WITH FLOWING SAND}"}
_CLEAN = "\N{WHITE HEAVY CHECK MARK}"
_MOST_ENDPOINTS = 50
_MOST_QUIET = 30
_OPEN_FINDINGS = 3
_NAME_CHARACTERS = 200
_CURL_CHARACTERS = 2000
_FOOT_CHARACTERS = 400  # kept free for the sentence that says what was left out
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&#|~$@\"']")
_REFERS = re.compile(r"[@#!~$%&](?=[\w\"])|:(?=//|[a-z_+][\w+-]*:)|www\.", re.IGNORECASE)
_JOINER = "&#8288;"  # a word joiner: of no width, but no name, link or number goes on behind it


def render_markdown(report: Mapping[str, Any], *, most: int = MOST_CHARACTERS) -> str:
    """Return *report* (the JSON of DESIGN §8) as Markdown of at most *most* characters (2,000 or more).

    The verdict and the endpoints come first; the findings that no longer fit are counted at the end.
    """
    view = read_report(report)
    text = "\n".join(_head(view))
    found = view.having("regression", "undecided")
    notes = [f"> {_words(note)}" for note in summary.notes(view)]
    blocks = [*notes, *_endpoint_blocks(view), *_finding_blocks(view, found), *_quiet_blocks(view)]
    left_out = 0
    room = most - _FOOT_CHARACTERS - _length(text)
    for block in blocks:
        length = _length(block) + 2
        if length > room:
            left_out += 1
        else:
            text += f"\n\n{block}"
            room -= length
    if left_out:
        foot = f"{plural(left_out, 'part')} left out to stay below the limit; the JSON report has all."
        text += f"\n\n_{foot}_"
    return f"{text}\n"


def _head(view: View) -> Iterator[str]:
    yield f"## {_SIGNS.get(view.verdict, _CLEAN)} Understudy: {_words(summary.headline(view))}"
    yield ""
    yield f"**{summary.badge(view.verdict)}.** {_words(summary.summary(view))}"
    origin = [f"rules version {view.rules_version}" if view.rules_version is not None else ""]
    origin += [f"since {moment(view.since)}" if moment(view.since) else "", moment(view.generated_at)]
    if any(origin):
        yield ""
        yield _words(" · ".join(part for part in origin if part))


def _endpoint_blocks(view: View) -> Iterator[str]:
    if not view.endpoints:
        return
    many = len(view.services) > 1
    service = (" Service |", "---|") if many else ("", "")
    rows = [
        f"| Endpoint |{service[0]} Compared | Equal | p50 | p99 | Verdict |",
        f"|---|{service[1]}--:|--:|--:|--:|---|",
        *(_row(endpoint, with_service=many) for endpoint in view.endpoints[:_MOST_ENDPOINTS]),
    ]
    yield "\n".join(rows)
    hidden = len(view.endpoints) - _MOST_ENDPOINTS
    if hidden > 0:
        yield f"… and {plural(hidden, 'more endpoint')}."
    for endpoint in view.endpoints[:_MOST_ENDPOINTS]:
        for note in summary.endpoint_notes(endpoint):
            yield f"> {_code(endpoint.endpoint)}: {_words(note)}"
    yield from _latency_block(view)


def _row(endpoint: Endpoint, *, with_service: bool) -> str:
    cells = [_cell(endpoint.endpoint)]
    if with_service:
        cells.append(_cell(endpoint.service))
    latency = endpoint.latency
    cells += [
        count(endpoint.exchanges),
        percent(endpoint.matched_share),
        summary.times(latency.primary.p50.value, latency.shadow.p50.value),
        summary.times(latency.primary.p99.value, latency.shadow.p99.value),
        summary.ruling(endpoint),
    ]
    return f"| {' | '.join(cells)} |"


def _latency_block(view: View) -> Iterator[str]:
    known = [item for item in view.endpoints if item.latency.delta.is_known][:_MOST_ENDPOINTS]
    if known:
        rows = ["| Endpoint | p50 | p90 | p99 | Slower in | Verdict |", "|---|--:|--:|--:|--:|---|"]
        rows += [_latency_row(item, with_service=len(view.services) > 1) for item in known]
        head = "How much longer the shadow took, exchange by exchange (with 95% intervals)"
        yield _details(head, "\n".join(rows), is_open=False)


def _latency_row(endpoint: Endpoint, *, with_service: bool) -> str:
    latency = endpoint.latency
    name = _cell(endpoint.endpoint) + (f" {_cell(endpoint.service)}" if with_service else "")
    figures = [summary.longer(quantile) for _, quantile in latency.delta.named]
    cells = [name, *figures, percent(latency.slower), summary.latency_ruling(endpoint)]
    return f"| {' | '.join(cells)} |"


def _finding_blocks(view: View, found: Iterable[Finding]) -> Iterator[str]:
    many = len(view.services) > 1
    for number, finding in enumerate(found):
        title = "### What differs\n\n" if not number else ""
        yield title + _finding(finding, is_open=number < _OPEN_FINDINGS, with_service=many)


def _finding(finding: Finding, *, is_open: bool, with_service: bool) -> str:
    who = f"{_code(finding.service)} {finding.words}" if with_service else f"The shadow {finding.words}"
    needed = summary.more_needed(finding)
    body = f"{who}: {summary.evidence(finding)}{f'; {needed}' if needed else ''}."
    if finding.samples:
        body += f"\n\n{_sample(finding.samples[0])}"
    names = f"{_html(finding.endpoint)} {_html(finding.path)} ({_html(finding.kind)})"
    return _details(f"<b>{summary.badge(finding.verdict)}</b> {names}", body, is_open=is_open)


def _sample(sample: Sample) -> str:
    parts = [_code(sample.request)] if sample.request else []
    parts.append(_fenced("diff", diff_lines(sample)))
    if sample.curl.isprintable() and 0 < len(sample.curl) <= _CURL_CHARACTERS:
        parts.append(_fenced("sh", (sample.curl,)))
    return "\n\n".join(parts)


def _quiet_blocks(view: View) -> Iterator[str]:
    quiet = view.having("noise", "ignored")
    if not quiet:
        return
    noise = len(view.having("noise"))
    rows = [
        f"- {_code(finding.endpoint)} {_code(finding.path)} ({_code(finding.kind)}): "
        f"{summary.evidence(finding) if finding.verdict == 'noise' else 'ignored by a rule'}"
        for finding in quiet[:_MOST_QUIET]
    ]
    if len(quiet) > _MOST_QUIET:
        rows.append(f"- … and {count(len(quiet) - _MOST_QUIET)} more")
    head = f"Quiet: {count(noise)} noise, {count(len(quiet) - noise)} ignored by a rule"
    yield _details(head, "\n".join(rows), is_open=False)


def _details(head: str, body: str, *, is_open: bool) -> str:
    """A fold. *head* is HTML in one line; the blank lines make *body* Markdown again."""
    return f"<details{' open' if is_open else ''}><summary>{head}</summary>\n\n{body}\n\n</details>"


def _fenced(language: str, lines: Iterable[str]) -> str:
    """*lines* in a fence longer than any run of backticks in them (CommonMark 0.31, section 4.5)."""
    text = "\n".join(lines)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    """*text* in one line, as a code span (CommonMark 0.31, section 6.1)."""
    shown = clip(text, _NAME_CHARACTERS)
    if not shown.strip():
        return _html(text)
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _cell(text: str) -> str:
    """*text* as code within a cell of a table, where a bar ends the cell before code begins."""
    return _html(text) if "\\" in text and "|" in text else _code(text).replace("|", "\\|")


def _html(text: str) -> str:
    """*text* in one line, as code where HTML stands."""
    return f"<code>{_escaped(clip(text, _NAME_CHARACTERS))}</code>"


def _length(text: str) -> int:
    """Characters as JavaScript counts them: two for one beyond the basic plane. The strictest count known."""
    return len(text) + sum(char > "\uffff" for char in text)


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _words(text: str) -> str:
    """A sentence of ours that may hold names from outside: no markup in it, and it refers to nothing."""
    shown = visible(text)
    parts: list[str] = []
    end = 0
    for match in _REFERS.finditer(shown):
        parts += [_escaped(shown[end : match.start()]), _escaped(match[0]), _JOINER]
        end = match.end()
    return "".join([*parts, _escaped(shown[end:])])


def _escaped(text: str) -> str:
    """*text* without anything that HTML or Markdown would read; entities are never markup (section 6.2)."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", text)
