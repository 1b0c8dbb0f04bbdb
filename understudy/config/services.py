"""The services of a configuration: their files found, and what no single setting can know checked."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from understudy.config.address import overlap
from understudy.config.origin_tls import check_tls, client_context, located
from understudy.config.origins import OriginTls
from understudy.config.place import Place
from understudy.config.settings import Service

UNIX = "unix:"


def locate(service: Service, base: Path) -> Service:
    """*service* with absolute names of files and sockets; relative ones lie in *base*."""
    return replace(
        service,
        url=_absolute(service.url, base),
        origins=tuple(_absolute(origin, base) for origin in service.origins),
        tls=service.tls and located(service.tls, base),
    )


def first_origins(services: Mapping[str, Service]) -> dict[str, str]:
    """One origin of each service, for whoever wants to ask it by hand."""
    return {name: service.all_origins[0] for name, service in services.items()}


def _absolute(origin: str, base: Path) -> str:
    if not origin.startswith(UNIX):
        return origin
    return UNIX + str((base / origin.removeprefix(UNIX)).absolute())


def check_services(
    services: Mapping[str, Service | None], place: Place, *, listening: Collection[str]
) -> None:
    """A problem for a service that is the proxy itself, since each request would come back, and for what
    its https:// origins cannot be reached by. *listening* has ``host:port`` and paths of sockets.
    """
    for name, service in services.items():
        if service is not None:
            at = place.key(name)
            for where, origin in _origins(service, at):
                if _is_ours(_bare(origin), listening):
                    where.refuse("is the address this proxy listens on")
            _check_tls(service, at.key("tls"))


def _check_tls(service: Service, place: Place) -> None:
    if service.tls is not None:
        check_tls(service.tls, place)
        is_read = service.all_origins != ("",) and all(
            problem.path != place.path for problem in place.problems
        )
        if is_read and not service.has_tls:
            place.refuse("no origin of this service is https://")
    elif service.has_tls:
        client_context(OriginTls())  # made here, so that no connection waits for it


def _origins(service: Service, place: Place) -> Iterator[tuple[Place, str]]:
    if service.url:
        yield place.key("url"), service.url
    for index, origin in enumerate(service.origins):
        yield place.key("origins").item(index), origin


def _is_ours(bare: str, listening: Collection[str]) -> bool:
    """A listener on all interfaces is there on loopback too; any other address may be another machine's."""
    if bare in listening:
        return True
    is_here = bare.startswith(("127.", "[::1]:"))
    return is_here and any(overlap(bare, address) for address in listening if not address.startswith("/"))


def _bare(origin: str) -> str:
    for start in ("http://", "https://", UNIX):
        origin = origin.removeprefix(start)
    return origin.replace("localhost:", "127.0.0.1:")
