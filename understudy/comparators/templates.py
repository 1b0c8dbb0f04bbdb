"""Endpoint templates as people and OpenAPI files write them: which requests each means, which fits best."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

Parameters = tuple[tuple[str, str | None], ...]
"""Names and values of a query; None is any value."""

ANY: Final = "*"
LONGEST_QUERY: Final = 8192
MOST_PARAMETERS: Final = 200
PLACEHOLDER: Final = re.compile(r"\{[^{}/]*\}")
SEGMENT_SAFE: Final = "!$&'()*+,;=:@~{}"
"""What a path segment holds unescaped (RFC 3986 3.3), and the braces of placeholders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """``METHOD /path/{name}?parameter=value`` in parts; ``method`` may be ``*``."""

    method: str
    path: str
    query: Parameters = ()
    text: str
    """Path and query as written: what the endpoint is called, after its method."""

    @property
    def is_one(self) -> bool:
        """Whether it names one path, not a pattern for many."""
        return self.path.startswith("/") and ANY not in self.path.split("/")

    @property
    def places(self) -> int:
        """How many segments of the path stand for any text."""
        return sum("{" in part for part in self.path.split("/"))


def read_template(text: str) -> Template:
    """*text* in parts. Raises ValueError with what is wrong."""
    method, _, rest = text.strip().partition(" ")
    if not rest:
        method, rest = ANY, method
    rest = rest.strip()
    path, mark, query = rest.partition("?")
    if " " in rest:
        raise ValueError("a path has no space; in a query it is written + or %20")
    if "#" in rest:
        raise ValueError("a path has no #: clients do not send what follows it")
    if mark and not query:
        raise ValueError("nothing follows the ?")
    return Template(method=method, path=path, query=_parameters(query), text=rest)


def _parameters(query: str) -> Parameters:
    """A query of a template; ``name={any}`` and ``name`` alone take any value."""
    pairs: list[tuple[str, str | None]] = []
    for part in query.split("&") if query else ():
        name, mark, value = part.partition("=")
        if not name:
            raise ValueError("a parameter of the query needs a name: ?name=value")
        is_any = not mark or PLACEHOLDER.fullmatch(value) is not None
        pairs.append((unquote_plus(name), None if is_any else unquote_plus(value)))
    return tuple(pairs)


