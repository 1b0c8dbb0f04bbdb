"""Faults of ours in the log: each kind with its trace, and none so often that requests could fill a disk."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

TOLD_SECONDS: Final = 10.0
"""How long a kind is not told again. A trace is some KiB: one for each request would be MiB a second."""
MOST_KINDS: Final = 64

Kind = tuple[str, str, int]
"""The type of an exception, and the file and line that raised it."""

OTHERS: Final = ("others", "", 0)


class Faults:
    """Tells *log* of faults, as *text*. May be told of in any thread; never raises.

    Counting them is left to who meets them: this tells what they are.
    """

    def __init__(
        self, text: str, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._text = text
        self._log = log
        self._clock = clock
        self._told: dict[Kind, tuple[float, int]] = {}

    def tell(self, error: BaseException) -> None:
        """Log *error* with its trace, unless one like it was logged less than `TOLD_SECONDS` ago."""
        now = self._clock()
        kind = self._room(kind_of(error), now)
        at, unsaid = self._told.get(kind, (-math.inf, 0))
        if now - at < TOLD_SECONDS:
            self._told[kind] = (at, unsaid + 1)
            return
        self._told[kind] = (now, 0)
        more = f" ({unsaid} more like it since that was last told)" if unsaid else ""
        self._log.error("%s%s", self._text, more, exc_info=error)

    def _room(self, kind: Kind, now: float) -> Kind:
        """*kind*, or `OTHERS` when there are too many kinds at a time."""
        if kind not in self._told and len(self._told) >= MOST_KINDS:
            for old, (at, _) in self._told.copy().items():
                if now - at >= TOLD_SECONDS:
                    self._told.pop(old, None)
            if len(self._told) >= MOST_KINDS:
                return OTHERS
        return kind


def kind_of(error: BaseException) -> Kind:
    """What *error* has in common with others: not its message, which may hold what a client sent."""
    trace, name = error.__traceback__, type(error).__qualname__
    if trace is None:
        return name, "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return name, trace.tb_frame.f_code.co_filename, trace.tb_lineno
