"""What a body holds once its content coding is undone, and how it is to be read."""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import brotli

from understudy.messages import Answer

MOST_DECODED_BYTES: Final = 8 * 1024 * 1024
"""A body that decodes to more is compared as it came: 8 times the largest copy that is kept (DESIGN §7)."""

MOST_CODINGS: Final = 3
GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # zlib.h: 32 detects the header
RAW: Final = -zlib.MAX_WBITS

JSON: Final = "json"
LINES: Final = "lines"
EVENTS: Final = "events"
FORM: Final = "form"
TEXT: Final = "text"
BYTES: Final = "bytes"

KNOWN: Final = {
    "application/json": JSON,
    "text/json": JSON,
    "application/x-ndjson": LINES,
    "application/ndjson": LINES,
    "application/jsonl": LINES,
    "application/x-jsonlines": LINES,
    "application/jsonlines": LINES,
    "application/json-seq": LINES,
    "text/event-stream": EVENTS,
    "application/x-www-form-urlencoded": FORM,
    "application/javascript": TEXT,
    "application/x-javascript": TEXT,
    "application/ecmascript": TEXT,
    "application/xml": TEXT,
    "application/yaml": TEXT,
    "application/x-yaml": TEXT,
    "application/toml": TEXT,
    "application/graphql": TEXT,
    "application/sql": TEXT,
    "application/x-sh": TEXT,
}
SLOW_CHARSETS: Final = frozenset({"punycode"})
"""Python decodes it in quadratic time: 1 MiB would hold the control process for minutes."""

CHARSET: Final = re.compile(r"""(?:^|;)\s*charset\s*=\s*["']?([^"';\s,]+)""", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A media type as it matters for comparing: lower case, with its charset (empty when not given)."""

    media: str
    charset: str
    reading: str
    """How a body of this type is read: one of json, lines, events, form, text, bytes."""

    @property
    def shown(self) -> str | None:
        """As people write it; None when the answer has no Content-Type."""
        if not self.media:
            return None
        return f"{self.media}; charset={self.charset}" if self.charset else self.media


@lru_cache(maxsize=512)
def content_type(field: bytes) -> ContentType:
    """Read a Content-Type *field*. Never raises; unknown types are read as bytes."""
    text = field.decode("latin-1")
    media = text.partition(";")[0].strip().lower()
    found = CHARSET.search(text[len(media) :])
    charset = found[1].lower() if found else ""
    return ContentType(
        media=media, charset="utf-8" if charset == "utf8" else charset, reading=_reading(media)
    )


def _reading(media: str) -> str:
    if media in KNOWN:
        return KNOWN[media]
    if media.endswith("+json"):
        return JSON
    return TEXT if media.startswith("text/") or media.endswith("+xml") else BYTES


def decoded(answer: Answer, codings: Sequence[str]) -> bytes | None:
    """The body without its content *codings*, see `codings_of`.

    None when it cannot be undone: damaged, cut, of an unknown coding, or larger than `MOST_DECODED_BYTES`.
    """
    if not codings:
        return answer.body
    if len(codings) > MOST_CODINGS:
        return None
    body: bytes | None = answer.body
    for coding in reversed(codings):
        undo = CODINGS.get(coding)
        if undo is None or body is None:
            return None
        body = undo(body)
    return body


def beginning(answer: Answer) -> bytes | None:
    """What the kept part of the body decodes to, however it ends. None when it cannot be told."""
    codings = codings_of(answer)
    if not codings or not answer.is_truncated:
        return decoded(answer, codings)
    begin = BEGINNINGS.get(codings[0])
    return begin(answer.body) if begin is not None and len(codings) == 1 else None


def codings_of(answer: Answer) -> tuple[str, ...]:
    """The content codings in the order applied, lower case, without ``identity``."""
    field = b",".join(value for name, value in answer.headers if name.lower() == b"content-encoding")
    if not field:
        return ()
    names = (part.strip().lower() for part in field.decode("latin-1").split(","))
    return tuple(name for name in names if name and name != "identity")


def text_of(body: bytes, charset: str) -> str | None:
    """*body* as text; None when it is not text in *charset* (UTF-8 when not given)."""
    if charset in SLOW_CHARSETS:
        return None
    try:
        return body.decode(charset or "utf-8").removeprefix("\ufeff")
    except (LookupError, UnicodeError, ValueError):
        # ValueError: a charset with a NUL in its name. LookupError: unknown, or not a text encoding.
        return None


def _undo_gzip(body: bytes) -> bytes | None:
    """All members of a gzip file (RFC 1952 2.2); zeros may follow."""
    whole: list[bytes] = []
    left = MOST_DECODED_BYTES
    while body.strip(b"\0"):
        part, rest = _inflate(body, GZIP_OR_ZLIB, left)
        if part is None:
            return None
        whole.append(part)
        left -= len(part)
        body = rest
    return b"".join(whole)


def _undo_deflate(body: bytes) -> bytes | None:
    """zlib as RFC 9110 8.4.1.2 says, raw deflate as some servers send."""
    for window in (zlib.MAX_WBITS, RAW):
        part, rest = _inflate(body, window, MOST_DECODED_BYTES)
        if part is not None and not rest:
            return part
    return None


def _inflate(body: bytes, window: int, most: int) -> tuple[bytes | None, bytes]:
    decoder = zlib.decompressobj(window)
    try:
        part = decoder.decompress(body, most + 1)
    except zlib.error:
        return None, b""
    if not decoder.eof or len(part) > most:
        return None, b""
    return part, decoder.unused_data


def _undo_brotli(body: bytes) -> bytes | None:
    decoder = brotli.Decompressor()
    whole: list[bytes] = []
    size = 0
    try:
        part = decoder.process(body, output_buffer_limit=MOST_DECODED_BYTES)
        while part or not decoder.can_accept_more_data():
            whole.append(part)
            size += len(part)
            if size > MOST_DECODED_BYTES:
                return None
            if decoder.can_accept_more_data():
                break
            part = decoder.process(b"", output_buffer_limit=MOST_DECODED_BYTES)
    except brotli.error:
        return None
    return b"".join(whole) if decoder.is_finished() else None


def _begin_zlib(body: bytes) -> bytes | None:
    for window in (GZIP_OR_ZLIB, RAW):
        try:
            return zlib.decompressobj(window).decompress(body, MOST_DECODED_BYTES)
        except zlib.error:
            continue
    return None


def _begin_brotli(body: bytes) -> bytes | None:
    try:
        part: bytes = brotli.Decompressor().process(body, output_buffer_limit=MOST_DECODED_BYTES)
    except brotli.error:
        return None
    return part


BEGINNINGS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "gzip": _begin_zlib,
    "x-gzip": _begin_zlib,
    "deflate": _begin_zlib,
    "br": _begin_brotli,
}
CODINGS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "gzip": _undo_gzip,
    "x-gzip": _undo_gzip,
    "deflate": _undo_deflate,
    "br": _undo_brotli,
}
