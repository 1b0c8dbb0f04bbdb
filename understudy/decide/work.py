"""How much one evaluation may do with lists that it was given: the length of a rule does not bound that."""

import threading

MOST_WORK = 100_000
"""Operations on elements of lists: some 20 ms. A thousand ids, each asked about in ten ways, take a tenth."""


class TooMuchWork(Exception):
    """An evaluation would hold up everything else."""


class Work:
    """What is left to one evaluation of one rule; each thread has its own."""

    def __init__(self) -> None:
        self.is_needed = False
        """Whether the rule does anything with lists; when it does not, there is nothing to begin."""
        self._local = threading.local()

    def begin(self) -> None:
        """A new evaluation."""
        self._local.left = MOST_WORK

    def spend(self, operations: int) -> None:
        """Raises: TooMuchWork when the evaluation has not so many *operations* left."""
        left: int = getattr(self._local, "left", MOST_WORK) - operations
        if left < 0:
            raise TooMuchWork
        self._local.left = left
