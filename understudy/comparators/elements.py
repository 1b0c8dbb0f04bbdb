"""Elements of HTML and XML, as trees that are walked like those of JSON.

A path names tags from the root, list positions as in JSON: ``/body/html/body/ul/*/li/*``. An attribute is
``@name`` below its element; a difference of text stands at the element itself.
"""

import re
from collections.abc import Mapping
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
    compared. ``seen`` has the tag and the twin of each child as they came, one after the other, with
    "" and 0 for a run of text.
    """

    __slots__ = ("fields", "seen", "space", "text", "twin")

    def __init__(
        self, space: str, text: str, fields: dict[str, object], seen: tuple[object, ...], twin: int
    ) -> None:
        self.space = space
        self.text = text
        self.fields = fields
        self.seen = seen
        self.twin = twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and self.twin == other.twin

    def __hash__(self) -> int:
        return self.twin

    def tags(self) -> list[object]:
        """The tags of the children in their order."""
        return [tag for tag in self.seen[::2] if tag]

    def order(self) -> list[object]:
        """Like `tags`, with ``#text`` for a run of text."""
        return [tag or "#text" for tag in self.seen[::2]]


class Open:
    """An element that is being read."""

    __slots__ = ("fields", "marks", "more", "name", "run", "seen", "space", "text")

    def __init__(self, name: str, space: str, attributes: Mapping[str, str]) -> None:
        self.name = name
        self.space = space
        self.fields: dict[str, object] = {}
        self.marks = 0
        if attributes:
            self.marks = hash(frozenset(attributes.items()))
            for key, value in attributes.items():
                self.fields["@" + key] = value
        self.text = ""
        self.run = ""
        self.more: list[str] | None = None
        self.seen: list[object] = []

    def add_text(self, text: str) -> None:
        """A piece of text; pieces that follow one another are one run."""
        if not self.run:
            self.run = text
        elif self.more is None:
            self.more = [text]
        else:
            self.more.append(text)

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
        self.seen.append(name)
        self.seen.append(child.twin)

    def close(self) -> Element:
        """The element, once all of it is read."""
        if self.run:
            self._end_run()
        seen = tuple(self.seen)
        twin = hash((self.space, self.text, self.marks, seen))
        return Element(self.space, self.text, self.fields, seen, twin)

    def _end_run(self) -> None:
        """Space is normalised, and nothing but space is nothing."""
        text = self.run
        if self.more is not None:
            text += "".join(self.more)
            self.more = None
        self.run = ""
        text = " ".join(text.split()) if text.isascii() else SPACE.sub(" ", text).strip(" ")
        if text:
            self.text = f"{self.text} {text}" if self.text else text
            self.seen.append("")
            self.seen.append(0)


def named(tag: str, name: str) -> str:
    """What tells *tag* from its siblings in a path, when it has a *name* of its own: ``meta.csrf-token``."""
    return tag if not name or len(name) > 60 or identify(name) else f"{tag}.{name}"
