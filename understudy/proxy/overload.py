"""When a worker that holds too much sheds work, and which: copies first, then requests.

Pure: what it holds is an argument.
"""

from typing import Final

CALM, NO_COPIES, NO_REQUESTS = range(3)
"""Stages, each with what it does without."""

ENTERS: Final = (0.0, 0.90, 1.00)
LEAVES: Final = (0.0, 0.85, 0.95)
"""Shares of the limit. Envoy's example stops keep-alive at 92 % and refuses at 95 % of its heap; we give up
what nobody sees earlier, and requests only at the limit. The gap keeps a worker from wavering."""


class Overload:
    """The stage of one worker, by the memory it holds and its limit in bytes (0: none)."""

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self.stage = CALM

    def is_over(self, resident_bytes: int) -> bool:
        """Whether so much resident memory is the limit or more."""
        return bool(self.limit_bytes) and resident_bytes >= self.limit_bytes

    def weigh(self, resident_bytes: int) -> int:
        """The stage for so much resident memory, given the stage before."""
        if not self.limit_bytes:
            self.stage = CALM
        else:
            share = resident_bytes / self.limit_bytes
            while self.stage < NO_REQUESTS and share >= ENTERS[self.stage + 1]:
                self.stage += 1
            while self.stage > CALM and share < LEAVES[self.stage]:
                self.stage -= 1
        return self.stage
