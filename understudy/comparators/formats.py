"""Who reads which format. A format that takes more than a few lines is a module of its own."""

from typing import Final, Protocol

from understudy.comparators import html, multipart, xml
from understudy.comparators.binary import describe
from understudy.comparators.content import (
    EVENTS,
    FORM,
    HTML,
    JSON,
    LINES,
    MARKED,
    MULTIPART,
    XML,
    ContentType,
    text_of,
)
from understudy.comparators.json_tree import ABSENT, load
from understudy.comparators.text import read_events, read_form, read_lines

DEEPEST_PART: Final = 3
"""Multipart bodies in multipart bodies that are taken apart."""

PLAIN: Final = frozenset({"", "utf-8", "us-ascii", "ascii"})


class Reader(Protocol):
    """Reads the bodies of one format."""

    def __call__(self, body: bytes, kind: ContentType, /) -> object:
        """The tree that *body* holds, or `ABSENT` when it is not of this format. Never raises.

        A tree is made of dicts, lists, texts, numbers, booleans, None and `Element`.
        """


def read_json(body: bytes, kind: ContentType) -> object:
    """The tree of a JSON text."""
    if _is_plain(body, kind):
        return load(body)
    text = text_of(body, kind.charset)
    return ABSENT if text is None else load(text)


def may_hold_booleans(body: bytes, kind: ContentType) -> bool:
    """Whether a JSON text may hold true or false; other charsets than UTF-8 spell them otherwise."""
    return b"true" in body or b"false" in body or not _is_plain(body, kind)


def _is_plain(body: bytes, kind: ContentType) -> bool:
    return kind.charset in PLAIN and body[:1] not in MARKED


def _lines(body: bytes, kind: ContentType) -> object:
    text = text_of(body, kind.charset)
    return ABSENT if text is None else read_lines(text)


def _events(body: bytes, kind: ContentType) -> object:
    text = text_of(body, kind.charset)
    return ABSENT if text is None else read_events(text)


def _form(body: bytes, kind: ContentType) -> object:
    text = text_of(body, kind.charset)
    return ABSENT if text is None else read_form(text) or ABSENT


def _multipart(body: bytes, kind: ContentType) -> object:
    return _parts(body, kind, 1)


def _parts(body: bytes, kind: ContentType, depth: int) -> object:
    return multipart.read(body, kind, lambda part, its_kind: _part(part, its_kind, depth))


def _part(body: bytes, kind: ContentType, depth: int) -> object:
    """What stands for a part: its tree, its text, or a few words on its bytes."""
    tree: object = ABSENT
    if kind.reading == MULTIPART:
        if depth < DEEPEST_PART:
            tree = _parts(body, kind, depth + 1)
    else:
        reader = READERS.get(kind.reading)
        if reader is not None:
            tree = reader(body, kind)
    if tree is not ABSENT:
        return tree
    text = whole_text(body, kind)
    return describe(body) if text is None else text


def whole_text(body: bytes, kind: ContentType) -> str | None:
    """*body* as a text that can be compared whole; None when its type says bytes, or it is no text."""
    return text_of(body, kind.charset) if kind.reading in TEXTUAL or not kind.media else None


READERS: Final[dict[str, Reader]] = {
    JSON: read_json,
    LINES: _lines,
    EVENTS: _events,
    FORM: _form,
    HTML: html.read,
    XML: xml.read,
    MULTIPART: _multipart,
}
"""By the `ContentType.reading` that each is for."""

TEXTUAL: Final = frozenset({"json", "lines", "events", "form", "html", "xml", "text"})


def sniffed(body: bytes) -> str:
    """The reading of a body of no stated type, by how it begins; empty when that says nothing."""
    begin = body[:64].lstrip()[:14].lower()
    if begin[:1] in (b"{", b"["):
        return JSON
    if begin.startswith((b"<!doctype html", b"<html")):
        return HTML
    return XML if begin.startswith(b"<?xml") else ""
