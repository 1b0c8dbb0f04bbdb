"""Whether the store can be used, as the last operation on it showed; told once, and seen in ``/readyz``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from understudy.errors import StoreError

log = logging.getLogger("understudy.control")


class Trouble:
    """``text`` is empty while the store works."""

    def __init__(self) -> None:
        self.text = "the store is not opened yet"
        self._is_open = False
        self.is_met = False
        """Whether the store has ever failed."""

    def met(self, error: StoreError) -> None:
        """The store failed. Logged when it is news."""
        self.is_met = True
        text = str(error)
        if text != self.text:
            log.error("%s", text)
        self.text = text

    def opened(self) -> None:
        """The store is open and its rules are read: from now on its operations tell how it is."""
        self._is_open = True
        self.text = ""

    def mended(self) -> None:
        """The store took something."""
        if self._is_open and self.text:
            log.info("the store works again")
            self.text = ""

    @contextmanager
    def watched(self, *, is_write: bool = False) -> Iterator[None]:
        """Around an operation on the open store: a failure is noted and raised, a write proves it mended."""
        try:
            yield
        except StoreError as error:
            if self._is_open:
                self.met(error)
            raise
        else:
            if is_write:
                self.mended()
