"""Which differences are worth a sample: the lottery that the store's few places are given by.

The store keeps, for each key, the samples with the lowest priorities (bottom-k sampling). A draw that is not
among the lowest k of its key here can never be among the lowest k there, so its sample is not even made:
redacting one costs as much as comparing a pair.
"""

from bisect import insort
from collections.abc import Callable
from typing import Final

MOST_KEYS: Final = 4096

Key = tuple[str, ...]


class Draws:
    """Remembers the lowest *places* draws of each key; *chance* is uniform in [0, 1)."""

    def __init__(self, *, chance: Callable[[], float], places: int) -> None:
        self._chance = chance
        self._places = places
        self._lowest: dict[Key, list[float]] = {}

    def draw(self, key: Key, *, is_hurried: bool = False) -> float | None:
        """The priority of a sample of *key*; None when no store would keep it.

        *is_hurried*: only the first of a key draws, and the others leave their place to a later one.
        """
        priority = self._chance()
        lowest = self._lowest.get(key)
        if lowest is None:
            if len(self._lowest) >= MOST_KEYS:
                self._lowest.clear()
            lowest = self._lowest[key] = []
        elif is_hurried:
            return None
        elif len(lowest) >= self._places:
            if priority >= lowest[-1]:
                return None
            lowest.pop()
        insort(lowest, priority)
        return priority

    def forget(self) -> None:
        """Start again: what was drawn is not in the store, or will grow too old there."""
        self._lowest.clear()
