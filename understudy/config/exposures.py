"""What is kept of who met which variant."""

import re
from dataclasses import dataclass
from typing import Final

from understudy.config.place import Place, Refused, shown
from understudy.config.setting import SHARE, Kind, setting

DAY_SECONDS: Final = 86_400.0
_MOST_DAYS: Final = 3650
_DAYS: Final = re.compile(r"([0-9]{1,4})d", re.ASCII)
_HINT: Final = "in days, for example 30d"


def _read_days(value: object, _place: Place) -> float:
    """Seconds, from a text such as ``30d``. Raises: Refused."""
    found = _DAYS.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise Refused(f"must be a number of days, not {shown(value)}", _HINT)
    if not 1 <= int(found[1]) <= _MOST_DAYS:
        raise Refused(f"must be from 1d to {_MOST_DAYS}d, not {shown(value)}", _HINT)
    return int(found[1]) * DAY_SECONDS


_RETENTION = Kind(
    read=_read_days,
    schema={"type": "string", "pattern": "^[0-9]{1,4}d$"},
    from_text=str,
    written=lambda seconds: f"{seconds / DAY_SECONDS:.0f}d",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureSettings:
    """What is kept of who met which variant. A unit is kept as a keyed hash, never as it is."""

    sample: float = setting(
        SHARE,
        default=0.0,
        what=(
            "Share of units whose exposures are kept, as keyed hashes; a unit is whole in it or not at all,"
            " on every host. Evaluations are counted whatever the share."
        ),
        why="0: who met what is kept by those who need it, and costs each request a look-up of its unit.",
    )
    retention: float = setting(
        _RETENTION,
        default=30 * DAY_SECONDS,
        what="How long exposures are kept. Those of a unit can be deleted before: DELETE /api/v1/exposures.",
        why="30d, which covers a rollout and the look back at it; Unleash keeps its usage metrics as long.",
    )
