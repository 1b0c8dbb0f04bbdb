"""`understudy report`: the report as text, JSON or HTML, on a terminal or in a file."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from understudy.cli.frame import ExitCode
from understudy.report import render_html, render_text

_CODES = {"clean": ExitCode.OK, "regression": ExitCode.REFUSED, "undecided": ExitCode.UNDECIDED}


def exit_code(report: Mapping[str, Any]) -> ExitCode:
    """0 clean, 1 regression, 2 undecided; an unknown verdict is undecided."""
    return _CODES.get(str(report.get("verdict")), ExitCode.UNDECIDED)


def write(report: Mapping[str, Any], *, form: str, output: Path | None) -> None:
    """Write *report* as *form* (text, json, html) to *output*, else to standard output. Raises: OSError."""
    if output is None:
        _write(report, form, sys.stdout)
        return
    with output.open("w", encoding="utf-8") as file:
        _write(report, form, file)


def _write(report: Mapping[str, Any], form: str, file: Any) -> None:
    if form == "json":
        file.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    elif form == "html":
        file.write(render_html(report))
    else:
        render_text(report, Console(file=file, markup=False, highlight=False, emoji=False))
