"""A connection to a shadow, read no faster than suits an event loop that has an application's requests."""

import math
import time
from collections.abc import Callable
from typing import Final

from understudy.upstream.allowance import Allowance
from understudy.upstream.connection import Caller, Owner, UpstreamConnection

FREE_BYTES: Final = 16 * 1024
"""A read up to this that begins an answer is not measured: the application's requests bound their number."""

PIECE_BYTES: Final = 32 * 1024
"""What of a long read is taken before the time is looked at: 0.01 ms, in chunks of 100 bytes 0.3."""

TURN_SECONDS: Final = 0.00025
"""After so long the rest of a read waits its turn: requests wait for nothing longer."""


class MeasuredConnection(UpstreamConnection):
    """Charges what long answers take to *allowance*; held, it leaves in the kernel what comes."""

    __slots__ = ("_allowance", "_unread")

    def __init__(
        self, owner: Owner, write: Callable[[UpstreamConnection, bytes], None], allowance: Allowance
    ) -> None:
        super().__init__(owner, write)
        self._allowance = allowance
        self._unread = b""
        """Of the last read, what waits its turn."""

    def begin(self, caller: Caller, *, is_head: bool) -> None:
        """As every connection; its answer has not been held."""
        self.was_held = False
        self._unread = b""
        super().begin(caller, is_head=is_head)

    def data_received(self, data: bytes) -> None:
        if self._is_fresh and len(data) <= FREE_BYTES:
            super().data_received(data)
            return
        self._take(data)

    def _take(self, data: bytes, seconds: float = TURN_SECONDS) -> None:
        """Read *data* for a turn's time or *seconds*, and charge what it took."""
        began = time.thread_time()
        at = 0
        spent = 0.0
        while at < len(data) and spent < seconds:
            caller, is_surplus = self.caller, self._surplus
            if at + PIECE_BYTES < len(data):
                self._surplus = True  # what follows this piece, if the answer ends in it
            super().data_received(data[at : at + PIECE_BYTES])
            if self.caller is None or self.caller is not caller:
                at = len(data)
                break
            self._surplus = is_surplus
            at += PIECE_BYTES
            spent = time.thread_time() - began
        self._unread = data[at:]
        self._allowance.charge(self, time.thread_time() - began, has_more=bool(self._unread))

    def eof_received(self) -> bool:
        """The service ends the connection; TLS says so in one turn with its last bytes, held or not."""
        unread, self._unread = self._unread, b""
        if unread and self.caller is not None:
            self._take(unread, math.inf)
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """As every connection; what waits its turn in the allowance holds no bytes."""
        self._unread = b""
        super().connection_lost(exc)

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
        unread, self._unread = self._unread, b""
        if unread and self.caller is not None:
            self._take(unread)
        if not self.is_held:
            self._read_on()
