"""A report, written in any of its formats to any number of places, and the exit code that it stands for."""

import io
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console

from understudy.cli.frame import CommandError, ExitCode, complain
from understudy.cli.output_file import write_file
from understudy.cli.report_options import FailOn, ReportFormat
from understudy.cli.screen import json_text
from understudy.cli.streams import print_document
from understudy.report import render_html, render_junit, render_markdown, render_text
from understudy.report.summary import one_line
from understudy.report.view import read_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One place a report goes to, standard output without a *path*."""

    form: ReportFormat
    path: Path | None = None


_SUFFIXES = {
    "": ReportFormat.TEXT,
    ".txt": ReportFormat.TEXT,
    ".text": ReportFormat.TEXT,
    ".log": ReportFormat.TEXT,
    ".json": ReportFormat.JSON,
    ".md": ReportFormat.MARKDOWN,
    ".markdown": ReportFormat.MARKDOWN,
    ".xml": ReportFormat.JUNIT,
    ".html": ReportFormat.HTML,
    ".htm": ReportFormat.HTML,
}
_STANDARD_OUTPUT = "-"


def read_outputs(files: Sequence[Path], form: ReportFormat | None) -> tuple[Output, ...]:
    """Where to write and how: *form* if one was named, else what the suffix of each file says.

    ``-`` is standard output, which is also where a report goes without *files*. Raises: CommandError.
    """
    if not files:
        return (Output(form=form or ReportFormat.TEXT),)
    return tuple(_output(file, form) for file in files)


def _output(file: Path, form: ReportFormat | None) -> Output:
    if str(file) == _STANDARD_OUTPUT:
        return Output(form=form or ReportFormat.TEXT)
    known = form or _SUFFIXES.get(file.suffix.lower())
    if known is None:
        hint = f"--format says which, or one of {', '.join(filter(None, _SUFFIXES))}"
        message = f"--output {file}: no format has the suffix {file.suffix}"
        raise CommandError(message, hint, code=ExitCode.USAGE)
    folder = file.parent
    if not folder.is_dir():  # told now, not after a replay of an hour
        raise CommandError(f"{file}: there is no folder {folder}", code=ExitCode.CANNOT_WRITE)
    return Output(form=known, path=file)


def read_fail_on(text: str) -> frozenset[FailOn]:
    """The conditions in *text*, a list with commas. Raises: CommandError when one is unknown."""
    words = [word.strip().lower() for word in text.split(",")]
    unknown = [word for word in words if word not in set(FailOn)]
    if unknown:
        hint = f"a list of {', '.join(FailOn)}, with commas"
        message = f"--fail-on {text!r}: there is no {unknown[0]!r}"
        raise CommandError(message, hint, code=ExitCode.USAGE)
    conditions = frozenset(FailOn(word) for word in words)
    if FailOn.NEVER in conditions and len(conditions) > 1:
        raise CommandError(f"--fail-on {text!r}: never stands alone", code=ExitCode.USAGE)
    return conditions


def exit_code(report: Mapping[str, Any], fail_on: Collection[FailOn] = ()) -> ExitCode:
    """0 clean, 1 a regression or what else *fail_on* names, 2 undecided; 0 always on ``never``.

    An unknown verdict is undecided.
    """
    if FailOn.NEVER in fail_on:
        return ExitCode.OK
    verdict = str(report.get("verdict"))
    is_slower = FailOn.LATENCY in fail_on and bool(read_report(report).slower)
    if verdict == "regression" or is_slower:
        return ExitCode.REFUSED
    if verdict == "clean":
        return ExitCode.OK
    return ExitCode.REFUSED if FailOn.UNDECIDED in fail_on else ExitCode.UNDECIDED


def finish(
    report: Mapping[str, Any], *, outputs: Sequence[Output], fail_on: Collection[FailOn] = ()
) -> ExitCode:
    """Write *report* to every one of *outputs*; how the command shall end.

    When none of them is standard output, one line on standard error says the verdict. Everything is
    drawn before anything is written, and all is written that can be. Raises: CommandError when a file
    cannot be written.
    """
    failing = {FailOn.REGRESSION, *fail_on}
    drawn = [(output, _drawn(report, output, failing)) for output in outputs if output.path is not None]
    refused = [error for output, text in drawn if (error := _refusal(output, text))]
    shown = [output for output in outputs if output.path is None]
    for output in shown:
        if output.form is ReportFormat.TEXT:
            _print_text(report, sys.stdout)
        else:
            print_document(_drawn(report, output, failing))
    if not shown:
        typer.echo(one_line(read_report(report)), err=True)
    for error in refused[1:]:
        complain(error.message, error.hint)
    if refused:
        raise refused[0]
    code = exit_code(report, fail_on)
    surprise = _surprise(str(report.get("verdict")), code)
    if surprise:
        typer.echo(surprise, err=True)
    return code


def _refusal(output: Output, text: str) -> CommandError | None:
    """Why *text* is not where it should go; a report that took an hour is not lost for one bad name."""
    if output.path is not None:
        try:
            write_file(output.path, text)
        except CommandError as error:
            return error
    return None


def _surprise(verdict: str, code: ExitCode) -> str:
    """Why the exit code is not the one that the verdict has without options; empty when it is."""
    if code is ExitCode.OK and verdict != "clean":
        return f"exit 0 though the verdict is {verdict}: --fail-on never"
    if code is ExitCode.REFUSED and verdict == "clean":
        return "exit 1 though the answers are clean: --fail-on latency, and the shadow is slower"
    if code is ExitCode.REFUSED and verdict != "regression":
        return f"exit 1 though the verdict is {verdict}: --fail-on undecided, or latency and it is slower"
    return ""


def _drawn(report: Mapping[str, Any], output: Output, failing: Collection[str]) -> str:
    match output.form:
        case ReportFormat.TEXT:
            page = io.StringIO()
            _print_text(report, page)
            return page.getvalue()
        case ReportFormat.JSON:
            return json_text(report)
        case ReportFormat.MARKDOWN:
            return render_markdown(report)
        case ReportFormat.JUNIT:
            return render_junit(report, failing=failing)
        case ReportFormat.HTML:
            return render_html(report)


def _print_text(report: Mapping[str, Any], file: TextIO) -> None:
    # A file is for reading later and elsewhere: FORCE_COLOR speaks of the terminal.
    is_terminal = None if file is sys.stdout else False
    console = Console(file=file, force_terminal=is_terminal, markup=False, highlight=False, emoji=False)
    render_text(report, console)
