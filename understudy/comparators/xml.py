"""Read XML: structure, attributes and text, with namespaces; no entity is ever expanded."""

import re
from functools import lru_cache
from typing import Final
from xml.parsers import expat

from understudy.comparators.content import ContentType, is_charset, text_of
from understudy.comparators.elements import DEEPEST_ELEMENT, MOST_ATTRIBUTES, MOST_TAGS, Element
from understudy.comparators.json_tree import ABSENT

MEDIA: Final = frozenset({"application/xml", "text/xml"})
DECLARED: Final = re.compile(
    rb"""(?:\xef\xbb\xbf)?<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,100})"""
)
SEPARATOR: Final = " "  # no namespace name has one
LANGUAGE: Final = "http://www.w3.org/XML/1998/namespace"


class Refused(Exception):
    """The document declares entities, nests too deeply or is too large."""


def read(body: bytes, kind: ContentType) -> object:
    """The document as ``{root tag: Element}``; `ABSENT` when it is not well-formed or is refused.

    Names with a namespace other than that of the element around stand after the last word of its URI:
    ``Atom:link``. Prefixes, comments, processing instructions, the document type and the order of
    attributes mean nothing. A declaration of an entity is refused, external ones are never fetched.
    """
    if body.count(b"<") > MOST_TAGS:
        return ABSENT
    text = text_of(body, kind.charset) if kind.charset else None
    if kind.charset and text is None:
        return ABSENT
    declared = None if text is not None else DECLARED.match(body)
    if declared is not None and not is_charset(declared[1].decode("ascii")):
        return ABSENT
    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    reading = Reading(parser)
    try:
        # expat takes a text as it is, whatever its declaration says: RFC 7303 3 puts the charset first.
        parser.Parse(body if text is None else text, True)
    except (expat.ExpatError, Refused, ValueError, LookupError, UnicodeError):
        # LookupError: a declared charset that Python does not know. ValueError: a NUL in its name.
        return ABSENT
    return reading.root if reading.root else ABSENT


class Reading:
    """Builds the tree of one document from the events of expat."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.SkippedEntityHandler = self._skipped
        parser.EntityDeclHandler = self._refuse
        self.root: dict[str, object] = {}
        self._attributes = 0
        self._open: list[Element] = []

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._attributes += len(attributes)
        if len(self._open) >= DEEPEST_ELEMENT or self._attributes > MOST_ATTRIBUTES:
            raise Refused
        space, _, name = tag.rpartition(SEPARATOR)
        around = self._open[-1].space if self._open else space
        if space not in (around, ""):
            name = f"{_word(space)}:{name}"
        named = {_attribute(key): value for key, value in attributes.items()} if attributes else None
        self._open.append(Element(name, space, named))

    def _end(self, _: str) -> None:
        closed = self._open.pop()
        closed.close()
        if self._open:
            self._open[-1].add(closed)
        else:
            self.root = {closed.name: closed}

    def _text(self, text: str) -> None:
        self._open[-1].add_text(text)

    def _skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter and self._open:
            self._open[-1].add_text(f"&{name};")

    def _refuse(self, *_: object) -> None:
        raise Refused


@lru_cache(maxsize=256)
def _word(space: str) -> str:
    """The last word of a namespace's URI: ``Atom`` of http://www.w3.org/2005/Atom."""
    words = [word for word in space.replace("#", "/").replace(":", "/").split("/") if word]
    return words[-1] if words else space


def _attribute(key: str) -> str:
    space, _, name = key.rpartition(SEPARATOR)
    if space == LANGUAGE:
        return f"xml:{name}"
    return f"{_word(space)}:{name}" if space else name
