"""The options of every command that ends in a report. Imported at the start, so it imports little."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ReportFormat(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    HTML = "html"


class FailOn(StrEnum):
    """What exits 1. A regression always does, unless nothing shall."""

    REGRESSION = "regression"
    UNDECIDED = "undecided"
    LATENCY = "latency"
    NEVER = "never"


ReportForm = Annotated[
    ReportFormat | None,
    typer.Option(
        "--format", help="How to write it; else as FILE is named, else as text.", show_default=False
    ),
]
ReportFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write it there instead: .txt, .json, .md, .xml (JUnit) or .html; - is standard output. "
        "Repeatable: one report, one verdict, several files.",
        show_default=False,
    ),
]
ReportFailOn = Annotated[
    str,
    typer.Option(
        "--fail-on",
        metavar="LIST",
        help="What exits 1, beside a regression: undecided (else 2), latency (a shadow that is slower, else "
        "not regarded). never: exit 0 whatever the verdict.",
    ),
]
