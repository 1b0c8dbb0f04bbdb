"""Read HTML: structure, attributes and text, as libxml2 repairs them; scripts and styles are text."""

import re
from collections.abc import Mapping
from typing import Final

import lxml.etree

from understudy.comparators.content import ContentType, text_of
from understudy.comparators.elements import DEEPEST_ELEMENT, MOST_ATTRIBUTES, MOST_TAGS, Element, named
from understudy.comparators.json_tree import ABSENT

MEDIA: Final = frozenset({"text/html"})
ONCE: Final = {"head": "html", "body": "html", "title": "head"}
"""Children that stand at most once in the parent named, so that no position is shown."""

VERBATIM: Final = frozenset({"pre", "script", "style", "textarea"})
"""Spaces and lines are part of the text."""

NAMED: Final = frozenset({"meta", "input", "select", "textarea", "button"})
"""Told from their siblings by a name: one more field in a form moves none of the others."""

CHARSET: Final = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
HEAD_BYTES: Final = 1024  # WHATWG HTML 4.2.5.4: the declaration lies within


END: Final = "understudy-end"
"""A tag put behind the page: where the parser does not see it, it has dropped what stands before."""


class TooMuch(Exception):
    """More levels than libxml2 reads, so that what follows would be lost, or too many attributes."""


def read(body: bytes, kind: ContentType) -> object:
    """The page as ``{"html": Element}``; `ABSENT` when it is no text, broken off, too deep or too large.

    Comments, the document type, the order of attributes and how text is broken into lines mean nothing.
    """
    if body.count(b"<") > MOST_TAGS:
        return ABSENT
    text = _text(body, kind.charset)
    if text is None or f"<{END}" in text:
        return ABSENT
    page = Page()
    parser = lxml.etree.HTMLParser(target=page, encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        lxml.etree.fromstring((text.replace("\0", "\ufffd") + f"<{END}>").encode("utf-8", "replace"), parser)
    except (lxml.etree.LxmlError, TooMuch, ValueError):
        return ABSENT
    return page.top.fields() if page.is_whole and page.top.children else ABSENT


def _text(body: bytes, charset: str) -> str | None:
    """By the charset given, else UTF-8, else as the page declares, else Windows-1252, as in browsers."""
    text = text_of(body, charset)
    if text is None and not charset:
        declared = CHARSET.search(body[:HEAD_BYTES])
        text = text_of(body, declared[1].decode("ascii").lower() if declared else "cp1252")
    return text


class Page:
    """Builds the tree of one page from the events of the parser."""

    def __init__(self) -> None:
        self.top = Element("", "", None)
        self.is_whole = False
        self._attributes = 0
        self._open: list[Element] = []

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self._attributes += len(attributes)
        if len(self._open) >= DEEPEST_ELEMENT or self._attributes > MOST_ATTRIBUTES:
            raise TooMuch
        name = tag
        if tag in NAMED:
            name = named(tag, attributes.get("name") or attributes.get("property") or "")
        self.is_whole = tag == END
        is_single = False
        is_verbatim = tag in VERBATIM
        if self._open:
            around = self._open[-1]
            is_single = tag in ONCE and around.name == ONCE[tag]
            is_verbatim = is_verbatim or around.is_verbatim
        self._open.append(Element(name, "", attributes or None, is_single=is_single, is_verbatim=is_verbatim))

    def end(self, tag: str) -> None:
        closed = self._open.pop()
        if tag == END:
            return
        closed.close()
        if self._open:
            self._open[-1].add(closed)
        elif closed.children or not self.top.children:  # what follows </html> gets a new one around it
            closed.is_single = True
            self.top.add(closed)

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1].add_text(text)

    def close(self) -> None:
        """Called at the end of the page."""
