"""Standard streams that take whatever is printed, on any terminal and in any locale."""

import codecs
import io
import os
import sys
from pathlib import Path
from typing import TextIO

_PLAIN = {
    "→": "->",
    "…": "...",
    "·": "|",
    "\N{EN DASH}": "-",
    "µ": "u",
    "§": "section ",
    "≥": ">=",
    "≤": "<=",
}
_HANDLER = "understudy.plain"


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    """A codec error handler: what the encoding lacks is written in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or ascii(char)[1:-1] for char in lacking), error.end


codecs.register_error(_HANDLER, _in_plain)


def open_streams() -> None:
    """Make standard output and error take every text; one that is closed leads nowhere."""
    sys.stdout = _taking_all(sys.stdout)
    sys.stderr = _taking_all(sys.stderr)


def _taking_all(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_HANDLER)
    return stream


def print_document(text: str) -> None:
    """*text* of a JSON, YAML or HTML document on standard output: UTF-8, whatever the terminal speaks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text)
