"""The recording that is on: what workers took becomes a HAR, redacted, within bounds, and ends by itself."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import orjson

from understudy import __version__
from understudy.admin.recordings import RecordingBusy, Wanted
from understudy.link import Reel, taken_bytes
from understudy.messages import Taken
from understudy.shadow import Redaction
from understudy.shadow.har import har_entry

MOST_QUEUED_BYTES: Final = 32 * 1024 * 1024
"""What waits for a reader that is slower than the traffic; beyond it requests are missed, and counted."""

BEAT_SECONDS: Final = 1.0
"""A HAR grows by a line end at least so often, so that a reader who left is noticed."""

LAST_REELS_SECONDS: Final = 0.5
"""Workers tell ten times a second; what they took last is waited for."""


class _Running:
    """One recording while it is on."""

    def __init__(self, number: int, wanted: Wanted) -> None:
        self.number = number
        self.wanted = wanted
        self.began_at = time.monotonic()
        self.queue: deque[tuple[int, Taken]] = deque()
        self.queued_bytes = 0
        self.passed = 0
        self.missed: Counter[str] = Counter()
        self.requests = 0
        self.bytes = 0
        self.is_begun = False
        self.ended = ""
        self.changed = asyncio.Event()

    @property
    def is_stale(self) -> bool:
        """Whether whoever asked for it left before it began."""
        return not self.is_begun and time.monotonic() - self.began_at > BEAT_SECONDS

    def heard(self, reel: Reel) -> None:
        self.passed += reel.passed
        self.missed.update(reel.missed)
        for taken in reel.taken:
            size = taken_bytes(taken)
            if self.queued_bytes + size > MOST_QUEUED_BYTES:
                self.missed["reader_slow"] += 1
            else:
                self.queue.append((size, taken))
                self.queued_bytes += size
        self.changed.set()

    def end(self, reason: str) -> None:
        self.ended = self.ended or reason
        self.changed.set()

    def next(self, redaction: Redaction) -> bytes | None:
        """The next entry; None when none waits, or the recording has ended with it."""
        if not self.queue or self.ended:
            return None
        size, taken = self.queue.popleft()
        self.queued_bytes -= size
        entry = (b",\n" if self.requests else b"\n") + har_entry(taken, redaction)
        if self.bytes + len(entry) > self.wanted.max_bytes:
            self.end("max_bytes")
            return None
        self.requests += 1
        self.bytes += len(entry)
        if self.requests >= self.wanted.requests:
            self.end("requests")
        return entry

    async def wait(self) -> None:
        """Until something changes, for a beat at most."""
        left = self.began_at + self.wanted.seconds + LAST_REELS_SECONDS - time.monotonic()
        if left <= 0:
            self.end("seconds")
            return
        self.changed.clear()
        try:
            async with asyncio.timeout(min(BEAT_SECONDS, left)):
                await self.changed.wait()
        except TimeoutError:
            pass

    def summary(self) -> dict[str, Any]:
        """What stands in the HAR beside its entries."""
        return {
            "ended": self.ended,
            "seconds": round(time.monotonic() - self.began_at, 3),
            "requests": self.requests,
            "passed": self.passed,
            "missed": dict(self.missed),
            "share": self.wanted.share,
            "path_prefix": self.wanted.path_prefix,
            "route": self.wanted.route,
            "redacted": True,
        }


class Recordings:
    """One recording at a time. ``announce`` tells workers what to take (None: nothing)."""

    def __init__(self, redaction: Callable[[], Redaction]) -> None:
        self.announce: Callable[[Mapping[str, Any] | None], None] = lambda _wanted: None
        self._redaction = redaction
        self._number = 0
        self._running: _Running | None = None

    def heard(self, reel: Reel) -> None:
        """A worker took something; what belongs to a recording that is over is dropped."""
        if self._running is not None and reel.number == self._running.number:
            self._running.heard(reel)

    def end(self, reason: str) -> bool:
        """End the recording for *reason*; False when there is none."""
        if self._running is not None:
            self._running.end(reason)
        return self._running is not None

    def end_recording(self) -> bool:
        """See `RecordingPlane.end_recording`."""
        return self.end("asked")

    def record(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """See `RecordingPlane.record`."""
        if self._running is not None and not self._running.is_stale:
            raise RecordingBusy
        self._number += 1
        self._running = _Running(self._number, wanted)
        return self._har(self._running)

    async def _har(self, running: _Running) -> AsyncGenerator[bytes, None]:
        if self._running is not running:
            return  # its reader began to listen so late that another one has taken its place
        wanted = running.wanted
        running.is_begun = True
        try:
            self.announce(
                {
                    "number": running.number,
                    "seconds": wanted.seconds,
                    "share": wanted.share,
                    "path_prefix": wanted.path_prefix,
                    "route": wanted.route,
                }
            )
            creator = orjson.dumps({"name": "Understudy", "version": __version__})
            yield b'{"log":{"version":"1.2","creator":%b,"entries":[' % creator
            while not running.ended:
                entry = running.next(self._redaction())
                if entry is not None:
                    yield entry
                    await asyncio.sleep(0)  # the admin server answers between two entries
                elif not running.ended:
                    await running.wait()
                    yield b"\n"
        finally:
            self.announce(None)
            self._running = None
        yield b'\n],"_understudy":%b}}\n' % orjson.dumps(running.summary())
