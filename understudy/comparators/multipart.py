"""Take a multipart body apart (RFC 2046 5.1, RFC 7578): each part is read by its own type."""

import binascii
import re
from collections.abc import Callable
from typing import Final

from understudy.comparators.content import ContentType, content_type
from understudy.comparators.json_tree import ABSENT

PREFIX: Final = "multipart/"
FORM_DATA: Final = "multipart/form-data"
MOST_PARTS: Final = 1000
MOST_FIELD_BYTES: Final = 8192
"""Fields of one part: more is no part. As much as RFC 9110 advises for a whole request line."""

PARAMETER: Final = re.compile(
    r""";\s*(filename|name)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^";\s]+))""", re.IGNORECASE
)
FRAMING: Final = frozenset({"content-length", "content-transfer-encoding", "content-disposition"})

ReadPart = Callable[[bytes, ContentType], object]
"""The tree of a part, or what else stands for its content: never `ABSENT`."""


def read(body: bytes, kind: ContentType, read_part: ReadPart) -> object:
    """The parts: by name, in a list where it repeats, for form-data; else in a list. `ABSENT` when malformed.

    A part is ``{"headers": {name: text}, "content": tree}``. The boundary, what stands before the first
    part and after the last one, and the length and transfer encoding of a part mean nothing.
    """
    pieces = _pieces(body, kind.boundary)
    if pieces is None:
        return ABSENT
    parts: list[tuple[str, object]] = []
    for piece in pieces:
        part = _part(piece, read_part)
        if part is None:
            return ABSENT
        parts.append(part)
    if kind.media != FORM_DATA:
        return [content for _, content in parts]
    fields: dict[str, list[object]] = {}
    for name, content in parts:
        fields.setdefault(name, []).append(content)
    return {name: same[0] if len(same) == 1 else same for name, same in fields.items()}


def _pieces(body: bytes, boundary: str) -> list[bytes] | None:
    """What stands between the delimiters; None when the first or the last one is missing."""
    if not boundary or len(boundary) > 70:  # RFC 2046 5.1.1
        return None
    mark = re.escape(boundary.encode("latin-1"))
    line = re.compile(rb"(?:\A|\r?\n)--" + mark + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    pieces: list[bytes] = []
    start = -1
    for found in line.finditer(body):
        if start >= 0:
            pieces.append(body[start : found.start()])
        if found[1] is not None:
            return pieces if start >= 0 else None
        start = found.end()
        if len(pieces) >= MOST_PARTS:
            return None
    return None


def _part(piece: bytes, read_part: ReadPart) -> tuple[str, object] | None:
    """Its name, and what it holds; None when it has no end of fields."""
    # A piece begins with the line end after its delimiter.
    found = re.match(rb"\r?\n((?:[^\r\n]+\r?\n)*)(?:\r?\n|\Z)", piece[:MOST_FIELD_BYTES])
    if found is None:
        return None
    headers: dict[str, object] = {}
    coding = name = ""
    for line in re.sub(r"\r?\n[ \t]+", " ", found[1].decode("utf-8", "replace")).splitlines():
        field, _, value = line.partition(":")
        field, value = field.strip().lower(), value.strip()
        if field == "content-transfer-encoding":
            coding = value.lower()
        elif field == "content-disposition":
            given = {key.lower(): quoted or bare for key, quoted, bare in PARAMETER.findall(value)}
            name = given.get("name", "")
            headers.update({key: text for key, text in given.items() if key == "filename"})
        elif field not in FRAMING:
            headers[field] = value
    content = _undone(piece[found.end() :], coding)
    kind = content_type(str(headers.get("content-type", "")).encode("latin-1", "replace"))
    return name, {"headers": headers, "content": read_part(content, kind)}


def _undone(content: bytes, coding: str) -> bytes:
    """Without its transfer encoding; as it came when that is damaged."""
    try:
        if coding == "base64":
            return binascii.a2b_base64(content)
        if coding == "quoted-printable":
            return binascii.a2b_qp(content)
    except (binascii.Error, ValueError):
        pass
    return content
