"""Who names whom in a rules document: routes, prerequisites, segments and layers. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """``name`` stands at ``path``: as a flag that is asked, as a shared rule, or as an entry of a
    ``fractional``, which in a layer is a flag's name."""

    kind: Literal["flag", "segment", "entry"]
    name: str
    path: str


def part(document: Document, name: str) -> Mapping[str, Any]:
    """The section *name* of *document*, empty when it is not there or no mapping."""
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def routes_of(document: Document) -> list[Any]:
    """The routes of *document*, empty when it has no list of them."""
    found = document.get("routes")
    return found if isinstance(found, list) else []


def references(rule: Any, path: str) -> Iterator[Reference]:
    """Every name in *rule*, which stands at *path*, in no order."""
    todo: list[tuple[Any, str]] = [(rule, path)]
    while todo:
        node, at = todo.pop()
        if isinstance(node, list):
            # Long lists are members of a segment: texts name nothing.
            todo += [(item, f"{at}[{i}]") for i, item in enumerate(node) if isinstance(item, list | Mapping)]
        elif isinstance(node, Mapping):
            for key, value in node.items():
                yield from _named(key, value, f"{at}.{key}")
                if isinstance(value, list | Mapping):
                    todo.append((value, f"{at}.{key}"))


def _named(key: str, value: Any, path: str) -> Iterator[Reference]:
    if key in ("flag", "$ref"):
        name = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(name, str):
            yield Reference(kind="flag" if key == "flag" else "segment", name=name, path=path)
    elif key == "fractional" and isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, list) and entry and isinstance(entry[0], str):
                yield Reference(kind="entry", name=entry[0], path=f"{path}[{index}]")


def rules_of(document: Document) -> Iterator[tuple[str, Any, str]]:
    """Every rule: what owns it (``flags`` or ``$evaluators``, with the name), the rule, and its path."""
    for key, flag in part(document, "flags").items():
        if isinstance(flag, Mapping) and flag.get("targeting"):
            yield f"flags {key}", flag["targeting"], f"flags.{key}.targeting"
    for name, rule in part(document, "$evaluators").items():
        yield f"$evaluators {name}", rule, f"$evaluators.{name}"


def namers(
    before: Document, after: Document, *, flags: Collection[str], segments: Collection[str]
) -> list[str]:
    """The places of *after* that still name *flags* or *segments* of *before*, which are gone there."""
    found = [
        f"routes[{index}].flag"
        for index, route in enumerate(routes_of(after))
        if isinstance(route, Mapping) and route.get("flag") in flags
    ]
    layers = {
        (other.name, key)
        for key in flags
        for other in references(_targeting(before, key), "")
        if other.kind == "segment"
    }
    for owner, rule, path in rules_of(after):
        section, _, name = owner.partition(" ")
        for other in references(rule, path):
            is_layer = section == "$evaluators" and other.kind == "entry" and (name, other.name) in layers
            is_asked = other.kind == "flag" and other.name in flags
            if is_layer or is_asked or (other.kind == "segment" and other.name in segments):
                found.append(other.path)
    return found


def _targeting(document: Document, key: str) -> Any:
    flag = part(document, "flags").get(key)
    return flag.get("targeting") if isinstance(flag, Mapping) else None


def touched(document: Document, *, flags: Iterable[str], segments: Iterable[str]) -> set[str]:
    """The flags of *document*, which is plain, whose answers may depend on *flags* or *segments*: themselves,
    and whoever asks them, through any number of others."""
    askers: dict[str, set[str]] = {}
    for owner, rule, path in rules_of(document):
        text = orjson.dumps(rule)
        if b'"flag":' not in text and b'"$ref":' not in text:
            continue  # a tenth of the time that walking takes
        for other in references(rule, path):
            if other.kind != "entry":
                section = "flags" if other.kind == "flag" else "$evaluators"
                askers.setdefault(f"{section} {other.name}", set()).add(owner)
    todo = [*(f"flags {key}" for key in flags), *(f"$evaluators {name}" for name in segments)]
    seen = set(todo)
    while todo:
        more = askers.get(todo.pop(), set()) - seen
        seen |= more
        todo += more
    return {name.removeprefix("flags ") for name in seen if name.startswith("flags ")}


def needed(document: Document, key: str) -> set[str]:
    """Flag *key*, and every flag that its rule asks, through any number of others."""
    flags, evaluators = part(document, "flags"), part(document, "$evaluators")
    todo, seen = [f"flags {key}"], {f"flags {key}"}
    while todo:
        section, _, name = todo.pop().partition(" ")
        rule = _targeting(document, name) if section == "flags" else evaluators.get(name)
        for other in references(rule, ""):
            owner = f"{'flags' if other.kind == 'flag' else '$evaluators'} {other.name}"
            if other.kind != "entry" and owner not in seen:
                seen.add(owner)
                todo.append(owner)
    return {name for owner in seen if owner.startswith("flags ") and (name := owner[6:]) in flags}
