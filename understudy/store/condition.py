"""What is wrong with a store although it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

REASONS: Final = ("sql_away", "sql_behind", "redis_away", "redis_foreign", "file", "audit")
"""Every reason for an alarm: the truth or the fast copy cannot be reached, the truth is older than what is in
force, the copy is another store's, the last good rules cannot be written to this host's disk, the audit was
cut off or rewritten."""

HISTORY_FIELD: Final = "X-Understudy-History"
"""Names within which history a version counts, in an answer of the admin API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``alarms`` says by reason what is wrong now, for people; ``healed`` counts repairs of the copy.

    ``returns`` counts how often the truth came back: perhaps as a replica without the last change.
    ``histories`` counts how often versions began anew, and so may be lower than before.
    """

    alarms: Mapping[str, str] = field(default_factory=dict)
    healed: int = 0
    returns: int = 0
    histories: int = 0
