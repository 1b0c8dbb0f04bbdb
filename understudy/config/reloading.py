"""What of a changed configuration applies at once, and what waits for a restart.

Pure, and the same in every process, so that all of them come to the same settings.
"""

from dataclasses import dataclass, fields, replace
from typing import Final

from understudy.config.settings import Settings

WAITING: Final = ("listen", "workers", "admin", "store", "environment", "access_log", "kill_file")
"""Bound or opened at the start. ``tls`` joins them when it comes or goes: its files may change at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """``settings`` are in force from now on. ``changed`` and ``waiting`` name top-level keys of the file."""

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]
    is_seed_changed: bool
    """Whether flags, routes or compare rules differ: they only seed an empty store."""


def reloaded(old: Settings, new: Settings) -> Reloaded:
    """What *new* makes of *old*."""
    names = [entry.name for entry in fields(Settings) if entry.name not in ("rules", "document")]
    different = [name for name in names if getattr(old, name) != getattr(new, name)]
    later = WAITING if (old.tls is None) == (new.tls is None) else (*WAITING, "tls")
    waiting = tuple(name for name in different if name in later)
    return Reloaded(
        settings=replace(new, **{name: getattr(old, name) for name in waiting}),
        changed=tuple(name for name in different if name not in later),
        waiting=waiting,
        is_seed_changed=old.rules.document != new.rules.document,
    )
