"""What a body holds once its content coding is undone, and how it is to be read."""

import codecs
import re
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from typing import Final

import brotli

from understudy.messages import Answer

if sys.version_info >= (3, 14):
    import compression.zstd as zstd
else:
    import backports.zstd as zstd

MOST_DECODED_BYTES: Final = 8 * 1024 * 1024
"""A body that decodes to more is compared as it came: 8 times the largest copy that is kept (DESIGN §7)."""

MOST_CODINGS: Final = 3
MOST_MEMBERS: Final = 1000
"""Members of a gzip file, frames of zstd: each costs a decoder, and an empty one takes 9 bytes."""

GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS  # zlib.h: 32 detects the header
RAW: Final = -zlib.MAX_WBITS
LARGEST_WINDOW: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
"""2**23 bytes: RFC 9659 lets no sender of the coding use more."""

JSON: Final = "json"
LINES: Final = "lines"
EVENTS: Final = "events"
FORM: Final = "form"
MULTIPART: Final = "multipart"
HTML: Final = "html"
XML: Final = "xml"
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
    "text/html": HTML,
    "application/xml": XML,
    "text/xml": XML,
    "application/javascript": TEXT,
    "application/x-javascript": TEXT,
    "application/ecmascript": TEXT,
    "application/yaml": TEXT,
    "application/x-yaml": TEXT,
    "application/toml": TEXT,
    "application/graphql": TEXT,
    "application/sql": TEXT,
    "application/x-sh": TEXT,
}
SUFFIXES: Final = (("+json", JSON), ("+xml", XML))  # RFC 6839
PREFIXES: Final = (("multipart/", MULTIPART), ("text/", TEXT))

NO_CHARSETS: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape"})
"""Encodings of Python that no text is sent in. Punycode takes quadratic time: 1 MiB would hold the control
process for minutes; the escapes warn of what they read."""

LONGEST_CHARSET: Final = 40  # RFC 2978 2.3
CHARSETS: Final = frozenset(
    {*aliases, *aliases.values(), "utf_8_sig", "koi8_t", "koi8_u", "mac_croatian", "mac_romanian"}
    | {f"cp{page}" for page in (720, 737, 856, 874, 875, 1006)}
)
"""As `normalize_encoding` spells them. Any other name that Python is asked for it remembers for ever."""

