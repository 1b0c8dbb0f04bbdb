"""The ``flags:`` of a rules document: flagd definitions, and what a routing flag says beyond them."""

from collections.abc import Collection, Mapping

from understudy.config.app import read_service
from understudy.config.names import check_name
from understudy.config.place import Place, Refused, shown, suggestion
from understudy.decide import Document, check_flag

VARIANT_KEYS = ("serve", "mirror", "control")


def read_flags(
    value: object,
    place: Place,
    *,
    document: Document,
    routing: Collection[str],
    services: Collection[str],
    checked: Collection[str] = (),
) -> None:
    """Problems at *place* for every flag; *routing* names those that a route consults.

    The definitions of those in *checked* were found right before, and are not read again.
    """
    for key, flag in place.mapping(value).items():
        if place.is_full:
            break
        at = place.key(key)
        check_name(key, at, "flag key")
        if not isinstance(flag, Mapping):
            at.mapping(flag)
            continue
        for problem in () if key in checked else check_flag(key, flag, document):
            _within(at, problem.path).refuse(problem.message, problem.hint)
        _check_variants(
            flag.get("variants"), at.key("variants"), is_routing=key in routing, services=services
        )
        if key in routing and not isinstance(flag.get("defaultVariant"), str):
            variants = flag.get("variants")
            names = list(variants) if isinstance(variants, Mapping) else []
            _missing_default(flag, at.key("defaultVariant"), names)


def _missing_default(flag: Mapping[str, object], place: Place, variants: Collection[str]) -> None:
    if any(problem.path == place.path for problem in place.problems):
        return
    what = "is missing" if "defaultVariant" not in flag else "must be the name of a variant"
    place.refuse(f"{what}: a route needs it whenever no rule decides", suggestion("", variants))


def _within(place: Place, path: str) -> Place:
    """The place at the dotted *path* below *place*."""
    if not path:
        return place
    return Place(place.path + (path if path.startswith("[") else f".{path}"), place.problems)


def _check_variants(value: object, place: Place, *, is_routing: bool, services: Collection[str]) -> None:
    if not isinstance(value, Mapping):
        return
    for name, variant in value.items():
        check_name(name, place.key(name), "variant")
        if is_routing:
            _check_variant(variant, place.key(name), services)


def _check_variant(value: object, place: Place, services: Collection[str]) -> None:
    """A routing variant: ``{serve: SERVICE, mirror: [SERVICE…], control: SERVICE}``."""
    if not isinstance(value, Mapping):
        hint = (
            f"did you mean {{serve: {value}}}?"
            if isinstance(value, str) and value in services
            else "{serve: SERVICE}"
        )
        place.refuse(
            f"must be a mapping with serve, because a route consults this flag, not {shown(value)}", hint
        )
        return
    place.known_keys(value, VARIANT_KEYS)
    if "serve" not in value:
        place.key("serve").refuse("is missing", suggestion("", services))
    for key in ("serve", "control"):
        if key in value:
            _known_service(value[key], place.key(key), services)
    if "mirror" in value:
        _check_mirror(value["mirror"], place.key("mirror"), services)


def _check_mirror(value: object, place: Place, services: Collection[str]) -> None:
    if isinstance(value, str):
        place.refuse(f"must be a list, not {shown(value)}", f"did you mean [{value}]?")
        return
    seen: list[object] = []
    for at, entry in place.items(value):
        _known_service(entry, at, services)
        if entry in seen:
            at.refuse(f"{shown(entry)} stands here twice")
        seen.append(entry)


def _known_service(value: object, place: Place, services: Collection[str]) -> None:
    try:
        read_service(value, services)
    except Refused as refused:
        place.refuse(refused.message, refused.hint)
