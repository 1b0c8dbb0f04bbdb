"""How often comparing may hold an event loop that somebody else's requests wait for."""

from typing import Final

LONG_SECONDS: Final = 0.001
"""A hold that a request may feel: what the 99th percentile may rise by (DESIGN 7)."""

BURST_SECONDS: Final = 0.01
"""Of long holds at once: the first samples of a new version take 1 to 10 ms each, and a tenth of a second of
them was 3 % of the first three seconds."""


class Patience:
    """Lets long holds take *share* of the time, and `BURST_SECONDS` beyond that at first.

    At a share of one in 200 the 99th percentile of the requests does not meet one. Who can, hurries while it
    is spent: what takes no more than `LONG_SECONDS` needs no pause.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._credit = BURST_SECONDS
        self._at = 0.0

    def is_spent(self, now: float) -> bool:
        """Whether a long hold would have to be paused for."""
        self._refill(now)
        return self._credit <= 0.0

    def pause_seconds(self, held: float, now: float) -> float:
        """How long to pause after a comparison that held the loop for *held* seconds, until *now*."""
        self._refill(now)
        if held <= LONG_SECONDS or self._share >= 1.0:
            return 0.0
        self._credit -= held
        return max(0.0, -self._credit / self._share)

    def _refill(self, now: float) -> None:
        if self._at:
            self._credit = min(BURST_SECONDS, self._credit + (now - self._at) * self._share)
        self._at = now
