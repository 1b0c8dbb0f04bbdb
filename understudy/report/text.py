"""The report in a terminal: the verdict first, then the books, the endpoints, the findings, and the noise."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from understudy.report import summary
from understudy.report.marks import Side, mark
from understudy.report.numbers import count, moment, percent, plural
from understudy.report.shell import command_lines
from understudy.report.switches import kill_words
from understudy.report.view import Endpoint, Finding, Sample, View, read_report
from understudy.report.visible import clip, value_text, visible

_COLOURS = {
    "regression": "red",
    "undecided": "yellow",
    "noise": "bright_black",
    "ignored": "bright_black",
    "clean": "green",
    "": "default",
}
# A terminal is for reading, not for scrolling: what lies beyond is counted, and stands in the JSON and HTML.
_MOST_ENDPOINTS = 40
_MOST_FINDINGS = 50
_MOST_QUIET = 20
_MOST_LATENCIES = 10
_MOST_KILLED = 20
_PATH_CHARACTERS = 300
_CURL_CHARACTERS = 1000
_COMMAND_INDENT = 14


def render_text(report: Mapping[str, Any], console: Console) -> None:
    """Print *report* (the JSON of DESIGN §8) on *console*, no wider than it is.

    Text that came from a service is printed with its control characters spelled out.
    """
    view = read_report(report)
    _print_verdict(view, console)
    _print_books(view, console)
    if view.endpoints:
        _print_endpoints(view, console)
        _print_latencies(view, console)
    _print_findings(view, console)
    _print_quiet(view, console)


def _print_verdict(view: View, console: Console) -> None:
    line = Text()
    line.append(f" {summary.badge(view.verdict).upper()} ", style=f"bold reverse {_COLOURS[view.verdict]}")
    line.append(f"  {summary.headline(view)}", style="bold")
    console.print(line)
    console.print(Text(summary.summary(view)))
    origin = [f"rules version {view.rules_version}" if view.rules_version is not None else ""]
    origin += [f"since {moment(view.since)}" if moment(view.since) else "", moment(view.generated_at)]
    if any(origin):
        console.print(Text(" · ".join(part for part in origin if part), style="dim"))
    for note in summary.notes(view):
        console.print(Text(f"! {note}", style="yellow"))
    for switch in [switch for switch in view.switches if switch.is_on][:_MOST_KILLED]:
        console.print(Text(f"! {_clip(switch.flag)}: {_clip(kill_words(switch))}", style="red"))


def _print_books(view: View, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    copies, answers = summary.books(view.mirror)
    table.add_row(Text("Mirror"), Text(copies))
    table.add_row(Text(""), Text(answers))
    table.add_row(
        Text("Control"), Text(f"{plural(view.with_control, 'exchange')} with a second answer of the primary")
    )
    for share in view.traffic:
        cohort = " ".join(part for part in (share.flag, share.variant) if part) or "no flag"
        words = f"{visible(cohort)}: {plural(share.requests, 'request')} answered by {visible(share.service)}"
        table.add_row(Text("Traffic" if share is view.traffic[0] else ""), Text(words))
    console.print(Padding(table, (1, 0, 0, 0)))


def _print_endpoints(view: View, console: Console) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Endpoint", overflow="fold", ratio=1)
    for name in ("Compared", "Equal", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    for endpoint in view.endpoints[:_MOST_ENDPOINTS]:
        table.add_row(*_endpoint_cells(endpoint, with_service=len(view.services) > 1))
    console.print(Padding(table, (1, 0, 0, 0)))
    hidden = view.endpoints[_MOST_ENDPOINTS:]
    if hidden:
        verdicts = ", ".join(sorted({summary.badge(endpoint.verdict).lower() for endpoint in hidden}))
        console.print(Text(f"… and {plural(len(hidden), 'more endpoint')} ({verdicts})", style="dim"))
    for endpoint in view.endpoints[:_MOST_ENDPOINTS]:
        for note in summary.endpoint_notes(endpoint):
            console.print(Text(f"! {_clip(endpoint.endpoint)}: {note}", style="yellow"))


def _endpoint_cells(endpoint: Endpoint, *, with_service: bool) -> Iterable[Text]:
    is_slower = endpoint.latency_verdict == "regression"
    times = "red" if is_slower else ""
    colour = "red" if is_slower and endpoint.verdict == "clean" else _COLOURS[endpoint.verdict]
    yield Text(_endpoint_name(endpoint, with_service=with_service))
    yield Text(count(endpoint.exchanges))
    yield Text(percent(endpoint.matched_share))
    yield Text(summary.times(endpoint.primary_p50, endpoint.shadow_p50), style=times)
    yield Text(summary.times(endpoint.primary_p99, endpoint.shadow_p99), style=times)
    yield Text(summary.ruling(endpoint), style=colour)


def _endpoint_name(endpoint: Endpoint, *, with_service: bool) -> str:
    return _clip(endpoint.endpoint) + (f" → {_clip(endpoint.service)}" if with_service else "")


def _print_latencies(view: View, console: Console) -> None:
    """How much longer the shadow took, where it was measured pair by pair: the slowest endpoints first."""
    known = [endpoint for endpoint in view.endpoints if endpoint.latency.delta.is_known]
    if not known:
        return
    known.sort(key=lambda endpoint: endpoint.latency_verdict != "regression")
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Shadow minus primary, in pairs", overflow="fold", ratio=1)
    for name in ("p50 (95% interval)", "p99 (95% interval)", "Slower in"):
        table.add_column(name, justify="right", overflow="fold")
    for endpoint in known[:_MOST_LATENCIES]:
        delta = endpoint.latency.delta
        table.add_row(
            Text(_endpoint_name(endpoint, with_service=len(view.services) > 1)),
            Text(summary.longer(delta.p50)),
            Text(summary.longer(delta.p99)),
            Text(percent(endpoint.latency.slower)),
            style="red" if endpoint.latency_verdict == "regression" else "",
        )
    console.print(Padding(table, (1, 0, 0, 0)))
    if len(known) > _MOST_LATENCIES:
        console.print(Text(f"… and {plural(len(known) - _MOST_LATENCIES, 'more endpoint')}", style="dim"))


def _print_findings(view: View, console: Console) -> None:
    found = view.having("regression", "undecided")
    if not found:
        return
    regressions = len(view.having("regression"))
    title = f"{plural(regressions, 'regression')}, {count(len(found) - regressions)} undecided"
    console.print(Padding(Text(title, style="bold"), (1, 0, 0, 0)))
    for number, finding in enumerate(found[:_MOST_FINDINGS], 1):
        _print_finding(number, finding, console, with_service=len(view.services) > 1)
    if len(found) > _MOST_FINDINGS:
        console.print(Text(f"… and {count(len(found) - _MOST_FINDINGS)} more", style="dim"))


def _print_finding(number: int, finding: Finding, console: Console, *, with_service: bool) -> None:
    head = Text()
    head.append(f"{number}. ", style="dim")
    head.append(f"{_clip(finding.endpoint)} ")
    head.append(_clip(finding.path), style="bold")
    head.append(f"  {visible(finding.kind)} ", style="dim")
    head.append(summary.badge(finding.verdict).lower(), style=_COLOURS[finding.verdict])
    console.print(Padding(head, (1, 0, 0, 0)))
    who = f"{visible(finding.service)} {finding.words}" if with_service else finding.words
    body = Text(f"{who}: {summary.evidence(finding)}")
    needed = summary.more_needed(finding)
    if needed:
        body.append(f"; {needed}", style="yellow")
    console.print(Padding(body, (0, 0, 0, 3)))
    if finding.samples:
        sample = finding.samples[0]
        console.print(Padding(_sample_grid(sample), (0, 0, 0, 3)))
        _print_command(sample, console)
        if sample.id:
            console.print(Text.assemble(("   sample   ", "dim"), _clip(sample.id)))


def _print_command(sample: Sample, console: Console) -> None:
    """In lines that a shell takes back: a blank behind the backslash, or a fold, would end the command."""
    if not (sample.curl.isprintable() and 0 < len(sample.curl) <= _CURL_CHARACTERS):
        return
    for number, line in enumerate(command_lines(sample.curl, console.width - _COMMAND_INDENT)):
        label = "" if number else "repeat"
        console.print(Text.assemble((f"   {label:<9}", "dim"), line), soft_wrap=True)


def _sample_grid(sample: Sample) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    sides = _sample_sides(sample)
    if sample.request:
        grid.add_row(Text("request"), Text(_clip(sample.request)))
    grid.add_row(Text("primary"), _side_text(sides[0], "green", absent=sample.primary_absent))
    grid.add_row(Text("shadow"), _side_text(sides[1], "red", absent=sample.shadow_absent))
    return grid


def _sample_sides(sample: Sample) -> tuple[Side, Side]:
    return mark(value_text(sample.primary), value_text(sample.shadow), context=24, most=200)


def _side_text(side: Side, colour: str, *, absent: bool) -> Text:
    if absent:
        return Text("(absent)", style=f"italic {colour}")
    line = Text()
    styles = {"same": "", "changed": f"bold {colour}", "gap": "dim"}
    for span in side:
        line.append(f" {span.text} " if span.kind == "gap" else span.text, style=styles[span.kind])
    return line


def _print_quiet(view: View, console: Console) -> None:
    quiet = view.having("noise", "ignored")
    if not quiet:
        return
    noise = len(view.having("noise"))
    title = f"Quiet: {count(noise)} noise, {count(len(quiet) - noise)} ignored by a rule"
    console.print(Padding(Text(title, style="dim"), (1, 0, 0, 0)))
    for finding in quiet[:_MOST_QUIET]:
        rates = (
            f"{percent(finding.rate)}, {summary.control(finding)}"
            if finding.verdict == "noise"
            else "ignored"
        )
        line = f"{_clip(finding.endpoint)} {_clip(finding.path)}  {visible(finding.kind)}  {rates}"
        console.print(Padding(Text(line, style="dim", overflow="fold"), (0, 0, 0, 2)))
    if len(quiet) > _MOST_QUIET:
        console.print(
            Padding(Text(f"… and {count(len(quiet) - _MOST_QUIET)} more", style="dim"), (0, 0, 0, 2))
        )


def _clip(text: str) -> str:
    return clip(text, _PATH_CHARACTERS)
