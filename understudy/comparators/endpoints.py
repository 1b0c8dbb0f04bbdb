"""Name the endpoint of a request: method and path template, bounded in number. On the request's path."""

from collections.abc import Sequence
from typing import Final

from understudy.comparators.identifiers import identify_segment

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER_METHOD: Final = "OTHER"
OTHER_PATH: Final = "(other)"
MOST_CACHED: Final = 8192
LONGEST_TEMPLATE: Final = 300
LONGEST_CACHED: Final = 1024


class _Template:
    """One template of the rules document: literal segments and ``{name}`` ones."""

    def __init__(self, text: str) -> None:
        method, _, path = text.strip().partition(" ")
        self.method, self.path = (method, path) if path else ("*", method)
        self.segments = [
            None if part[:1] == "{" and part[-1:] == "}" else part for part in self.path.split("/")
        ]
        self.places = self.segments.count(None)

    @property
    def names_one_path(self) -> bool:
        return self.path.startswith("/") and "*" not in self.segments

    def matches(self, method: str, segments: Sequence[str]) -> bool:
        if self.method not in ("*", method) or len(segments) != len(self.segments):
            return False
        return all(
            given == part if part is not None else bool(given)
            for part, given in zip(self.segments, segments, strict=True)
        )


class Endpoints:
    """``"METHOD /template"`` of requests.

    *templates* are the endpoints that compare rules name (``"GET /orders/{id}"``, ``"* /x"``; patterns
    such as ``"*"`` are passed over); of several that match, the one with the fewest ``{name}`` wins.
    Other paths are learned: segments that look like data become ``{id}``, ``{uuid}``, ``{hash}``,
    ``{date}``, ``{email}`` or ``{token}``. After *most* learned endpoints, new ones are ``"METHOD (other)"``.
    """

    def __init__(self, templates: Sequence[str] = (), *, most: int = 500) -> None:
        named = [template for template in map(_Template, templates) if template.names_one_path]
        self._templates = sorted(named, key=lambda template: template.places)
        self._most = most
        self._learned: set[str] = set()
        self._cache: dict[tuple[str, str], str] = {}

    def of(self, method: str, path: str) -> str:
        """The endpoint of a request; *path* as it came, without the query."""
        known = self._cache.get((method, path))
        return known if known is not None else self._find(method, path)

    def _find(self, method: str, path: str) -> str:
        name = self._name(method if method in METHODS else OTHER_METHOD, path or "/")
        if len(path) <= LONGEST_CACHED:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[method, path] = name
        return name

    def _name(self, method: str, path: str) -> str:
        segments = path.split("/")
        for template in self._templates:
            if template.matches(method, segments):
                return f"{method} {template.path}"
        name = f"{method} {'/'.join(map(_learn, segments))}"
        if name in self._learned:
            return name
        if len(self._learned) >= self._most or len(name) > LONGEST_TEMPLATE:
            return f"{method} {OTHER_PATH}"
        self._learned.add(name)
        return name


def _learn(segment: str) -> str:
    found = identify_segment(segment)
    return f"{{{found}}}" if found else segment
