"""What one process tells of exposures at once, as JSON on the link between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Met = tuple[str, str, str]
"""Flag, variant, unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """``counts``: evaluations by flag and variant. ``units``: who met what, as far as it may be new.

    ``at`` is Unix time in seconds.
    """

    at: float
    counts: Mapping[tuple[str, str], int]
    units: Sequence[Met]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "at": self.at,
            "counts": [[*key, n] for key, n in self.counts.items()],
            "units": [list(met) for met in self.units],
        }


def read_told(plain: Mapping[str, Any]) -> Told:
    """What `Told.plain` wrote. Raises: KeyError, TypeError, ValueError."""
    counts = {(flag, variant): n for flag, variant, n in plain["counts"]}
    units = [(flag, variant, unit) for flag, variant, unit in plain["units"]]
    return Told(at=plain["at"], counts=counts, units=units)
