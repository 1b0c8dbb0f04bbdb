"""One entry of a HAR (1.2) → a request that can be asked again, or why it cannot.

Tolerant of what browsers and mitmproxy write: pseudo fields of HTTP/2, WebSockets, data: URLs, bodies as
text, Base64 or parameters, cookies without their field. What the recorder left out is never invented.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from understudy.forwarding import (
    COHORT,
    CONTENT_LENGTH,
    CREDENTIAL,
    EXPECT,
    HOP_KINDS,
    HOST,
    OVERRIDE,
    PASS,
    SHADOW,
    kind_of,
)
from understudy.messages import Headers

REASONS: Final = {
    "no_request": "without a request",
    "not_http": "with a URL that is not http:// or https:// (data:, blob:, an extension's)",
    "websocket": "of a WebSocket",
    "method": "with a method that was not asked for (--methods, --all-methods)",
    "other_host": "to another host (--from)",
    "body_missing": "with a body that the file lacks",
    "body_too_large": "with a body over the cap",
}
"""Why an entry is not asked again, in words that follow a number."""

DECODED: Final = frozenset({"gzip", "deflate", "br", "zstd", "identity"})
"""The content codings that answers are compared in; others would be compared as bytes."""

CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
"""A browser's cache asks with these; the answer would be a 304 without anything to compare."""

_DROPPED: Final = HOP_KINDS | {HOST, CONTENT_LENGTH, EXPECT, COHORT, SHADOW}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
_UNSENDABLE: Final = re.compile(r"[\r\n\0]")
_HIDDEN: Final = re.compile(r"\[?redacted\b", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset=\"?([\w.:-]+)", re.IGNORECASE)
_KEPT_IN_URLS: Final = "%/?:@!$&'()*+,;=-._~[]|^`{}\\\"<>"


class Unusable(Exception):
    """The entry cannot be asked again; the argument is a key of `REASONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request of a recording. ``headers`` are those that may be sent again, ``credentials`` those that
    may be if somebody says so. ``at`` is Unix time; None when the file does not say."""

    method: str
    host: str
    path: str
    query: str
    headers: Headers
    credentials: Headers
    body: bytes
    override: str
    at: float | None


def read_entry(entry: object) -> Recorded:
    """The request of one *entry*. Raises `Unusable`; never anything else, whatever *entry* is."""
    whole = _mapping(entry)
    request = _mapping(whole.get("request"))
    method, url = request.get("method"), request.get("url")
    if not (isinstance(method, str) and isinstance(url, str) and _TOKEN.match(method)):
        raise Unusable("no_request")
    host, path, query = _read_url(url)
    fields = _fields(request.get("headers"))
    if _is_websocket(whole, fields):
        raise Unusable("websocket")
    body = _body(request, fields)
    headers = [field for field in fields if kind_of(field[0]) in (PASS, OVERRIDE)]
    return Recorded(
        method=method.upper(),
        host=host,
        path=path,
        query=query,
        headers=tuple(_sent(headers, body)),
        credentials=tuple(_credentials(fields, request.get("cookies"))),
        body=body,
        override=next((_text(v).upper() for n, v in headers if kind_of(n) == OVERRIDE), ""),
        at=_time(whole.get("startedDateTime")),
    )


def _read_url(url: str) -> tuple[str, str, str]:
    scheme = url.partition(":")[0].lower()
    if scheme in ("ws", "wss"):
        raise Unusable("websocket")
    if scheme not in ("http", "https"):
        raise Unusable("not_http")
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise Unusable("no_request") from None
    if not name:
        raise Unusable("no_request")
    host = f"[{name}]" if ":" in name else name
    if port not in (None, 80 if scheme == "http" else 443):
        host += f":{port}"
    return host, _escaped(parts.path) or "/", _escaped(parts.query)


def _escaped(text: str) -> str:
    """*text* as it stands in a request line: what no client sends unescaped is escaped, no more."""
    return quote(text.encode("utf-8", "replace"), safe=_KEPT_IN_URLS)


# -- fields


