"""Find the entries of a HAR in a file, one after the other, without ever holding the file.

Answers make a HAR large, and only requests are wanted. A file that breaks off in the middle, because the
browser or the disk did, gives every entry that is whole before the break.
"""

import codecs
import json
from collections.abc import Iterator
from typing import BinaryIO, Final

from understudy.errors import UnderstudyError

PIECE_BYTES: Final = 1024 * 1024

MOST_VALUE_CHARS: Final = 256 * 1024 * 1024
"""One entry; it is held as text and once more as values. Browsers keep bodies of some 10 MB."""

CUT_CHARS: Final = 16
"""A parser that stops so near to the end of the text may have met half a word, number or escape."""

GZIP: Final = b"\x1f\x8b"

# Digits without end would raise ValueError as int (sys.set_int_max_str_digits); nobody counts with these.
_DECODER: Final = json.JSONDecoder(parse_int=float)


class NoHar(UnderstudyError):
    """The file is no HAR, or breaks off before its first entry; the message names the place."""


class _Break(Exception):
    """The text ends, or makes no sense, here."""


class _Text:
    """A window of the file's text. It begins at ``at``, and grows to the right."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._text = ""
        self._at = 0
        self._passed = 0

    @property
    def place(self) -> str:
        """Where we are, for messages."""
        return f"character {self._passed + self._at + 1:,}"

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._grow():
                return ""

    def skip(self, char: str) -> None:
        """Pass *char*, which must come next. Raises _Break."""
        found = self.peek()
        if found != char:
            what = f"{found!r} stands" if found else "it ends"
            raise _Break(f"{what} at {self.place}, where {char!r} should")
        self._at += 1

    def value(self) -> object:
        """The JSON value that comes next. Raises _Break."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                self._extend(error)
            except RecursionError:
                raise _Break(f"the value at {self.place} is nested too deeply") from None
            else:
                if end == len(self._text) and self._grow():
                    continue  # a number may go on
                self._at = min(end, len(self._text))  # at the end of the file the window was moved on
                return value

    def _extend(self, error: json.JSONDecodeError) -> None:
        """Read on when the value is only cut by the window. Raises _Break when it is broken."""
        is_cut = error.msg.startswith("Unterminated string") or len(self._text) - error.pos <= CUT_CHARS
        if not is_cut:
            raise _Break(f"broken JSON at character {self._passed + error.pos + 1:,}: {error.msg}")
        start = self.place
        if len(self._text) - self._at > MOST_VALUE_CHARS:
            raise _Break(f"the entry at {start} is over {MOST_VALUE_CHARS // 1024 // 1024} MiB")
        if not self._grow():
            raise _Break(f"it ends inside the value at {start}")

    def _grow(self) -> bool:
        """Read as much again as there is left, so that reading and parsing stay linear; False at the end."""
        raw = self._file.read(max(PIECE_BYTES, len(self._text) - self._at))
        more = self._decoder.decode(raw, final=not raw)
        self._text = self._text[self._at :] + more
        self._passed += self._at
        self._at = 0
        return bool(raw or more)


class Entries:
    """Iterate once. ``broken`` then says why the file ended too early; empty when it was whole.

    Raises `NoHar` before the first entry.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._text = _Text(file)
        self.broken = ""

    def __iter__(self) -> Iterator[object]:
        text = self._text
        try:
            self._enter("log", "it")
            self._enter("entries", "log")
            text.skip("[")
        except _Break as broken:
            raise NoHar(f"is no HAR: {broken}") from None
        try:
            while text.peek() != "]":
                yield text.value()
                if text.peek() != "]":
                    text.skip(",")
        except _Break as broken:
            self.broken = str(broken)

    def _enter(self, wanted: str, where: str) -> None:
        """Go on to the value of key *wanted* in the object that begins here. Raises _Break."""
        text = self._text
        text.skip("{")
        while text.peek() != "}":
            key = text.value()
            text.skip(":")
            if key == wanted:
                return
            text.value()
            if text.peek() != "}":
                text.skip(",")
        raise _Break(f"{where} has no {wanted!r}, and ends at {text.place}")
