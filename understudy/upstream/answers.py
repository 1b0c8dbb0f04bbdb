"""Remember the heads of an origin's whole answers: within a second it mostly gives them again.

Only heads that llhttp has parsed, each in front of exactly the body that its Content-Length says, are
remembered. An answer that begins with the same bytes, and has as many behind them, means the same, so its
head is not parsed again. An origin whose heads never repeat (an id in each) is soon left alone.
"""

from typing import Final

MOST_HEADS: Final = 64
LONGEST_HEAD: Final = 4 * 1024
"""64 heads of 4 KiB are at most 256 KiB for an origin."""

CREDIT: Final = 64
"""So many misses in a row, from the start or after hits, end the looking …"""

PAUSE: Final = 4096
"""… for so many answers."""


class KnownHead:
    """One head as it was read; ``headers`` are the end-to-end ones, and only read.

    ``block`` is for whoever passes it on: its status line and fields as they are sent, once made.
    """

    __slots__ = ("block", "headers", "length", "reason", "size", "status")

    def __init__(
        self, *, size: int, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], length: int
    ) -> None:
        self.size = size
        self.status = status
        self.reason = reason
        self.headers = headers
        self.length = length
        self.block = b""


class KnownHeads:
    """The memory of one origin."""

    __slots__ = ("_credit", "_heads")

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self._credit = CREDIT

    def find(self, data: bytes) -> KnownHead | None:
        """The head of *data* when it is one whole answer with a known head; its body follows at ``size``."""
        if self._credit <= 0:
            self._credit -= 1
            if self._credit < -PAUSE:
                self._credit = CREDIT
            return None
        at = data.find(b"\r\n\r\n", 0, LONGEST_HEAD)
        known = self._heads.get(data[: at + 4]) if at > 0 else None
        if known is None:
            self._credit -= 1
            return None
        if len(data) - known.size != known.length:
            return None
        if self._credit < CREDIT:
            self._credit = CREDIT
        return known

    def learn(
        self, data: bytes, *, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], length: int
    ) -> None:
        """*data* was one whole answer, alone in its read, after which the connection stayed usable."""
        size = data.find(b"\r\n\r\n", 0, LONGEST_HEAD) + 4
        # An interim answer before the final one would be the first head: the sizes tell.
        if size < 4 or len(data) - size != length or self._credit <= 0 or not data.startswith(b"HTTP/1.1 "):
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[data[:size]] = KnownHead(
            size=size, status=status, reason=reason, headers=headers, length=length
        )
