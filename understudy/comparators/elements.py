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

MOST_ATTRIBUTES: Final = 100_000
"""Of a whole document, for the same reason."""

SPACE: Final = re.compile(r"[ \t\n\r\f]+")  # no-break spaces are text


class Element:
    """One element: made when its start is read, filled, and closed at its end.

    ``twin``, known once it is closed, is equal for equal elements: a 64-bit hash, keyed by the interpreter,
    of everything that is compared. ``children`` has a text for a run of it. Most elements equal their
    counterpart, so `fields`, which the walk looks at, are only made when asked for.
    """

    __slots__ = (
        "attributes",
        "children",
        "is_single",
        "is_verbatim",
        "mix",
        "more",
        "name",
        "run",
        "space",
        "text",
        "twin",
    )

    def __init__(
        self,
        name: str,
        space: str,
        attributes: Mapping[str, str] | None,
        *,
        is_single: bool = False,
        is_verbatim: bool = False,
    ) -> None:
        self.name = name
        self.space = space
        self.attributes = attributes
        self.is_single = is_single
        self.is_verbatim = is_verbatim
        self.children: list[Element | str] | None = None
        self.text = ""
        self.run = ""
        self.more: list[str] | None = None
        self.mix = 0
        self.twin = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Element) and self.twin == other.twin

    def __hash__(self) -> int:
        return self.twin

    def add_text(self, text: str) -> None:
        """A piece of text; pieces that follow one another are one run."""
        if not self.run:
            self.run = text
        elif self.more is None:
            self.more = [text]
        else:
            self.more.append(text)

    def add(self, child: "Element") -> None:
        """A child that is closed."""
        if self.run:
            self._end_run()
        if self.children is None:
            self.children = [child]
        else:
            self.children.append(child)
        self.mix = hash((self.mix, child.twin))

    def close(self) -> None:
        """All of it is read."""
        if self.run:
            self._end_run()
        marks = hash(frozenset(self.attributes.items())) if self.attributes else 0
        self.twin = hash((self.name, self.space, self.text, marks, self.mix))

    def _end_run(self) -> None:
        """Space is normalised, unless it is verbatim, and nothing but space is nothing."""
        text = self.run
        if self.more is not None:
            text += "".join(self.more)
            self.more = None
        self.run = ""
        if self.is_verbatim:
            text = text.replace("\r\n", "\n").strip("\n") if not text.isspace() else ""
        else:
            text = " ".join(text.split()) if text.isascii() else SPACE.sub(" ", text).strip(" ")
        if text:
            self.text = f"{self.text} {text}" if self.text else text
            self.mix = hash((self.mix, text))
            if self.children is None:
                self.children = [text]
            else:
                self.children.append(text)

    def fields(self) -> dict[str, object]:
        """Attributes as ``@name``, and children in lists by tag; one that is single without a list."""
        fields: dict[str, object] = {}
        if self.attributes:
            for key, value in self.attributes.items():
                fields["@" + key] = value
        for child in self.children or ():
            if isinstance(child, str):
                continue
            there = fields.get(child.name)
            if there is None:
                fields[child.name] = child if child.is_single else [child]
            elif isinstance(there, list):
                there.append(child)
            else:
                fields[child.name] = [there, child]
        return fields

    def tags(self) -> list[str]:
        """The tags of the children in their order."""
        return [child.name for child in self.children or () if isinstance(child, Element)]

    def order(self) -> list[str]:
        """Like `tags`, with ``#text`` for a run of text."""
        return ["#text" if isinstance(child, str) else child.name for child in self.children or ()]

    def runs(self) -> list[str]:
        """The runs of text, between which children stand."""
        return [child for child in self.children or () if isinstance(child, str)]


def named(tag: str, name: str) -> str:
    """What tells *tag* from its siblings in a path, when it has a *name* of its own: ``meta.csrf-token``."""
    return tag if not name or len(name) > 60 or identify(name) else f"{tag}.{name}"
