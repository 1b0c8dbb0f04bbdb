"""What workers that are gone had counted, on disk, so that the next control process goes on from there."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson

from understudy import __version__

log = logging.getLogger("understudy.control")

Snapshots = dict[str, dict[str, Any]]


class Past:
    """One file in the run's private folder. Only this version reads what it wrote: others count otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> tuple[Snapshots, frozenset[str]]:
        """The last snapshots of the gone, and the names of those who lived then; nothing without a file."""
        try:
            kept = orjson.loads(self._path.read_bytes())
            if kept["version"] == __version__:
                return kept["gone"], frozenset(kept["alive"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("what workers before had counted cannot be read: %s", error)
        return {}, frozenset()

    def keep(self, gone: Mapping[str, Mapping[str, Any]], alive: Collection[str]) -> None:
        """Replace what is kept. A disk that does not take it costs the counts of the gone, and no more."""
        kept = {"version": __version__, "gone": gone, "alive": list(alive)}
        beside = self._path.with_suffix(".new")
        try:
            beside.write_bytes(orjson.dumps(kept))
            beside.replace(self._path)
        except OSError as error:
            log.error("what workers had counted cannot be kept: %s", error)
