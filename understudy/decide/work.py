"""How much one evaluation may do with lists that it was given: the length of a rule does not bound that."""

import threading

MOST_WORK = 100_000
"""Operations on elements of lists: some 20 ms. A thousand ids, each asked about in ten ways, take a tenth."""


class TooMuchWork(Exception):
    """An evaluation would hold up everything else."""


class Work:
    """What is left to one evaluation of one rule; each thread has its own."""

    def __init__(self) -> None:
        self._local: threading.local | None = None

    @property
    def is_needed(self) -> bool:
        """Whether the rule does anything with lists; when it does not, there is nothing to begin."""
        return self._local is not None

    def need(self) -> None:
        """The rule has a loop."""
        self._local = self._local or threading.local()

    def begin(self) -> None:
        """A new evaluation."""
        if self._local is not None:
            self._local.left = MOST_WORK

    def spend(self, operations: int) -> None:
        """Raises: TooMuchWork when the evaluation has not so many *operations* left."""
        local = self._local
        left: int = getattr(local, "left", MOST_WORK) - operations
        if left < 0:
            raise TooMuchWork
        if local is not None:
            local.left = left
