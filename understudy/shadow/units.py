"""The units of exchanges: how they are named in a store, and which places each has counted already.

A user whose every request fails is one witness, not a thousand: the tests count a unit once at each place.
"""

import hashlib
import hmac
from collections.abc import Collection
from typing import Final

from understudy.recent import Recent

MOST_COUNTED: Final = 100_000
"""Places of units that one generation remembers; two are kept, some 20 MiB when both are full.

A unit that comes back after 100,000 others have failed counts once more, as it does after a restart: that
makes the tests no worse than they would be without units.
"""

Place = tuple[str, str]


def unit_digest(key: bytes, unit: str) -> str:
    """How *unit* is named in a store: 16 hex digits of a keyed hash, so that its samples can be found again.

    *key* is secret. Empty for no unit, and without a key.
    """
    if not unit or not key:
        return ""
    return hmac.new(key, unit.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]


class CountedUnits:
    """Remembers which unit has counted where, in two generations; the older one is forgotten whole."""

    def __init__(self, *, most: int = MOST_COUNTED) -> None:
        self._recent = Recent(most=most)

    def repeated(self, unit: str, service: str, endpoint: str, places: Collection[Place]) -> set[Place]:
        """Those (path, kind) of *places* that *unit* has counted at already; from now on it has at all.

        Without a unit nothing is repeated.
        """
        if not unit:
            return set()
        return {place for place in places if self._recent.is_known(hash((unit, service, endpoint, *place)))}

    def __len__(self) -> int:
        return len(self._recent)
