"""The ``routes:`` of a rules document: which requests consult which flag, and where the unit is found."""

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from understudy.config.app import read_service
from understudy.config.names import read_field_name
from understudy.config.place import Place, Refused, shown, suggestion
from understudy.decide import Route

ROUTE_KEYS = (
    "path",
    "exact",
    "template",
    "host",
    "methods",
    "flag",
    "serve",
    "unit",
    "mirror_methods",
    "name",
)
UNIT_PATTERN = r"^(ip|(header|cookie|query):.+)$"
UNIT_FORMS = "header:NAME, cookie:NAME, query:NAME or ip"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

_PATH = re.compile(r"/[!-~]{0,2047}\Z")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}\Z")
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_-]{0,63}\}\Z")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,62})"
_HOST = re.compile(rf"(\*\.)?({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?\Z")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
_QUERY_NAME = re.compile(r"[^\x00-\x20&=#]{1,256}\Z")
_ROUTE_NAME = re.compile(r"[!-~]([ -~]{0,126}[!-~])?\Z")


def read_routes(
    value: object, place: Place, *, flags: Collection[str], services: Collection[str]
) -> tuple[Route, ...]:
    """Every entry that could be read, in its order; problems at *place* for the rest."""
    routes: list[Route] = []
    first: dict[tuple[object, ...], str] = {}
    for at, entry in place.items(value):
        if place.is_full:
            break
        route = _read_route(entry, at, flags=flags, services=services)
        if route is None:
            continue
        match = (route.path, route.exact, route.template, route.host, frozenset(route.methods))
        if match in first:
            at.refuse(f"matches the same requests as {first[match]}, so it is never reached")
        first.setdefault(match, at.path)
        routes.append(route)
    return tuple(routes)


def _read_route(
    value: object, place: Place, *, flags: Collection[str], services: Collection[str]
) -> Route | None:
    given = place.mapping(value)
    if not isinstance(value, Mapping):
        return None
    place.known_keys(given, ROUTE_KEYS)
    readers: Mapping[str, Callable[[object, Place], Any]] = {
        "path": lambda v, _: _read_plain_path(v),
        "exact": lambda v, _: _read_plain_path(v),
        "template": lambda v, _: read_template(v),
        "host": lambda v, _: read_host(v),
        "methods": read_methods,
        "flag": lambda v, _: read_known(v, flags, "flag"),
        "serve": lambda v, _: read_service(v, services),
        "unit": lambda v, _: read_unit(v),
        "mirror_methods": read_methods,
        "name": lambda v, _: _read_name(v),
    }
    before = len(place.problems)
    values: dict[str, Any] = {}
    for key in (key for key in ROUTE_KEYS if key in given):
        try:
            values[key] = readers[key](given[key], place.key(key))
        except Refused as refused:
            place.key(key).refuse(refused.message, refused.hint)
    _check_combination(given, place)
    return Route(**values) if len(place.problems) == before else None


def _check_combination(given: Mapping[str, object], place: Place) -> None:
    ways = [key for key in ("path", "exact", "template") if key in given]
    if len(ways) > 1:
        place.refuse(f"has {' and '.join(ways)}", "one of path, exact and template says which paths match")
    if "flag" in given and "serve" in given:
        place.refuse("has flag and serve", "the variants of a flag say which service answers")
    if "flag" not in given and "serve" not in given:
        place.refuse("has neither flag nor serve", "name the flag to consult, or the service that answers")
    if "flag" not in given:
        for key in ("unit", "mirror_methods"):
            if key in given:
                place.key(key).refuse("means nothing without a flag")


def read_known(value: object, known: Collection[str], what: str) -> str:
    """*value* if it is one of *known*; the complaint calls it a *what*."""
    if not isinstance(value, str):
        raise Refused(f"must be the name of a {what}, not {shown(value)}", suggestion("", known))
    if value not in known:
        raise Refused(f"unknown {what} {shown(value)}", suggestion(value, known))
    return value


