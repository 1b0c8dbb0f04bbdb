"""Counts that outlive the process that counts them, in memory that all processes of a run share.

Each count has one writer: the supervisor for restarts, the control process for reloads.
"""

import mmap
import struct
from collections.abc import Iterator
from typing import Final

RESTARTS: Final = "restarts"
RELOADS: Final = "reloads"

KEYS: Final = (
    (RESTARTS, "worker", "died"),
    (RESTARTS, "worker", "asked"),
    (RESTARTS, "control", "died"),
    (RELOADS, "applied"),
    (RELOADS, "refused"),
)
"""Family and labels of every count. A process is started anew because it died, or because it was asked."""


class Board:
    """Made before the first fork; zero at the start."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._at = {key: 8 * index for index, key in enumerate(KEYS)}

    def count(self, *key: str) -> None:
        """One more of *key*."""
        at = self._at[key]
        struct.pack_into("=Q", self._memory, at, self._value(at) + 1)

    def rows(self, family: str) -> Iterator[tuple[tuple[str, ...], int]]:
        """(labels, count) of every count in *family*."""
        for key, at in self._at.items():
            if key[0] == family:
                yield key[1:], self._value(at)

    def _value(self, at: int) -> int:
        (value,) = struct.unpack_from("=Q", self._memory, at)
        return int(value)
