"""The faults a connection can suffer, and when those of one direction change."""

import asyncio
from dataclasses import dataclass
from typing import TypeVar


def _check(is_valid: bool, what: str) -> None:
    if not is_valid:
        raise ValueError(f"fault: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Every byte, and the end, comes *seconds* ± *jitter_seconds* later, in order.

    What comes meanwhile is delayed alongside, not behind it, up to 256 KiB at a time.
    """

    seconds: float
    jitter_seconds: float = 0.0

    def __post_init__(self) -> None:
        _check(0 <= self.jitter_seconds <= self.seconds, "jitter must lie between 0 and the latency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """No more than *bytes_per_second* on each connection, in pieces worth 20 ms or of one byte.

    Room not used is kept for 20 ms.
    """

    bytes_per_second: float

    def __post_init__(self) -> None:
        _check(self.bytes_per_second > 0, "a bandwidth must be more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose:
    """The end of the stream (FIN) is passed on *seconds* after it came."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Bytes and the end are swallowed, and lost for good.

    The connection is closed *seconds* after the fault was set or the connection began, whichever is
    later; with None it is not closed.
    """

    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Both peers get a reset (RST) once a connection has passed *after_bytes* in its life; 0 is at once.

    The bytes before it arrive only as far as the receiver's window has room, as with any reset.
    """

    after_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer:
    """Bytes are sent in pieces of at most *size_bytes*, with a pause of *pause_seconds* after each."""

    size_bytes: int
    pause_seconds: float = 0.0

    def __post_init__(self) -> None:
        _check(self.size_bytes > 0, "a slice must have at least 1 byte")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData:
    """The connection is closed in order, both ways, once it has passed *after_bytes* in its life.

    Peers get up to 1 s to read what was sent and to end; what they send meanwhile is lost.
    """

    after_bytes: int


Fault = Latency | Bandwidth | SlowClose | Timeout | Reset | Slicer | LimitData
F = TypeVar("F", Latency, Bandwidth, SlowClose, Timeout, Reset, Slicer, LimitData)


class Direction:
    """What one direction of a `FaultProxy` suffers, on present and future connections.

    ``passed_bytes`` and ``swallowed_bytes`` count over all connections so far.
    """

    def __init__(self) -> None:
        self.faults: tuple[Fault, ...] = ()
        self.passed_bytes = 0
        self.swallowed_bytes = 0
        self._changed = asyncio.Event()

    def set(self, *faults: Fault) -> None:
        """Suffer exactly *faults* from now on; none heals. Waits that the former faults caused end.

        Raises ValueError when two are of one kind.
        """
        _check(len({type(fault) for fault in faults}) == len(faults), "two of one kind in one direction")
        self.faults = faults
        former, self._changed = self._changed, asyncio.Event()
        former.set()

    def find(self, kind: type[F]) -> F | None:
        """The fault of that *kind*, if it is suffered now."""
        return next((fault for fault in self.faults if isinstance(fault, kind)), None)

    async def has_changed(self, *, within_seconds: float | None) -> bool:
        """Whether the faults were changed before the time was over; None waits for it."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def pause(self, seconds: float) -> None:
        """Wait, at least one turn of the loop, but not over a change of the faults."""
        if seconds > 0:
            await self.has_changed(within_seconds=seconds)
        else:
            await asyncio.sleep(0)
