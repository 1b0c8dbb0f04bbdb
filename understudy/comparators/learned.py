"""Learn path templates from traffic: ids by their shape, other names by their number at one place."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from understudy.comparators.identifiers import identify_segment

NAME: Final = "{name}"
WIDEST: Final = 30
"""Different names at one place beyond which they are data: users, slugs, files. APIs seldom have more
operations side by side (of those below /repos/{owner}/{repo} in GitHub's, the widest has about 60, most of
them with ids of their own below, which do not count)."""

WIDEST_AT_ROOT: Final = 100
"""The first segment holds a whole site's names."""

LONGEST_TEMPLATE: Final = 300


class Place:
    """One place in the tree of learned paths; open: whatever name stands here is ``{name}``."""

    __slots__ = ("below", "is_open")

    def __init__(self) -> None:
        self.below: dict[str, Place] = {}
        self.is_open = False

    @property
    def width(self) -> int:
        """How many names stand here; those with an id right below are collections, which are few."""
        return sum(
            is_name(text) and not any(map(is_placeholder, place.below)) for text, place in self.below.items()
        )

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
            not at.is_open and (NAME in at.below or (len(at.below) > WIDEST and at.width > widest(depth)))
            for depth, at in enumerate(passed)
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
                text = NAME if place.is_open and is_name(text) else text
                place = place.below.get(text)
            names.append(text)
        return "/".join(names)


def _settle(place: Place, depth: int) -> None:
    if NAME in place.below or place.width > widest(depth):
        place.is_open = True
    if place.is_open:
        for text in [text for text in place.below if is_name(text)]:
            child = place.below.pop(text)
            place.below.setdefault(NAME, Place()).absorb(child)
    for child in place.below.values():
        _settle(child, depth + 1)


def widest(depth: int) -> int:
    """How many names a place may have; depth 1 holds the first segment of a path."""
    return WIDEST_AT_ROOT if depth <= 1 else WIDEST


def is_placeholder(text: str) -> bool:
    """Whether a segment of a template stands for any text."""
    return text[:1] == "{" and text[-1:] == "}"


def is_name(text: str) -> bool:
    """Whether a segment of a template stands for itself; the empty one beside a slash is no name."""
    return text != "" and not is_placeholder(text)


def segment_name(text: str) -> str:
    """A segment as a template shows it: ``{id}`` and its like for data, no braces of a client's own."""
    return "{id}" if text.isdecimal() else _segment_name(text)  # numbers come and go: nothing to remember


@lru_cache(maxsize=4096)
def _segment_name(text: str) -> str:
    found = identify_segment(text)
    if found:
        return f"{{{found}}}"
    return text.replace("{", "%7B").replace("}", "%7D") if "{" in text or "}" in text else text
