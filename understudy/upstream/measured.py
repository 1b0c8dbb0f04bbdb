"""A connection to a shadow, read no faster than suits an event loop that has an application's requests."""

import time
from collections.abc import Callable
from typing import Final

from understudy.upstream.allowance import Allowance
from understudy.upstream.connection import Caller, Owner, UpstreamConnection

FREE_BYTES: Final = 16 * 1024
"""A read up to this that begins an answer is not measured: the application's requests bound their number."""


class MeasuredConnection(UpstreamConnection):
    """Charges what long answers take to *allowance*; held, it leaves in the kernel what comes."""

    __slots__ = ("_allowance",)

    def __init__(
        self, owner: Owner, write: Callable[[UpstreamConnection, bytes], None], allowance: Allowance
    ) -> None:
        super().__init__(owner, write)
        self._allowance = allowance

    def begin(self, caller: Caller, *, is_head: bool) -> None:
        """As every connection; its answer has not been held."""
        self.was_held = False
        super().begin(caller, is_head=is_head)

    def data_received(self, data: bytes) -> None:
        if self._is_fresh and len(data) <= FREE_BYTES:
            super().data_received(data)
            return
        began = time.thread_time()
        super().data_received(data)
        self._allowance.charge(self, time.thread_time() - began)

    def hold(self) -> bool:
        """Read nothing until `go_on`; False when no answer is under way."""
        transport = self.transport
        if self.is_held or self.caller is None or transport is None or transport.is_closing():
            return False
        self.is_held = self.was_held = True
        transport.pause_reading()
        return True

    def go_on(self) -> None:
        """Read again."""
        self.is_held = False
        self._read_on()
