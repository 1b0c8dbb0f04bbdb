"""What a store holds of one environment, told without reading its rules."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from understudy.store.rules import json_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment that a store knows. ``version`` and ``at`` (Unix seconds) are those of its newest rules,
    0 while there are none; ``services`` the names that its own processes know, None when none has ever run.
    """

    name: str
    version: int = 0
    at: float = 0.0
    services: tuple[str, ...] | None = None


def services_text(services: Collection[str]) -> str:
    """*services* as they are stored; no text at all means that they are not known."""
    return json_text(sorted(services))


def read_services(text: str) -> tuple[str, ...] | None:
    """What `services_text` wrote; None for an empty text, or one that is damaged."""
    try:
        found: Any = json.loads(text) if text else None
    except ValueError:
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None
