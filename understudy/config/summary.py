"""What a configuration would do, in the words of `understudy check`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy.comparators import doubts
from understudy.config.listener import listeners
from understudy.config.quantity import duration_text, size_text
from understudy.config.settings import Service, Settings
from understudy.config.splits import Outcomes, needs_unit, outcomes
from understudy.config.store import store_text
from understudy.decide import Route

AT_REST_BYTES = 64 * 1024 * 1024
"""A worker at rest has about 50 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSummary:
    """One variant of a routing flag.

    ``share`` is 0 to 1 of the units that reach the split, None when it cannot be told.
    """

    name: str
    share: float | None
    is_named: bool
    is_default: bool
    serve: str
    mirror: tuple[str, ...]
    control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSummary:
    """One route with what it leads to. ``flag`` is empty for a route that always serves ``serve``."""

    matches: str
    flag: str
    unit: str
    serve: str
    is_killed: bool
    variants: tuple[VariantSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A valid configuration, retold; ``warnings`` are what is allowed but probably not meant.

    ``services`` tells of each its origins, how they are balanced, checked and trusted.
    """

    listen: tuple[str, ...]
    workers: int
    admin: str
    store: str
    services: Mapping[str, str]
    routes: tuple[RouteSummary, ...]
    shadow: Mapping[str, str]
    compare_rules: int
    warnings: tuple[str, ...]
    endpoints: str = "learned"


def summary(settings: Settings) -> Summary:
    """What `understudy serve` would do with *settings*."""
    return Summary(
        listen=tuple(_listen(settings)),
        workers=settings.workers,
        admin=settings.admin.listen,
        store=store_text(settings.store),
        services={name: ", ".join(_service(service)) for name, service in settings.services.items()},
        routes=tuple(_route(route, settings) for route in settings.rules.routes),
        shadow=_shadow(settings),
        compare_rules=len(settings.rules.compare),
        warnings=tuple(_warnings(settings)),
        endpoints=_endpoints(settings),
    )


def _endpoints(settings: Settings) -> str:
    named = len(settings.endpoints.templates)
    return f"{named} template{'' if named == 1 else 's'}, others learned" if named else "learned"


def _service(service: Service) -> Iterator[str]:
    """Its origins, then what is not as usual about them."""
    yield from service.all_origins
    if len(service.all_origins) > 1:
        yield service.balance
    if service.health is not None:
        yield f"checked at {service.health.path} every {duration_text(service.health.interval)}"
    if service.tls is not None and not service.tls.verify:
        yield "not verified"
    elif service.tls is not None and service.tls.ca:
        yield f"verified by {service.tls.ca}"


def _listen(settings: Settings) -> Iterator[str]:
    for listener in listeners(settings.listen, has_tls=settings.tls is not None):
        yield str(listener) if listener.is_tls or listener.is_unix else listener.address


def _shadow(settings: Settings) -> dict[str, str]:
    shadow = settings.shadow
    return {
        "control": f"{shadow.control * 100:g} %",
        "timeout": duration_text(shadow.timeout),
        "in_flight": str(shadow.in_flight),
        "budget": size_text(shadow.budget_bytes),
        "body_cap": size_text(shadow.body_cap_bytes),
        "confirm": "on" if shadow.confirm else "off",
    }


def matches(route: Route) -> str:
    """Which requests *route* takes, as one line: ``GET,HEAD example.com /api…``."""
    path = route.exact or route.template or ("/…" if route.path == "/" else f"{route.path.rstrip('/')}[/…]")
    return " ".join(part for part in (",".join(route.methods), route.host, path) if part)


def _route(route: Route, settings: Settings) -> RouteSummary:
    flag = settings.rules.flags[route.flag] if route.flag else {}
    return RouteSummary(
        matches=matches(route),
        flag=route.flag or "",
        unit=route.unit or "",
        serve=route.serve or "",
        is_killed=route.flag in settings.rules.killed,
        variants=variants(flag, settings.rules.evaluators),
    )


def variants(flag: Mapping[str, Any], evaluators: Mapping[str, Any]) -> tuple[VariantSummary, ...]:
    """The variants of *flag*, one that routes; *evaluators* are the shared rules that its own may name."""
    found = outcomes(flag.get("targeting") or None, evaluators)
    return tuple(
        _variant(name, variant, flag, found, is_live=_is_live(flag))
        for name, variant in flag.get("variants", {}).items()
    )


def _is_live(flag: Mapping[str, Any]) -> bool:
    return flag.get("state") != "DISABLED" and bool(flag.get("targeting"))


def _variant(
    name: str, variant: Mapping[str, Any], flag: Mapping[str, Any], found: Outcomes, *, is_live: bool
) -> VariantSummary:
    is_default = flag.get("defaultVariant") == name
    if is_live:
        share = found.splits[0].share(name) if len(found.splits) == 1 else None
        share = None if found.is_open else share
    else:
        share = 1.0 if is_default else 0.0
    return VariantSummary(
        name=name,
        share=share,
        is_named=is_live and name in found.named,
        is_default=is_default,
        serve=variant["serve"],
        mirror=tuple(variant.get("mirror", ())),
        control=variant.get("control", ""),
    )


def _warnings(settings: Settings) -> Iterator[str]:
    ours = listeners(settings.listen, has_tls=settings.tls is not None)
    if settings.tls is not None and not any(listener.is_tls for listener in ours):
        yield "tls is given, but no address in listen speaks it"
    if 0 < settings.limits.memory_bytes < AT_REST_BYTES:
        least = size_text(AT_REST_BYTES)
        yield f"limits.memory is below {least}: a worker at rest holds some 50MiB, so it may refuse all"
    yield from _route_warnings(settings)
    yield from _flag_warnings(settings)
    mirrored = {name for _, _, variant in _routing_variants(settings) for name in variant.get("mirror", ())}
    if mirrored and settings.shadow.control == 0:
        yield "shadow.control is 0: nothing is asked twice, so no noise is learned and the report says so"
    if settings.rules.routes and not mirrored:
        yield "no variant mirrors anything, so there will be nothing to report"
    for name, service in settings.services.items():
        if service.tls is not None and not service.tls.verify:
            yield f"services.{name}.tls.verify is false: whoever answers there is believed"
    yield from doubts(settings.rules.compare)
    yield from _compare_warnings(settings)
    used = mirrored | set(_serving(settings))
    for name in settings.services:
        if name not in used:
            yield f"services.{name} is used by no variant and no route"


def _compare_warnings(settings: Settings) -> Iterator[str]:
    """Compare rules for methods that no route mirrors, so that they never hold."""
    routes = [route for route in settings.rules.routes if route.flag]
    mirrored = {method for route in routes for method in route.mirror_methods}
    for index, rule in enumerate(settings.rules.compare):
        method, _, path = rule.endpoint.partition(" ")
        if mirrored and path and method != "*" and method not in mirrored:
            yield f"compare[{index}]: no route mirrors {method}, so there is nothing to compare"


def _route_warnings(settings: Settings) -> Iterator[str]:
    routes = settings.rules.routes
    if not routes:
        yield "there is no route, so every request is answered with 404"
        return
    catching = [index for index, route in enumerate(routes) if _catches_all(route)]
    if not catching:
        yield "no route matches every request; what matches none is answered with 404"
    for index in range(min(catching, default=len(routes)) + 1, len(routes)):
        yield f"routes[{index}] is never reached, because routes[{catching[0]}] matches every request"
    for index, route in enumerate(routes):
        flag = settings.rules.flags.get(route.flag or "", {})
        needs = needs_unit(flag.get("targeting"), settings.rules.evaluators, settings.rules.flags)
        if route.flag and not route.unit and needs:
            yield f"routes[{index}] has no unit, so {route.flag} cannot tell its requests apart"


def _catches_all(route: Route) -> bool:
    narrowed = route.exact or route.template or route.host or route.methods
    return route.path == "/" and not narrowed


def _flag_warnings(settings: Settings) -> Iterator[str]:
    rules = settings.rules
    routing = {route.flag for route in rules.routes}
    for key, flag in rules.flags.items():
        if key not in routing:
            yield f"flags.{key} is consulted by no route"
        elif key in rules.killed:
            yield f"flags.{key} is killed: every request gets its safe variant"
        elif flag.get("state") == "DISABLED":
            yield f"flags.{key} is disabled: every request gets {flag['defaultVariant']}"
        else:
            yield from _split_warnings(key, flag, rules.evaluators)
    for key, name, variant in _routing_variants(settings):
        if variant["serve"] in variant.get("mirror", ()):
            yield f"flags.{key}.variants.{name} mirrors to {variant['serve']}, which answers already"


def _split_warnings(key: str, flag: Mapping[str, Any], evaluators: Mapping[str, Any]) -> Iterator[str]:
    default = flag["defaultVariant"]
    found = outcomes(flag.get("targeting") or None, evaluators)
    for split in found.splits:
        names = [name for name, _ in split.weights]
        if default in names[:-1]:
            yield (
                f"flags.{key}: {default}, the default, does not stand last in its split, "
                "so growing another weight moves users who had a variant already"
            )
        for name, times in Counter(name for name in names if name).items():
            if times > 1:
                yield f"flags.{key}: {name} stands {times} times in one split"


def _routing_variants(settings: Settings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for key in dict.fromkeys(route.flag for route in settings.rules.routes if route.flag):
        for name, variant in settings.rules.flags[key]["variants"].items():
            yield key, name, variant


def _serving(settings: Settings) -> Iterator[str]:
    for route in settings.rules.routes:
        if route.serve:
            yield route.serve
    for _, _, variant in _routing_variants(settings):
        yield variant["serve"]
        if "control" in variant:
            yield variant["control"]
