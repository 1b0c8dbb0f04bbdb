"""The services of the settings in force, with what the workers see of them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.config import Service


def services(settings: Mapping[str, Service], snapshots: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name, origins and balance of each service of *settings*, in its order, and its ``health``.

    ``healthy`` is what `understudy_origins_healthy` says: the origins that are up for the worker that sees
    the fewest. It is null until a worker has told of the service.
    """
    healthy = _healthy(snapshots)
    return [
        {
            "name": name,
            "origins": list(service.all_origins),
            "balance": service.balance,
            "health": {"healthy": healthy.get(name), "origins": len(service.all_origins)},
        }
        for name, service in settings.items()
    ]


def _healthy(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    fewest: dict[str, int] = {}
    for snapshot in snapshots:
        for name, up in () if snapshot.get("gone") else snapshot.get("origins", ()):
            fewest[name] = min(up, fewest.get(name, up))
    return fewest
