"""The wrapped application in a rules document: what a variant serves that names it, or nothing."""

from collections.abc import Collection, Mapping
from typing import Final

from understudy.config.place import Place, Refused, shown, suggestion

APP: Final = "app"
"""The name that stands for the application in which the middleware is mounted. A configuration that the proxy
shares may give it an origin, by which the proxy reaches the same application."""

NOWHERE: Final = "http://app"
"""Where it is told to be, for commands in a report, by a configuration that gives it no origin."""


def read_service(value: object, services: Collection[str]) -> str:
    """*value* if it is one of *services*. Raises `Refused`, and says why the proxy knows no ``app``."""
    if not isinstance(value, str):
        raise Refused(f"must be the name of a service, not {shown(value)}", suggestion("", services))
    if value in services:
        return value
    if value == APP:
        raise Refused(
            "app is the application that the middleware is mounted in, and the proxy is mounted in none",
            "name a service, or say under services.app where the application answers",
        )
    raise Refused(f"unknown service {shown(value)}", suggestion(value, services))


def with_app(document: Mapping[str, object]) -> dict[str, object]:
    """The configuration *document*, in which the application is a service."""
    services = document.get("services", {})
    if isinstance(services, Mapping):
        return {**document, "services": {APP: {"url": NOWHERE}, **services}}
    return dict(document)


def with_rules(document: Mapping[str, object]) -> dict[str, object]:
    """*document* in which the application is served by every routing variant that serves nothing.

    What is not shaped like a rules document is left for whoever reads it to refuse.
    """
    flags, routes = document.get("flags"), document.get("routes")
    entries = routes if isinstance(routes, list) else []
    routing = {entry.get("flag") for entry in entries if isinstance(entry, Mapping) and _is_named(entry)}
    if not isinstance(flags, Mapping):
        return dict(document)
    served = {key: _served(flag) if key in routing else flag for key, flag in flags.items()}
    return {**document, "flags": served}


def check_app(document: Mapping[str, object], place: Place) -> None:
    """A problem for every variant that mirrors to the application, which gets each request already."""
    flags = document.get("flags")
    for key, flag in (flags if isinstance(flags, Mapping) else {}).items():
        variants = flag.get("variants") if isinstance(flag, Mapping) else None
        for name, variant in (variants if isinstance(variants, Mapping) else {}).items():
            mirror = variant.get("mirror") if isinstance(variant, Mapping) else None
            if isinstance(mirror, list) and APP in mirror:
                at = (
                    place.key("flags")
                    .key(key)
                    .key("variants")
                    .key(name)
                    .key("mirror")
                    .item(mirror.index(APP))
                )
                at.refuse(
                    "app gets no copies: it is the application itself", "name the service to compare with"
                )


def _is_named(route: Mapping[object, object]) -> bool:
    return isinstance(route.get("flag"), str)


def _served(flag: object) -> object:
    variants = flag.get("variants") if isinstance(flag, Mapping) else None
    if not isinstance(flag, Mapping) or not isinstance(variants, Mapping):
        return flag
    return {
        **flag,
        "variants": {
            name: {"serve": APP, **variant} if isinstance(variant, Mapping) else variant
            for name, variant in variants.items()
        },
    }
