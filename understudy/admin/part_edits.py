"""What can be done to the segments and the routes of a rules document. Pure."""

from collections.abc import Mapping
from typing import Any

from understudy.admin.edits import SEGMENTS, Edit, existing, merged, with_part, without_part
from understudy.admin.references import Document, routes_of
from understudy.admin.refusal import Refusal


def put_segment(name: str, rule: Any) -> Edit:
    """Create segment *name*, or replace its rule."""
    return Edit(
        action="segment.put",
        target=name,
        words=f"put segment {name}",
        apply=lambda document: with_part(document, SEGMENTS, name, rule),
        part=(SEGMENTS, name),
        replaces=True,
    )


def patch_segment(name: str, patch: Any) -> Edit:
    """Change what *patch* (RFC 7396) names of the rule of segment *name*."""

    def apply(document: Document) -> Document:
        return with_part(document, SEGMENTS, name, merged(existing(document, SEGMENTS, name), patch))

    return Edit(
        action="segment.patch",
        target=name,
        words=f"patch segment {name}",
        apply=apply,
        part=(SEGMENTS, name),
    )


def delete_segment(name: str) -> Edit:
    """Take segment *name* out."""

    def apply(document: Document) -> Document:
        existing(document, SEGMENTS, name)
        return without_part(document, SEGMENTS, name)

    return Edit(
        action="segment.delete",
        target=name,
        words=f"delete segment {name}",
        apply=apply,
        part=(SEGMENTS, name),
        gone=frozenset({(SEGMENTS, name)}),
    )


def put_routes(routes: Any) -> Edit:
    """Replace all routes."""

    def apply(document: Document) -> Document:
        return {**document, "routes": routes}

    return Edit(action="routes.put", target="", words="put routes", apply=apply, replaces=True)


def add_route(route: Any, before: Any = None) -> Edit:
    """Put *route* before the route at *before*, a place as in ``find_route``; after all when that is None."""

    def apply(document: Document) -> Document:
        routes = routes_of(document)
        at = len(routes) if before is None else find_route(document, str(before))
        return {**document, "routes": [*routes[:at], route, *routes[at:]]}

    return Edit(action="route.add", target=_label(route), words=f"add route {_label(route)}", apply=apply)


def put_route(place: str, route: Any) -> Edit:
    """Replace the route at *place*."""
    return _at(place, "put", lambda _: [route])


def patch_route(place: str, patch: Any) -> Edit:
    """Change what *patch* (RFC 7396) names of the route at *place*."""
    return _at(place, "patch", lambda route: [merged(route, patch)])


def delete_route(place: str) -> Edit:
    """Take the route at *place* out."""
    return _at(place, "delete", lambda _: [])


def find_route(document: Document, place: str) -> int:
    """The position of the route at *place*: its position from 0 in digits, else its ``name``.

    Raises: Refusal 404.
    """
    routes = routes_of(document)
    if is_position(place):
        if int(place) < len(routes):
            return int(place)
    else:
        for at, route in enumerate(routes):
            if isinstance(route, Mapping) and route.get("name") == place:
                return at
    known = [str(at) for at in range(len(routes))]
    names = [str(route["name"]) for route in routes if isinstance(route, Mapping) and "name" in route]
    detail = f"there is no route {place[:100]!r}: a position from 0, or a route's name"
    raise Refusal(404, detail, known=[*known[:20], *names[:20]])


def is_position(place: str) -> bool:
    """Whether *place* counts routes, so that it means another one once one before it comes or goes."""
    return place.isascii() and place.isdigit() and len(place) <= 6


def _at(place: str, verb: str, change: Any) -> Edit:
    def apply(document: Document) -> Document:
        routes, at = routes_of(document), find_route(document, place)
        return {**document, "routes": [*routes[:at], *change(routes[at]), *routes[at + 1 :]]}

    return Edit(
        action=f"route.{verb}",
        target=place,
        words=f"{verb} route {place}",
        apply=apply,
        replaces=verb == "put" or is_position(place),
    )


def _label(route: Any) -> str:
    """What people know the route by."""
    given = route if isinstance(route, Mapping) else {}
    return str(next((given[key] for key in ("name", "exact", "template", "path") if key in given), ""))[:200]
