"""How requests are told apart: templates of endpoints, written here or in an OpenAPI file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.comparators import read_template
from understudy.config.openapi import read_openapi
from understudy.config.place import Place, Refused, shown
from understudy.config.setting import FILE, Kind, setting

MOST_TEMPLATES = 10_000
"""Each is some 700 bytes in each worker, and a worker that gets so many anew does nothing else for 0.1 s."""

METHOD_HINT = 'such as "GET /orders/{id}" or "* /health"'


def _read_templates(value: object, place: Place) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for at, entry in place.items(value):
        try:
            text = read_endpoint(entry)
        except Refused as refused:
            at.refuse(refused.message, refused.hint)
            continue
        if text in found:
            at.refuse(f"{shown(entry)} stands here twice")
        found[text] = None
    if len(found) > MOST_TEMPLATES:
        place.refuse(f"are more than {MOST_TEMPLATES:,} templates", "name those that matter; ids are learned")
    return tuple(found)


def read_endpoint(value: object) -> str:
    """One template, ``METHOD /path``. Raises: Refused."""
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"must be the template of an endpoint, not {shown(value)}", METHOD_HINT)
    try:
        template = read_template(value)
    except ValueError as error:
        raise Refused(str(error), METHOD_HINT) from None
    if not template.path.startswith("/"):
        raise Refused(f"{shown(value)} has no path", METHOD_HINT)
    if not template.is_one:
        raise Refused("a * stands for many paths, so it names no endpoint", "write {name} for one segment")
    if template.method != template.method.upper():
        raise Refused(f"{shown(template.method)} is no method", f"did you mean {template.method.upper()}?")
    return f"{template.method} {template.text}"


_TEMPLATES = Kind(
    read=_read_templates,
    schema={
        "type": "array",
        "items": {"type": "string", "pattern": r"^(([A-Z][A-Z0-9_-]*|\*) +)?/[^ #]*$"},
        "maxItems": MOST_TEMPLATES,
    },
    from_text=lambda text: [part.strip() for part in text.split(",") if part.strip()],
    written=list,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Which requests are compared and counted together. What no template fits is learned from traffic."""

    openapi: str = setting(
        FILE,
        default="",
        what="OpenAPI file (2.0 or 3.x), beside this one unless absolute, whose paths are templates.",
        why="none; ids, hashes and dates in paths are found, and so are too many names at one place.",
    )
    templates: tuple[str, ...] = setting(
        _TEMPLATES,
        factory=tuple,
        what="Templates of endpoints: GET /users/{name}, GET /rpc?method=find. Those of rules count too.",
        why="none.",
    )


def with_openapi(endpoints: EndpointSettings, base: Path, place: Place) -> EndpointSettings:
    """*endpoints* with the templates of its OpenAPI file, read here and now, beside its own.

    The file is not named any more: a process that is started later shall not read another state of it.
    """
    if not endpoints.openapi:
        return endpoints
    at = place.key("openapi")
    try:
        found = read_openapi((base / endpoints.openapi).absolute())
    except Refused as refused:
        at.refuse(refused.message, refused.hint)
        return endpoints
    whole = tuple(dict.fromkeys((*endpoints.templates, *found)))
    if len(whole) > MOST_TEMPLATES:
        at.refuse(f"describes {len(found):,} endpoints, more than {MOST_TEMPLATES:,}", "leave paths out")
    return replace(endpoints, openapi="", templates=whole)


def in_document(document: Mapping[str, object], endpoints: EndpointSettings) -> dict[str, object]:
    """*document* as it says *endpoints* without any file."""
    if "endpoints" not in document:
        return dict(document)
    return {**document, "endpoints": {"templates": list(endpoints.templates)}}
