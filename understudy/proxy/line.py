"""A client's transport: why it is not read, how long it may do nothing, and how it ends.

Ends differ: in order after everything was taken, lingering so that an answer is not destroyed by a reset, or
by a reset, so that nobody takes half an answer for a whole one.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from understudy.proxy.server import Proxy

IDLE, HEAD, BODY, WAITING, ANSWERING, LINGERING, CLOSING, ENDING, TUNNEL = range(9)
"""What a connection waits for; each has its time limit. ENDING is the first moment of CLOSING with TLS."""

LINGER_BYTES: Final = 64 * 1024
"""Read and thrown away after an early answer, so that a reset does not destroy it (RFC 9112 9.6)."""

HOLD_BODY, HOLD_PIPELINE, HOLD_OUTPUT, HOLD_SWITCH, HOLD_TURN = 1, 2, 4, 8, 16
"""Why the client is not read: its body has nowhere to go, its requests stand in line, it does not read,
nobody knows yet what protocol it speaks next, it is another's turn."""

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset, which nobody takes for an end in good order."""


class ClientLine(asyncio.Protocol):
    """See the module. ``mark`` is the coarse time at which ``phase`` last moved on."""

    __slots__ = (
        "_holds",
        "_linger_bytes",
        "_stopped",
        "_unsent_bytes",
        "is_paused",
        "is_tls",
        "is_unix",
        "mark",
        "peer_ip",
        "phase",
        "proxy",
        "scheme",
        "transport",
    )

    def __init__(self, proxy: "Proxy", *, is_unix: bool = False, is_tls: bool = False) -> None:
        self.proxy = proxy
        self.is_unix = is_unix
        self.is_tls = is_tls
        self.scheme = b"https" if is_tls else b"http"
        self.transport: asyncio.Transport | None = None
        self.peer_ip = ""
        self.is_paused = False
        self.phase = IDLE
        self.mark = 0.0
        self._holds = 0
        self._stopped = False
        self._linger_bytes = 0
        self._unsent_bytes = 0

    def write(self, data: bytes) -> None:
        """Send answer bytes; a vanished client swallows them."""
        self.proxy.outgoing.add(self, data)

    def answering(self) -> None:
        """The answer moves: its idle time starts again."""
        self.phase = ANSWERING
        self.mark = self.proxy.clock.now

    def hold_body(self) -> None:
        """Read no more from the client until `release_body`."""
        self._hold(HOLD_BODY)

    def release_body(self) -> None:
        """Read on; the client owes nothing for the time in which it was not read."""
        if self.phase == BODY:
            self.mark = self.proxy.clock.now
        self._release(HOLD_BODY)

    def _hold(self, why: int) -> None:
        if not self._holds and self.transport is not None:
            self.transport.pause_reading()
        self._holds |= why

    def _release(self, why: int) -> None:
        if not self._holds & why:
            return
        self._holds &= ~why
        if not self._holds and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- ends ------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """End the connection so that the client cannot take the answer for whole: by a reset."""
        self._stop()
        if self.transport is not None:
            raw = self.transport.get_extra_info("socket")
            try:
                if raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except OSError:
                pass  # it is gone already
            self.transport.abort()

    def close(self) -> None:
        """Close after what was written has gone out, for as long as the client takes some of it."""
        self._stop()
        if self.transport is not None and self.phase != CLOSING and self.phase != ENDING:
            self.phase = ENDING if self.is_tls else CLOSING
            self.mark = self.proxy.clock.now
            self._unsent_bytes = self._unsent()
            self.transport.close()

    def _stop(self) -> None:
        """Take nothing more; hand over what was written."""
        self._stopped = True
        self.proxy.outgoing.flush()

    def _linger(self) -> None:
        """Say that nothing more comes, but let the client finish saying what it says (RFC 9112 9.6)."""
        self._stop()
        self.phase = LINGERING
        self.mark = self.proxy.clock.now
        self._holds = 0
        if self.transport is not None and not self.transport.is_closing():
            if not self.is_tls:  # TLS has no half-close here; the answer tells its own end
                self.transport.write_eof()
            self.transport.resume_reading()

    def _linger_on(self, size: int) -> None:
        """*size* more bytes came that nobody wants."""
        self._linger_bytes += size
        if self._linger_bytes > LINGER_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def _close_late(self, now: float) -> None:
        """End a closed connection whose client takes nothing of what it still has to get, or, with TLS,
        has all of it and does not say that it has seen the end."""
        left = self._unsent()
        if not left and self.is_tls:
            if self.transport is not None:
                self.transport.abort()
        elif left < self._unsent_bytes or self.phase == ENDING:
            self.phase = CLOSING
            self._unsent_bytes = left
            self.mark = now
        else:
            self.proxy.metrics.errors["cut_client_idle"] += 1
            self.cut()

    def _unsent(self) -> int:
        """Bytes that the client has not got. With TLS a part of them stands where only the kernel tells."""
        if self.transport is None:
            return 0
        size = self.transport.get_write_buffer_size()
        if self.is_tls:
            raw = self.transport.get_extra_info("socket")
            try:
                if raw is not None:
                    size += int.from_bytes(
                        fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder
                    )
            except OSError:
                pass  # it is gone already
        return size


def plain_address(address: str) -> str:
    """*address* without its zone; an IPv4 client of an IPv6 socket under its own name."""
    address = address.partition("%")[0]
    mapped = address.removeprefix("::ffff:")
    return mapped if "." in mapped else address
