"""What a transaction may change: of those that change one area there is one at a time."""

from enum import IntEnum


class Area(IntEnum):
    """The number is part of the name of a lock that all processes share, so it never changes."""

    RULES = 1
    EVIDENCE = 2
    SECRETS = 3
    ACCESS = 4
    EXPOSURES = 5
