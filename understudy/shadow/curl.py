"""The command that asks a sample's request again: nothing secret stands in it, and nothing of it is executed.

What is hidden becomes a shell variable (``$AUTHORIZATION``), to be set by whoever may know it.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

import orjson

from understudy.comparators.content import FORM, JSON, content_type
from understudy.comparators.json_tree import ABSENT, load
from understudy.messages import Asked, Pair
from understudy.shadow.exchange import SAFE
from understudy.shadow.redaction import Redaction
from understudy.tracing import TRACE_FIELDS

LEFT_OUT: Final = frozenset({b"content-length", b"connection", *TRACE_FIELDS})
"""curl says these by itself, or they belong to the request that was."""

BODY_FILE: Final = "@request-body"
"""Stands for a body that is not text, or longer than is kept: a file of that name is sent."""

_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))


def curl(pair: Pair, hide: Redaction, origins: Mapping[str, str]) -> str:
    """The command for the request of *pair*; empty when nobody knows how it was asked.

    *origins*: the URL of each service. A safe request is sent to the primary, then to the shadow; any other
    to the shadow alone, so that pasting it changes nothing at the primary's. A service whose URL curl cannot
    take (a Unix socket) is ``$PRIMARY`` or ``$SHADOW``.
    """
    asked = pair.asked
    if not asked.lines:
        return ""
    words = ["curl", "-sSig", "--path-as-is", "-w", "'\\n'", *_method(pair)]
    for line in asked.lines.split(b"\r\n"):
        words += _field(line, hide)
    words += _body(asked, hide)
    sides = [(pair.service, "SHADOW")]
    if pair.method in SAFE:
        sides.insert(0, (asked.primary, "PRIMARY"))
    words += [_url(origins.get(service, ""), variable, pair, hide) for service, variable in sides]
    return " ".join(words)


def _method(pair: Pair) -> list[str]:
    if pair.method == "HEAD":
        return ["--head"]
    return [] if pair.method == "GET" and not pair.asked.body_bytes else ["-X", shlex.quote(pair.method)]


def _field(line: bytes, hide: Redaction) -> list[str]:
    raw, _, rest = line.partition(b":")
    name, value = raw.decode("latin-1"), rest.strip(b" \t").decode("latin-1")
    lower = raw.lower()
    if lower == b"accept-encoding":
        return ["--compressed"]
    if lower in LEFT_OUT or not name.isascii():
        return []
    is_plain = value.isascii() and value.isprintable() and hide.value(f"/headers/{name}", value) == value
    if value and is_plain:
        return ["-H", shlex.quote(f"{name}: {value}")]
    return ["-H", shlex.quote(f"{name}: ") + _variable(name)]


def _variable(name: str) -> str:
    """A shell variable named after *name*, quoted."""
    text = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return f'"${text}"' if text and not text[0].isdigit() else f'"$X_{text}"'


def _body(asked: Asked, hide: Redaction) -> list[str]:
    if not asked.body_bytes:
        return []
    text = _body_text(asked, hide)
    if text is None:
        return ["--data-binary", BODY_FILE]
    return ["--data-raw", shlex.quote(text)]


def _body_text(asked: Asked, hide: Redaction) -> str | None:
    """The body with what is private hidden; None when it cannot stand in a command."""
    try:
        text = asked.body.decode()
    except UnicodeDecodeError:
        return None
    kind = content_type(_header(asked, b"content-type"))
    if not text or kind.media.startswith("multipart/") or not _is_typed(text):
        return None
    tree = load(text) if kind.reading == JSON or text[:1] in "{[" else ABSENT
    if tree is not ABSENT:
        shown = hide.value("/body", tree)
        return text if shown == tree else orjson.dumps(shown, default=str).decode()
    if kind.reading == FORM or not kind.media:
        return hide.target("", text)[1:]
    return hide.text(text)


def _is_typed(text: str) -> bool:
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def _header(asked: Asked, name: bytes) -> bytes:
    for line in asked.lines.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip(b" \t")
    return b""


def _url(origin: str, variable: str, pair: Pair, hide: Redaction) -> str:
    is_url = origin.startswith(("http://", "https://"))
    begin = (origin.rstrip("/"), False) if is_url else (variable, True)
    return _joined([begin, *_path(pair.path, hide), *_query(pair.query, hide)])


Piece = tuple[str, bool]
"""A text, and whether it is the name of a variable."""


def _path(path: str, hide: Redaction) -> Iterator[Piece]:
    for number, segment in enumerate(path.split("/")):
        if number:
            yield "/", False
        if hide.target(segment, "") == segment:
            yield segment, False
        else:
            yield f"segment {number}", True


def _query(query: str, hide: Redaction) -> Iterator[Piece]:
    for number, parameter in enumerate(query.split("&") if query else ()):
        yield "&" if number else "?", False
        if hide.target("", parameter) == f"?{parameter}":
            yield parameter, False
            continue
        name, separator, _ = parameter.partition("=")
        if not separator or hide.target("", name) != f"?{name}":
            yield f"parameter {number + 1}", True
        else:
            yield f"{name}=", False
            yield unquote_plus(name), True


def _joined(pieces: list[Piece]) -> str:
    """One shell word; texts that stand beside each other are quoted together."""
    word = plain = ""
    for text, is_variable in pieces:
        if is_variable:
            word += _quoted(plain) + _variable(text)
            plain = ""
        else:
            plain += quote(text, safe=_ASCII, encoding="latin-1", errors="replace")
    return word + _quoted(plain)


def _quoted(text: str) -> str:
    """*text* in quotes, needed or not, so that a URL is one to see."""
    quoted = shlex.quote(text) if text else ""
    return f"'{text}'" if text and quoted == text else quoted