def read_path(value: object) -> str:
    """A path as it stands in a request line: percent-encoded, without query."""
    if not isinstance(value, str):
        raise Refused(f"must be a path, not {shown(value)}", "for example /api")
    if not value.startswith("/"):
        raise Refused(f"{shown(value)} does not start with /", f"did you mean /{value.lstrip('*')}?")
    if "?" in value or "#" in value:
        raise Refused(f"{shown(value)} has more than a path", f"did you mean {re.split('[?#]', value)[0]}?")
    if not _PATH.match(value):
        raise Refused(
            f"{shown(value)} is not a path as it stands in a request", f"did you mean {quote(value)[:200]}?"
        )
    return value


def _read_plain_path(value: object) -> str:
    path = read_path(value)
    if "*" in path:
        raise Refused(f"{shown(path)} has a *", "path: /api matches all below /api; template: /orders/{id}")
    if "{" in path or "}" in path:
        raise Refused(f"{shown(path)} has a parameter", f"did you mean template: {path}?")
    return path


def read_template(value: object) -> str:
    """``/orders/{id}``: each ``{name}`` stands for one whole segment."""
    if isinstance(value, str) and "*" in value:
        raise Refused(f"{shown(value)} has a *", "a segment that varies is written {name}")
    path = read_path(value)
    for segment in path.split("/"):
        if ("{" in segment or "}" in segment) and not _PARAMETER.match(segment):
            raise Refused(f"{shown(segment)} is not a segment", "{name} stands for one whole segment")
    return path


def read_host(value: object) -> str:
    """A host, lower case: ``example.com``, ``example.com:8080``, ``*.example.com``."""
    if not isinstance(value, str):
        raise Refused(f"must be a host, not {shown(value)}", "for example shop.example.com or *.example.com")
    lower = value.lower().removesuffix(".")
    if not _HOST.match(lower):
        meant = re.sub(r"\A[a-z]+://|/.*\Z", "", lower)
        hint = f"did you mean {meant}?" if meant != lower and _HOST.match(meant) else ""
        raise Refused(
            f"{shown(value)} is not a host", hint or "for example shop.example.com or *.example.com"
        )
    return lower


def read_methods(value: object, place: Place) -> tuple[str, ...]:
    """Methods in upper case, each once."""
    if isinstance(value, str):
        raise Refused(f"must be a list, not {shown(value)}", f"did you mean [{value.upper()}]?")
    found: list[str] = []
    for at, entry in place.items(value):
        if not isinstance(entry, str) or not _METHOD.match(entry):
            near = get_close_matches(str(entry).upper(), METHODS, n=1)
            at.refuse(
                f"{shown(entry)} is not a method", f"did you mean {near[0]}?" if near else "for example GET"
            )
        elif entry in {"CONNECT", "TRACE"}:
            at.refuse(f"{entry} is answered with 405 and reaches no route")
        elif entry in found:
            at.refuse(f"{shown(entry)} stands here twice")
        else:
            found.append(entry)
    return tuple(found)


def read_unit(value: object) -> str:
    """Where the unit is found."""
    if not isinstance(value, str):
        raise Refused(f"must be {UNIT_FORMS}, not {shown(value)}")
    kind, colon, name = value.partition(":")
    if value == "ip":
        return value
    if kind == "jwt":
        raise Refused("units from a JWT are not in this version", f"use {UNIT_FORMS}")
    if kind not in {"header", "cookie", "query"} or not colon:
        near = get_close_matches(kind.lower(), ("header", "cookie", "query", "ip"), n=1, cutoff=0.7)
        meant = near[0] if near and near[0] == "ip" else f"{near[0]}:{name or 'NAME'}" if near else ""
        raise Refused(
            f"{shown(value)} is not a unit", f"did you mean {meant}?" if meant else f"use {UNIT_FORMS}"
        )
    grammar = {"header": None, "cookie": _COOKIE_NAME, "query": _QUERY_NAME}[kind]
    if grammar is None:
        return f"header:{read_field_name(name)}"
    if not grammar.match(name):
        raise Refused(f"{shown(value)}: {shown(name)} cannot name a {kind}", f"for example {kind}:uid")
    return value


def _read_name(value: object) -> str:
    if not isinstance(value, str) or not _ROUTE_NAME.match(value):
        raise Refused(f"{shown(value)} is not a route's name", "1 to 128 visible ASCII characters")
    return value
