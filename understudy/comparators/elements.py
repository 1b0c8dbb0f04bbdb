"""Elements of HTML and XML, as trees that are walked like those of JSON.

A path names tags from the root, list positions as in JSON: ``/body/html/body/ul/*/li/*``. An attribute is
``@name`` below its element; a difference of text stands at the element itself.
"""

import re
from typing import Final

from understudy.comparators.identifiers import identify

DEEPEST_ELEMENT: Final = 200
"""Levels; beyond, a document is compared as text. libxml2 gives up at 256."""

MOST_TAGS: Final = 100_000
"""About what 1 MiB holds of the busiest pages; a document with more is compared as text."""

SPACE: Final = re.compile(r"[ \t\n\r\f]+")  # no-break spaces are text


class Element:
    """One element. ``fields`` holds attributes (``@name``), and children in lists by tag.

    ``twin`` is equal for equal elements: a 64-bit hash, keyed by the interpreter, of everything that is
    compared. ``order`` has the tags of the children as they came, with "" for a run of text.
    """

    __slots__ = ("fields", "order", "space", "text", "twin")

    def __init__(
        self, space: str, text: str, fields: dict[str, object], order: tuple[str, ...], twin: int
    ) -> None:
        self.space = space
        self.text = text
        self.fields = fields
        self.order = order
        self.twin = twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and self.twin == other.twin

    def __hash__(self) -> int:
        return self.twin


class Open:
    """An element that is being read."""

    __slots__ = ("attributes", "fields", "name", "order", "run", "space", "texts", "twins")

    def __init__(self, name: str, space: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.space = space
        self.attributes = attributes
        self.fields: dict[str, object] = {}
        self.run: list[str] = []
        self.texts: list[str] = []
        self.order: list[str] = []
        self.twins: list[int] = []

    def add_text(self, text: str) -> None:
        """A piece of text; pieces that follow one another are one run."""
        self.run.append(text)

    def add(self, name: str, child: Element, *, is_single: bool = False) -> None:
        """A finished child; one that *is_single* stands without a list around it."""
        if self.run:
            self._end_run()
        there = self.fields.get(name)
        if there is None:
            self.fields[name] = child if is_single else [child]
        elif isinstance(there, list):
            there.append(child)
        else:
            self.fields[name] = [there, child]
        self.order.append(name)
        self.twins.append(child.twin)

    def close(self) -> Element:
        """The element, once all of it is read."""
        if self.run:
            self._end_run()
        text = " ".join(self.texts)
        attributes = self.attributes
        order = tuple(self.order)
        twin = hash((self.space, text, frozenset(attributes.items()), order, tuple(self.twins)))
        if not attributes:
            return Element(self.space, text, self.fields, order, twin)
        fields: dict[str, object] = {"@" + key: value for key, value in attributes.items()}
        fields.update(self.fields)
        return Element(self.space, text, fields, order, twin)

    def _end_run(self) -> None:
        """Space is normalised, and nothing but space is nothing."""
        text = self.run[0] if len(self.run) == 1 else "".join(self.run)
        self.run = []
        text = " ".join(text.split()) if text.isascii() else SPACE.sub(" ", text).strip(" ")
        if text:
            self.texts.append(text)
            self.order.append("")


def named(tag: str, name: str) -> str:
    """What tells *tag* from its siblings in a path, when it has a *name* of its own: ``meta.csrf-token``."""
    return tag if not name or len(name) > 60 or identify(name) else f"{tag}.{name}"