def given_parameters(query: str) -> frozenset[tuple[str, str | None]]:
    """What a *query*, as it came, has: each name with each of its values, and with None; nothing when
    there are too many."""
    try:
        given = parse_qsl(query[:LONGEST_QUERY], keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        return frozenset()
    return frozenset((name, value) for name, text in given for value in (text, None))


class _Node:
    """The templates that share a beginning."""

    __slots__ = ("ends", "literals", "named", "partial")

    def __init__(self) -> None:
        self.ends: list[tuple[int, Template]] = []
        self.literals: dict[str, _Node] = {}
        self.partial: list[tuple[str, re.Pattern[str], _Node]] = []
        self.named: _Node | None = None


class Templates:
    """Many templates, found by path in time that does not grow with their number.

    *texts* that name no one path (``"*"``, ``"GET /x/*"``) or cannot be read are passed over; of two that
    differ only in the names of their placeholders the first stands.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = tuple(texts)
        self._root = _Node()
        self._count = 0
        for text in self.texts:
            try:
                template = read_template(text)
            except ValueError:
                continue
            if template.is_one:
                self._add(template)

    def __len__(self) -> int:
        return self._count

    def _add(self, template: Template) -> None:
        node = self._root
        for part in template.path.split("/"):
            node = _below(node, part)
        if any((known.method, known.query) == (template.method, template.query) for _, known in node.ends):
            return
        node.ends.append((self._count, template))
        self._count += 1

    def fitting(self, method: str, path: str) -> Sequence[Template]:
        """All whose method and path fit, the best first; those of GET for a HEAD that has none.

        Fewer placeholders are better, then more parameters in the query, then fewer of any value.
        """
        found: list[tuple[int, Template]] = []
        _collect(self._root, path.split("/"), 0, found)
        if not found:
            return ()
        fit = [item for item in found if item[1].method in (ANY, method)]
        if not fit and method == "HEAD":
            fit = [item for item in found if item[1].method == "GET"]
        if len(fit) > 1:
            fit.sort(key=_rank)
        return [template for _, template in fit]

    def name(self, method: str, path: str) -> str:
        """The endpoint of *path* where no query is known; empty when no template without one fits."""
        for template in self.fitting(method, path):
            if not template.query:
                return f"{method} {template.text}"
        return ""


def _rank(item: tuple[int, Template]) -> tuple[int, int, int, int]:
    order, template = item
    loose = sum(value is None for _, value in template.query)
    return template.places, -len(template.query), loose, order


def _below(node: _Node, part: str) -> _Node:
    child = node.literals.get(part)
    if child is not None:
        return child
    if "{" not in part:
        return node.literals.setdefault(_literal(part), _Node())
    if PLACEHOLDER.fullmatch(part):
        node.named = node.named or _Node()
        return node.named
    if PLACEHOLDER.search(part):
        shape = PLACEHOLDER.sub("{}", part)
        for known, _, child in node.partial:
            if known == shape:
                return child
        child = _Node()
        node.partial.append((shape, _expression(shape.split("{}")), child))
        return child
    return node.literals.setdefault(_literal(part), _Node())


def _expression(pieces: Sequence[str]) -> re.Pattern[str]:
    """Any text, one character at least, between each two *pieces*.

    Each piece is taken where it stands first, and never looked for again: as with wildcards of file names
    that is enough, and a client's path of dashes against ``{year}-{month}-{day}`` takes linear time.
    """
    first, *middle, last = map(re.escape, pieces)
    return re.compile(first + "".join(f"(?>.+?{piece})" for piece in middle) + ".+?" + last, re.DOTALL)


def _literal(part: str) -> str:
    """*part* as clients send it, however it is escaped."""
    if part.isalnum() and part.isascii():
        return part
    return quote(unquote(part), safe=SEGMENT_SAFE)


def _collect(node: _Node, segments: Sequence[str], at: int, found: list[tuple[int, Template]]) -> None:
    if at == len(segments):
        found.extend(node.ends)
        return
    text = segments[at]
    child = node.literals.get(text)
    if child is None and "%" in text:
        child = node.literals.get(_literal(text))
    if child is not None:
        _collect(child, segments, at + 1, found)
    for _, expression, inner in node.partial:
        if expression.fullmatch(text):
            _collect(inner, segments, at + 1, found)
    if node.named is not None and text:
        _collect(node.named, segments, at + 1, found)


def is_meant(pattern: str, endpoint: str) -> bool:
    """Whether an endpoint pattern of a rule means *endpoint* (``"METHOD /template"``).

    ``{name}`` and ``*`` stand for one segment, whatever its text; a ``*`` at the end for one or more. A
    pattern without a query means every query; one with it only endpoints that name these parameters.
    """
    if pattern == ANY:
        return True
    method, _, path = pattern.partition(" ")
    given_method, _, given_path = endpoint.partition(" ")
    if not path:
        method, path = ANY, method
    if method not in (ANY, given_method):
        return False
    path, _, query = path.partition("?")
    given_path, _, given_query = given_path.partition("?")
    if path != ANY and not _segments_fit(path.split("/"), given_path.split("/")):
        return False
    return not query or _is_named(query, given_query)


def _is_named(query: str, given: str) -> bool:
    try:
        known = dict(_parameters(given))
        return all(
            name in known and (value is None or known[name] == value) for name, value in _parameters(query)
        )
    except ValueError:
        return False


def _segments_fit(pattern: list[str], given: list[str]) -> bool:
    is_open = pattern[-1] == ANY
    if len(given) < len(pattern) if is_open else len(given) != len(pattern):
        return False
    return all(
        part == text or (bool(text) and (part == ANY or (part[:1] == "{" and part[-1:] == "}")))
        for part, text in zip(pattern, given, strict=False)
    )
