"""The rules in force, ready to decide in any thread: they are swapped whole, and need no event loop."""

import logging
import time
from typing import TYPE_CHECKING, Final

from understudy.config import Kills, Rules
from understudy.decide import AskedFlags, CompiledRules
from understudy.decide import Decision as Route
from understudy.engine import Engine, compiled_rules
from understudy.exposures import Sightings
from understudy.proxy.faults import Faults

if TYPE_CHECKING:
    from understudy.middleware.hop import Hop
    from understudy.middleware.stage import Stage

log = logging.getLogger("understudy.middleware")

MOST_PLAIN: Final = 4096
"""Bound of the memory of paths that no flag decides, so that a client inventing paths cannot grow it."""


LONGEST_PLAIN: Final = 256
"""Of such a path, in bytes; a client may send 64 KiB."""


class InForce:
    """One version of the rules, compiled, with what this host *kills* laid over it.

    *sightings* are told who met which variant; None: nobody is. Raises `UnderstudyError` when they do not
    compile.
    """

    def __init__(
        self, rules: Rules, version: int, kills: Kills | None = None, sightings: Sightings | None = None
    ) -> None:
        self.rules = rules
        self.sightings = sightings
        self.version = version
        self.compiled: CompiledRules = compiled_rules(rules, kills)
        self.flags = AskedFlags(
            flags=rules.flags,
            evaluators=rules.evaluators,
            metadata=rules.metadata,
            killed=rules.killed if kills is None else kills.laid_over(rules).killed,
            clock=time.time,
        )
        self.faults = Faults("a request could not be decided, and passes", log)
        """What keeps requests from being decided."""
        self.is_by_path = all(route.host is None and not route.methods for route in rules.routes)
        self.plain: dict[object, Route | None] = {}
        """What is decided without a flag, by the path as the server gives it, when paths alone decide."""

    def remember(self, path: bytes | str, found: Route | None) -> None:
        """That *path* is decided as *found*, which asks no flag."""
        if self.is_by_path and len(path) <= LONGEST_PLAIN and len(self.plain) < MOST_PLAIN:
            self.plain[path] = found


class Ready:
    """What the requests of one event loop are decided by, and the stage that does what follows from it."""

    __slots__ = ("engine", "hop", "in_force", "stage")

    def __init__(self, in_force: InForce, hop: "Hop", stage: "Stage") -> None:
        self.hop = hop
        self.in_force = in_force
        self.stage = stage
        self.engine: Engine = stage.engine
