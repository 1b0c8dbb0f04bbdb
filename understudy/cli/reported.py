"""`understudy report`: the report as text, JSON or HTML, on a terminal or in a file."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from understudy.cli.frame import ExitCode
from understudy.cli.streams import print_document
from understudy.report import render_html, render_text

_CODES = {"clean": ExitCode.OK, "regression": ExitCode.REFUSED, "undecided": ExitCode.UNDECIDED}


def exit_code(report: Mapping[str, Any]) -> ExitCode:
    """0 clean, 1 regression, 2 undecided; an unknown verdict is undecided."""
    return _CODES.get(str(report.get("verdict")), ExitCode.UNDECIDED)


def write(report: Mapping[str, Any], *, form: str, output: Path | None) -> None:
    """Write *report* as *form* (text, json, html) to *output*, else to standard output. Raises: OSError."""
    if output is not None:
        with output.open("w", encoding="utf-8", errors="backslashreplace") as file:
            if form == "text":
                _print_text(report, file)
            else:
                file.write(_document(report, form))
    elif form == "text":
        _print_text(report, sys.stdout)
    else:
        print_document(_document(report, form))


def _print_text(report: Mapping[str, Any], file: TextIO) -> None:
    render_text(report, Console(file=file, markup=False, highlight=False, emoji=False))


def _document(report: Mapping[str, Any], form: str) -> str:
    if form == "html":
        return render_html(report)
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
