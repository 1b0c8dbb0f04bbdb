"""Raw HTTP/1.1 for scripts: answers as bytes, and where a request ends. Lenient; it judges nobody."""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

Fields = Sequence[tuple[str, str]]
"""Header or trailer fields as (name, value), in order; sent as they are."""

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
CHUNK: Final = re.compile(rb"([0-9a-fA-F]+)[^\r\n]*\r\n")
FRAMING: Final = frozenset({"content-length", "transfer-encoding"})


def answer(status: int = 200, body: bytes = b"", headers: Fields = (), *, reason: str | None = None) -> bytes:
    """One whole answer.

    ``Content-Length`` is added last, unless *headers* frame the body themselves (then truly or not, as
    given) or the status has none (1xx, 204, 304). *reason* is the standard phrase by default.
    """
    has_length = status >= 200 and status not in (204, 304)
    if has_length and not any(name.lower() in FRAMING for name, _ in headers):
        headers = (*headers, ("Content-Length", str(len(body))))
    return _head(status, headers, reason) + body


def chunked(
    chunks: Iterable[bytes],
    status: int = 200,
    headers: Fields = (),
    *,
    trailers: Fields = (),
    is_whole: bool = True,
) -> bytes:
    """One answer with ``Transfer-Encoding: chunked``; an empty chunk is left out, as it would be the last.

    Without *is_whole*, the last chunk and *trailers* are missing: the answer never ends.
    """
    head = _head(status, (*headers, ("Transfer-Encoding", "chunked")), None)
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return head + body + (b"0\r\n" + _lines(trailers) + b"\r\n" if is_whole else b"")


def request_end(data: bytes | bytearray, start: int) -> int | None:
    """Where the request that begins at *start* ends; None until it is whole, or when it has no clear end."""
    head_end = data.find(HEAD_END, start)
    if head_end < 0:
        return None
    head, body = data[start:head_end], head_end + len(HEAD_END)
    if CHUNKED.search(head):
        return _chunks_end(data, body)
    length = LENGTH.search(head)
    end = body + int(length[1]) if length else body
    return end if len(data) >= end else None


def _chunks_end(data: bytes | bytearray, at: int) -> int | None:
    while chunk := CHUNK.match(data, at):
        size = int(chunk[1], 16)
        if size == 0:
            # The last chunk's own line end may be the first half of the empty line that ends it all.
            end = data.find(HEAD_END, chunk.end() - 2)
            return end + len(HEAD_END) if end >= 0 else None
        at = chunk.end() + size + 2
    return None


def _head(status: int, headers: Fields, reason: str | None) -> bytes:
    if reason is None:
        reason = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    return f"HTTP/1.1 {status} {reason}\r\n".encode("latin-1") + _lines(headers) + b"\r\n"


def _lines(fields: Fields) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")
