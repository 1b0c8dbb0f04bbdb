"""Learn path templates from traffic: ids by their shape, other names by their number at one place."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from understudy.comparators.identifiers import identify_segment

NAME: Final = "{name}"
WIDEST: Final = 30
"""Different names at one place beyond which they are data: users, slugs, files. An API that has more
operations side by side mostly has ids right below them, and those do not count; else it names them itself."""

WIDEST_AT_ROOT: Final = 100
"""The first segment holds a whole site's names."""

MOST_COLLECTIONS: Final = 100
"""Names with ids right below them, at one place: beyond that, /shops/{name}/17 is as much data."""

LONGEST_TEMPLATE: Final = 300

VALUE: Final = re.compile(r"(=|%3[Dd])[^;]+")
"""The value of a parameter within a segment (RFC 3986 3.3), as in ``;jsessionid=8A1F``."""


class Place:
    """One place in the tree of learned paths; open: whatever new name stands here is ``{name}``."""

    __slots__ = ("below", "is_open")

    def __init__(self) -> None:
        self.below: dict[str, Place] = {}
        self.is_open = False

    def is_too_wide(self, depth: int) -> bool:
        """Whether so many names stand here that they are data; *depth* 1 holds a path's first segment."""
        if len(self.below) <= WIDEST:
            return False
        collections = sum(map(self.is_collection, self.below))
        others = sum(map(is_name, self.below)) - collections
        return others > (WIDEST_AT_ROOT if depth <= 1 else WIDEST) or collections > MOST_COLLECTIONS

    def is_collection(self, text: str) -> bool:
        """Whether *text* is a name here with ids right below: those are few, and kept apart."""
        return is_name(text) and any(map(is_placeholder, self.below[text].below))

    def data(self) -> list[str]:
        """The names that are one when this place is open."""
        names = list(filter(is_name, self.below))
        collections = list(filter(self.is_collection, names))
        if len(collections) > MOST_COLLECTIONS:
            return names
        return [text for text in names if text not in collections]

    def absorb(self, other: "Place") -> None:
        """Take over all that lies below *other*."""
        self.is_open = self.is_open or other.is_open
        for text, place in other.below.items():
            self.below.setdefault(text, Place()).absorb(place)


class Learned:
    """Names of paths that no template knows: at most *most*, fewer when places open."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.openings = 0
        """Grows when names that were given before are given no more."""
        self._names: set[tuple[str, str]] = set()
        self._root = Place()

    @property
    def is_full(self) -> bool:
        return len(self._names) >= self.most

    def name(self, method: str, path: str, *, teaches: bool) -> str:
        """The template of *path* as a client sent it; empty when it is not known and cannot be learned.

        Only what *teaches* is learned, so that somebody who tries paths by chance fills nothing.
        """
        segments = [segment_name(part) for part in path.split("/")]
        name = self.rendered(segments)
        if (method, name) in self._names:
            return name
        if not teaches or self.is_full or len(name) > LONGEST_TEMPLATE:
            return ""
        self._names.add((method, name))
        if self.add(name.split("/")):
            self.settle()
            self.openings += 1
            self._names = {(known, self.rendered(text.split("/"))) for known, text in self._names}
            return self.rendered(segments)
        return name

    def add(self, segments: Sequence[str]) -> bool:
        """Put a path's names into the tree; True when a place has too many now."""
        place, passed = self._root, []
        for text in segments:
            passed.append(place)
            place = place.below.setdefault(text, Place())
        return any(
            not at.is_open and (NAME in at.below or at.is_too_wide(depth)) for depth, at in enumerate(passed)
        )

    def settle(self) -> None:
        """Open every place that has too many names or was open elsewhere, from the top."""
        _settle(self._root, 0)

    def rendered(self, segments: Iterable[str]) -> str:
        """The path of *segments*, with ``{name}`` where a place is open."""
        place: Place | None = self._root
        names = []
        for text in segments:
            if place is not None:
                text = NAME if place.is_open and is_name(text) and text not in place.below else text
                place = place.below.get(text)
            names.append(text)
        return "/".join(names)


def _settle(place: Place, depth: int) -> None:
    if NAME in place.below or place.is_too_wide(depth):
        place.is_open = True
    if place.is_open:
        for text in place.data():
            child = place.below.pop(text)
            place.below.setdefault(NAME, Place()).absorb(child)
    for child in place.below.values():
        _settle(child, depth + 1)


def is_placeholder(text: str) -> bool:
    """Whether a segment of a template stands for any text."""
    return text[:1] == "{" and text[-1:] == "}"


def is_name(text: str) -> bool:
    """Whether a segment of a template stands for itself; the empty one beside a slash is no name."""
    return text != "" and not is_placeholder(text)


def segment_name(text: str) -> str:
    """A segment as a template shows it: ``{id}`` and its like for data, no braces of a client's own, and no
    value of a parameter, which may be a session's."""
    return "{id}" if text.isdecimal() else _segment_name(text)  # numbers come and go: nothing to remember


@lru_cache(maxsize=4096)
def _segment_name(text: str) -> str:
    found = identify_segment(text)
    if found:
        return f"{{{found}}}"
    if "{" in text or "}" in text:
        text = text.replace("{", "%7B").replace("}", "%7D")
    return VALUE.sub(r"\1{value}", text) if "=" in text or "%3" in text else text
