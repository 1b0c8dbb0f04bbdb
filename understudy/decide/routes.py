"""Which route a request takes: the first in document order that matches.

Paths are matched as they came, undecoded and byte for byte: ``/a%2Fb`` is one segment, ``/%61pi`` is not
``/api``, and ``/api/../x`` lies below ``/api``. A route chooses who answers; it guards nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from understudy.decide.context import check_unit
from understudy.decide.logic import closest
from understudy.errors import Problem
from understudy.messages import Head

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""The usual ones; any other token is a method too."""

_TOKEN = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]+")
_HOST = re.compile(r"(\*\.)?([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])\.?(:\d{1,5})?")
_SEGMENT = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")

_MOST_HOSTS = 1024
"""How many Host values are remembered; clients choose them, so the memory starts anew when full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One entry of ``routes:``. One of ``path``, ``exact``, ``template``; one of ``flag``, ``serve``.

    ``path`` is a prefix on segment borders: ``/api`` matches ``/api`` and ``/api/x``, not ``/apix``; ``/``
    matches all. ``template``: each ``{name}`` is one non-empty segment. ``host`` is lower case, matches
    any port unless it names one; ``*.example.com`` matches every subdomain. ``methods`` empty: all.
    """

    path: str = "/"
    exact: str | None = None
    template: str | None = None
    host: str | None = None
    methods: tuple[str, ...] = ()
    flag: str | None = None
    serve: str | None = None
    unit: str | None = None
    mirror_methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    name: str = ""

    @property
    def label(self) -> str:
        """How metrics and reports call this route."""
        return self.name or self.exact or self.template or self.path

    @property
    def takes_all(self) -> bool:
        """Whether every request matches."""
        return self.host is None and not self.methods and path_matcher(self) is None


def check_route(route: Route, path: str = "") -> list[Problem]:
    """Every mistake in one route, with paths below *path* (``routes[0]``)."""
    prefix = f"{path}." if path else ""
    problems = [
        *_check_path(route, prefix),
        *_check_methods(route, prefix),
    ]
    if route.unit is not None:
        problems += check_unit(route.unit, f"{prefix}unit")
    if (route.flag is None) == (route.serve is None):
        message = "a route has either a flag or serve"
        problems.append(Problem(path=f"{prefix}flag", message=message, hint="flag: KEY, or serve: SERVICE"))
    if route.host is not None and not _HOST.fullmatch(route.host):
        hint = "lower case, like example.com, *.example.com or localhost:8080"
        problems.append(Problem(path=f"{prefix}host", message=f"{route.host!r} is not a host", hint=hint))
    return problems


def _check_path(route: Route, prefix: str) -> list[Problem]:
    given = [("exact", route.exact), ("template", route.template)]
    named = [(key, value) for key, value in given if value is not None]
    if len(named) + (route.path != "/") > 1:
        message = "a route has one of path, exact and template"
        return [Problem(path=f"{prefix}{named[0][0]}", message=message)]
    key, value = named[0] if named else ("path", route.path)
    if not value.startswith("/"):
        return [Problem(path=f"{prefix}{key}", message=f"{value!r} does not start with /", hint=f"/{value}")]
    if "?" in value or "#" in value:
        return [Problem(path=f"{prefix}{key}", message="a path has no query and no fragment")]
    if key == "template":
        for segment in value.split("/"):
            if ("{" in segment or "}" in segment) and not _SEGMENT.fullmatch(segment):
                message = f"{segment!r}: a {{name}} stands for one whole segment"
                return [Problem(path=f"{prefix}template", message=message)]
    elif "{" in value:
        return [Problem(path=f"{prefix}{key}", message="{…} is for templates", hint=f"template: {value}")]
    return []


def _check_methods(route: Route, prefix: str) -> list[Problem]:
    problems = []
    for key, methods in (("methods", route.methods), ("mirror_methods", route.mirror_methods)):
        for index, method in enumerate(methods):
            if not _TOKEN.fullmatch(method):
                hint = method.upper() if _TOKEN.fullmatch(method.upper()) else closest(method, METHODS)
                message = f"{method!r} is not a method"
                problems.append(Problem(path=f"{prefix}{key}[{index}]", message=message, hint=hint))
    return problems


def path_matcher(route: Route) -> Callable[[str], bool] | None:
    """Whether a path is *route*'s; None when every path is."""
    if route.exact is not None:
        exact = route.exact
        return lambda path: path == exact
    if route.template is not None:
        parts = ["[^/]+" if part[:1] == "{" else re.escape(part) for part in route.template.split("/")]
        fits = re.compile("/".join(parts), re.DOTALL).fullmatch
        return lambda path: fits(path) is not None
    if route.path == "/":
        return None
    prefix = route.path
    if prefix.endswith("/"):
        return lambda path: path.startswith(prefix)
    below = prefix + "/"
    return lambda path: path == prefix or path.startswith(below)


def host_matches(pattern: str | None, host: str) -> bool:
    """Whether *host* (lower case, perhaps with a port) is what a route's ``host`` names."""
    if pattern is None:
        return True
    name, port = _split(pattern)
    asked, asked_port = _split(host)
    if port and port != asked_port:
        return False
    name, asked = name.removesuffix("."), asked.removesuffix(".")
    if name.startswith("*."):
        return asked.endswith(name[1:]) and len(asked) > len(name) - 1
    return name == asked


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host.removesuffix(":"), "")


T = TypeVar("T")


def matcher(routes: Sequence[Route], targets: Sequence[T]) -> Callable[[Head], T | None]:
    """What finds the target of the first route that a request matches; None when none does."""
    entries = [
        (route.host, frozenset(route.methods) or None, path_matcher(route), target)
        for route, target in zip(routes, targets, strict=True)
    ]
    if routes and routes[0].takes_all:
        only = targets[0]
        return lambda _: only
    if all(route.host is None for route in routes):
        everywhere = [entry[1:] for entry in entries]
        return lambda head: _first(everywhere, head)
    known: dict[str, list[tuple[frozenset[str] | None, Callable[[str], bool] | None, T]]] = {}

    def match(head: Head) -> T | None:
        candidates = known.get(head.host)
        if candidates is None:
            if len(known) >= _MOST_HOSTS:
                known.clear()
            candidates = [entry[1:] for entry in entries if host_matches(entry[0], head.host)]
            known[head.host] = candidates
        return _first(candidates, head)

    return match


def _first(
    candidates: Sequence[tuple[frozenset[str] | None, Callable[[str], bool] | None, T]], head: Head
) -> T | None:
    for methods, fits, target in candidates:
        if (methods is None or head.method in methods) and (fits is None or fits(head.path)):
            return target
    return None