def _fields(value: object) -> list[tuple[bytes, bytes]]:
    """The fields that can be sent at all, in their order; pseudo fields (``:authority``) cannot."""
    found = []
    for item in _list(value):
        field = _mapping(item)
        name, text = field.get("name"), field.get("value")
        if not (isinstance(name, str) and isinstance(text, str)):
            continue
        if _TOKEN.match(name) and not _UNSENDABLE.search(text):
            found.append((name.encode("ascii"), _bytes(text.strip(" \t"))))
    return found


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _sent(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """*headers* without those that belong to a cache or to a coding which the body no longer has."""
    sent = []
    for name, value in headers:
        lower = name.lower()
        if lower in CONDITIONS or (lower == b"content-encoding" and not _is_coded(value, body)):
            continue
        if lower == b"accept-encoding":
            value = _decodable(value)
            if not value:
                continue
        sent.append((name, value))
    return sent


def _is_coded(coding: bytes, body: bytes) -> bool:
    """Whether *body* still is in its *coding*: recorders decode bodies, and leave the field."""
    return coding.strip().lower() == b"gzip" and body.startswith(b"\x1f\x8b")


def _decodable(value: bytes) -> bytes:
    kept = [item.strip() for item in _text(value).split(",") if item.partition(";")[0].strip() in DECODED]
    return ", ".join(kept).encode("latin-1")


def _credentials(fields: Headers, cookies: object) -> list[tuple[bytes, bytes]]:
    """The credential fields, without placeholders; a Cookie made of *cookies* when it is missing."""
    found = [field for field in fields if kind_of(field[0]) == CREDENTIAL]
    if not any(name.lower() == b"cookie" for name, _ in found):
        pairs = [(item.get("name"), item.get("value")) for item in map(_mapping, _list(cookies))]
        line = "; ".join(f"{n}={v}" for n, v in pairs if isinstance(n, str) and isinstance(v, str) and n)
        if line and not _UNSENDABLE.search(line):
            found.append((b"Cookie", _bytes(line)))
    return [field for field in found if not _HIDDEN.search(_text(field[1]))]


def _is_websocket(entry: Mapping[str, Any], fields: Headers) -> bool:
    if "_webSocketMessages" in entry or "_webSocket" in entry or entry.get("_resourceType") == "websocket":
        return True
    return any(name.lower() == b"upgrade" and value.lower() == b"websocket" for name, value in fields)


# -- the body


def _body(request: Mapping[str, Any], fields: Headers) -> bytes:
    """The bytes of the body. Raises `Unusable` when there was one that the file lacks."""
    data = _mapping(request.get("postData"))
    text = data.get("text")
    if isinstance(text, str) and text:
        return _decoded(text, data, fields)
    params = [_mapping(item) for item in _list(data.get("params"))]
    if params:
        return _form(params, str(data.get("mimeType", "")))
    size = request.get("bodySize")
    if isinstance(size, int | float) and size > 0:
        raise Unusable("body_missing")
    return b""


def _decoded(text: str, data: Mapping[str, Any], fields: Headers) -> bytes:
    if data.get("encoding") == "base64" or data.get("_encoding") == "base64":
        try:
            return b64decode(text, validate=True)
        except ValueError:
            raise Unusable("body_missing") from None
    kinds = [_text(value) for name, value in fields if name.lower() == b"content-type"]
    named = _CHARSET.search(" ".join([*kinds, str(data.get("mimeType", ""))]))
    try:
        return text.encode(named[1] if named else "utf-8")
    except (LookupError, UnicodeError):
        return text.encode("utf-8", "replace")


def _form(params: Sequence[Mapping[str, Any]], kind: str) -> bytes:
    """A form that was recorded as parameters. Files, and the borders of multipart, are not among these."""
    pairs: list[tuple[Any, Any]] = [(item.get("name", 0), item.get("value", "")) for item in params]
    is_whole = all(isinstance(name, str) and isinstance(value, str) for name, value in pairs)
    if not is_whole or "multipart" in kind or any("fileName" in item for item in params):
        raise Unusable("body_missing")
    # Browsers keep names and values as they were sent, escapes included; others keep them decoded.
    if any("%" in f"{name}{value}" or "+" in f"{name}{value}" for name, value in pairs):
        return "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")
    return urlencode(pairs, errors="replace").encode("ascii")


# -- plain values


def _time(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
