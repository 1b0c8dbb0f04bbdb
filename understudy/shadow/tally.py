"""What a worker counted of one endpoint, until it says so."""


class Tally:
    """Counts of one (service, endpoint, flag) since the last flush."""

    __slots__ = (
        "controlled",
        "exchanges",
        "faster",
        "late",
        "matched",
        "passed_over",
        "primary",
        "shadow",
        "shadow_seconds",
        "slower",
        "uncompared",
        "unpaired",
    )

    def __init__(self) -> None:
        self.exchanges = 0
        self.matched = 0
        self.controlled = 0
        self.uncompared = 0
        self.passed_over = 0
        self.unpaired = 0
        self.late = 0
        self.primary: dict[int, int] = {}
        self.shadow: dict[int, int] = {}
        self.slower: dict[int, int] = {}
        self.faster: dict[int, int] = {}
        self.shadow_seconds = 0.0