MARKS: Final = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARKED: Final = frozenset({b"\xff", b"\xfe", b"\0"})
CHARSET: Final = re.compile(r"""(?:^|;)\s*charset\s*=\s*["']?([^"';\s,]+)""", re.IGNORECASE)
PARAMETER: Final = re.compile(r""";\s*([^=;"\s]+)\s*=\s*(?:"([^"]*)"|([^";\s]+))""")
BOUNDARY: Final = re.compile(r"""(?:^|;)\s*boundary\s*=\s*(?:"([^"]*)"|([^";\s]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentType:
    """A media type as it matters for comparing: lower case, with its charset (empty when not given)."""

    media: str
    charset: str
    reading: str
    """How a body of this type is read: json, lines, events, form, multipart, html, xml, text or bytes."""

    boundary: str = ""
    """Of a multipart type, as spelled: it frames, and is never compared."""

    others: tuple[str, ...] = ()
    """``name=value`` of the other parameters, sorted; none of a multipart type, whose others frame it too."""

    @property
    def shown(self) -> str | None:
        """As people write it; None when the answer has no Content-Type."""
        if not self.media:
            return None
        charset = (f"charset={self.charset}",) if self.charset else ()
        return "; ".join((self.media, *charset, *self.others))


@lru_cache(maxsize=512)
def content_type(field: bytes) -> ContentType:
    """Read a Content-Type *field*. Never raises; unknown types are read as bytes."""
    text = field.decode("latin-1")
    media = text.partition(";")[0].strip().lower()
    found = CHARSET.search(text[len(media) :])
    charset = found[1].lower() if found else ""
    reading = _reading(media)
    frame = BOUNDARY.search(text[len(media) :]) if reading == MULTIPART else None
    return ContentType(
        media=media,
        charset="utf-8" if charset == "utf8" else charset,
        reading=reading,
        boundary=(frame[1] or frame[2] or "") if frame else "",
        others=() if reading == MULTIPART else _others(text[len(media) :]),
    )


def _others(text: str) -> tuple[str, ...]:
    pairs = (f"{name.lower()}={(quoted or bare).lower()}" for name, quoted, bare in PARAMETER.findall(text))
    return tuple(sorted(pair for pair in pairs if not pair.startswith("charset=")))


def _reading(media: str) -> str:
    if media in KNOWN:
        return KNOWN[media]
    for suffix, reading in SUFFIXES:
        if media.endswith(suffix):
            return reading
    for prefix, reading in PREFIXES:
        if media.startswith(prefix):
            return reading
    return BYTES


def text_of(body: bytes, charset: str) -> str | None:
    """*body* as text; None when it is not text in *charset*: UTF-8 when not given and not marked as other."""
    if not charset and body[:1] in MARKED:
        charset = next((name for mark, name in MARKS if body.startswith(mark)), "")
    if charset and not is_charset(charset):
        return None
    try:
        return body.decode(charset or "utf-8").removeprefix("\ufeff")
    except (LookupError, UnicodeError, ValueError):  # LookupError: rot13 and the like are no text encodings
        return None


@lru_cache(maxsize=256)
def is_charset(name: str) -> bool:
    """Whether texts come in the charset *name* (any case)."""
    if len(name) > LONGEST_CHARSET or normalize_encoding(name.lower()) not in CHARSETS:
        return False
    try:
        return codecs.lookup(name).name.replace("_", "-") not in NO_CHARSETS
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return False


def codings_of(answer: Answer) -> tuple[str, ...]:
    """The content codings in the order applied, lower case, without ``identity``."""
    fields = [
        value for name, value in answer.headers if len(name) == 16 and name.lower() == b"content-encoding"
    ]
    if not fields:
        return ()
    names = (part.strip().lower() for part in b",".join(fields).decode("latin-1").split(","))
    return tuple(name for name in names if name and name != "identity")


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


# -- zlib: gzip and deflate


def _undo_gzip(body: bytes) -> bytes | None:
    """All members of a gzip file (RFC 1952 2.2); zeros may follow."""
    whole: list[bytes] = []
    left = MOST_DECODED_BYTES
    while body.strip(b"\0"):
        part, rest = _inflate(body, GZIP_OR_ZLIB, left)
        if part is None or len(whole) >= MOST_MEMBERS:
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


def _begin_zlib(body: bytes) -> bytes | None:
    for window in (GZIP_OR_ZLIB, RAW):
        try:
            return zlib.decompressobj(window).decompress(body, MOST_DECODED_BYTES)
        except zlib.error:
            continue
    return None


# -- brotli


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


def _begin_brotli(body: bytes) -> bytes | None:
    try:
        part: bytes = brotli.Decompressor().process(body, output_buffer_limit=MOST_DECODED_BYTES)
    except brotli.error:
        return None
    return part


# -- zstd


def _undo_zstd(body: bytes) -> bytes | None:
    """All frames (RFC 8878 3.1), skippable ones among them; none that needs a dictionary."""
    whole: list[bytes] = []
    left = MOST_DECODED_BYTES
    while body or not whole:
        part, rest = _unframe(body, left)
        if part is None or len(whole) >= MOST_MEMBERS:
            return None
        whole.append(part)
        left -= len(part)
        body = rest
    return b"".join(whole)


def _unframe(body: bytes, most: int) -> tuple[bytes | None, bytes]:
    decoder = zstd.ZstdDecompressor(options=LARGEST_WINDOW)
    try:
        part: bytes = decoder.decompress(body, most + 1)
    except zstd.ZstdError:
        return None, b""
    if not decoder.eof or len(part) > most:
        return None, b""
    return part, decoder.unused_data


def _begin_zstd(body: bytes) -> bytes | None:
    try:
        part: bytes = zstd.ZstdDecompressor(options=LARGEST_WINDOW).decompress(body, MOST_DECODED_BYTES)
    except zstd.ZstdError:
        return None
    return part


BEGINNINGS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "gzip": _begin_zlib,
    "x-gzip": _begin_zlib,
    "deflate": _begin_zlib,
    "br": _begin_brotli,
    "zstd": _begin_zstd,
}
CODINGS: Final[dict[str, Callable[[bytes], bytes | None]]] = {
    "gzip": _undo_gzip,
    "x-gzip": _undo_gzip,
    "deflate": _undo_deflate,
    "br": _undo_brotli,
    "zstd": _undo_zstd,
}
