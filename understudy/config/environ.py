"""Environment variables that override scalar settings: ``UNDERSTUDY_SHADOW__TIMEOUT`` is ``shadow.timeout``.

The names are derived from the settings. An unknown one is a mistake, because a misspelled
override that is silently ignored is worse than a start that fails.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from understudy.config.place import Place, suggestion
from understudy.config.setting import Kind, settings_of

PREFIX = "UNDERSTUDY_"

RESERVED = frozenset(
    {
        "UNDERSTUDY_ADMIN",
        "UNDERSTUDY_ADMIN_TOKEN",
        "UNDERSTUDY_CONFIG",
        "UNDERSTUDY_HANDOVER",
        "UNDERSTUDY_TOKEN",
    }
)
"""Read by the command line, or kept for it; the last is said by one image of the supervisor to the next."""

# Kubernetes puts these into every container when a Service is named understudy or understudy-anything.
_KUBERNETES = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)\Z"
)
_KUBERNETES_PORT = re.compile(r"[a-z]+://.+:[0-9]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One variable that may be set: where its value goes in the document."""

    variable: str
    keys: tuple[str, ...]
    kind: Kind


def overrides(section: type, document: object, *, keys: tuple[str, ...] = ()) -> Iterator[Override]:
    """Every variable for *section*, and for each named entry (service) that *document* has."""
    for key, kind, _ in settings_of(section):
        path = (*keys, key)
        inner = _child(document, key)
        if kind.from_text is not None:
            yield Override(variable=variable(path), keys=path, kind=kind)
        elif kind.section is not None and kind.is_named:
            for name in inner if isinstance(inner, Mapping) else ():
                yield from overrides(kind.section, _child(inner, name), keys=(*path, name))
        elif kind.section is not None:
            yield from overrides(kind.section, inner, keys=path)


def variable(keys: tuple[str, ...]) -> str:
    """The variable of the setting at *keys*: ``UNDERSTUDY_SERVICES__SHOP_V1__URL``."""
    return PREFIX + "__".join(re.sub(r"[^A-Z0-9_]", "_", key.upper()) for key in keys)


def override(
    section: type, document: Mapping[str, object], environ: Mapping[str, str], place: Place
) -> tuple[dict[str, object], dict[str, str]]:
    """*document* with the variables of *environ* laid over it, and which variable set which path."""
    known: dict[str, list[Override]] = {}
    for entry in overrides(section, document):
        known.setdefault(entry.variable, []).append(entry)
    changed: dict[str, object] = dict(document)
    origins: dict[str, str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in RESERVED or _is_from_kubernetes(name, environ[name]):
            continue
        at = Place(name, place.problems)
        if name not in known:
            at.refuse("unknown environment variable", suggestion(name, known))
        elif len(known[name]) > 1:
            paths = " and ".join(".".join(entry.keys) for entry in known[name])
            at.refuse(f"could mean {paths}", "set it in the file")
        else:
            entry = known[name][0]
            changed = _with(changed, entry.keys, _value(entry, environ[name]))
            origins[".".join(entry.keys)] = name
    return changed, origins


def _value(entry: Override, text: str) -> object:
    return entry.kind.from_text(text) if entry.kind.from_text else text


def _is_from_kubernetes(name: str, value: str) -> bool:
    return bool(_KUBERNETES.search(name)) or (name.endswith("_PORT") and bool(_KUBERNETES_PORT.match(value)))


def _child(document: object, key: str) -> object:
    return document.get(key) if isinstance(document, Mapping) else None


def _with(document: object, keys: tuple[str, ...], value: object) -> dict[str, object]:
    """A copy of *document* with *value* at *keys*; what is in the way and no mapping is replaced."""
    changed: dict[str, object] = dict(document) if isinstance(document, Mapping) else {}
    first, *rest = keys
    changed[first] = _with(changed.get(first), tuple(rest), value) if rest else value
    return changed
