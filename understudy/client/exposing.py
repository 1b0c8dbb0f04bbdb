"""Exposures on their way to the server: gathered, sent in batches, never waited for, never without bound."""

import asyncio
import logging
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from understudy.client.trouble import MOST_RETRY_SECONDS, Trouble
from understudy.client.wire import Wire

log = logging.getLogger("understudy.client")
MOST_WAITING: Final = 10_000
"""Exposures that wait: about 3 MiB. More are dropped and counted."""
BATCH: Final = 1000
"""What the server takes at once."""
MOST_UNIT_CHARACTERS: Final = 512
"""What the server takes of a unit."""
_MOST_BYTES: Final = 512 * 1024
"""Of a batch; the server takes 1 MiB."""
EVERY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
"""How soon it is seen that a whole batch waits: up to 10,000 exposures a second are sent, not dropped."""
_HOPELESS: Final = frozenset((400, 404, 405, 413, 415, 422))
"""Refusals that sending the same again would only repeat; a token may be renewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    id: str
    exposures: list[dict[str, Any]]


class Exposing:
    """Takes exposures from any thread, and sends them while `run` runs.

    A unit that meets the same variant again and again between two sendings is told of once. A batch that may
    have arrived is sent again under the same id, so that it counts once.
    """

    def __init__(self, *, every_seconds: float = EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._batches: deque[_Batch] = deque()
        self._put_off_seconds = 0.0
        self.sent = 0
        self.dropped = 0
        self.error = ""
        self.renew()

    def renew(self) -> None:
        """Begin anew, in a forked process: what waits is the parent's to send."""
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str, str], float] = {}
        self._batches.clear()

    def offer(self, flag: str, variant: str, unit: str, at: float) -> None:
        """Take it, or count it as dropped. Never waits for the server."""
        key = (flag, variant, unit)
        with self._lock:
            if key in self._waiting:
                return
            if len(self._waiting) >= MOST_WAITING or not _is_sayable(unit):
                self.dropped += 1
            else:
                self._waiting[key] = at

    async def run(self, wire: Wire) -> None:
        """Send what there is now and then, until it is cancelled."""
        while True:
            await self._due()
            await self.send(wire)

    def end(self) -> None:
        """What still waits is lost, and counted."""
        self._gather()
        self.dropped += sum(len(batch.exposures) for batch in self._batches)
        self._batches.clear()

    async def _due(self) -> None:
        """Wait until a whole batch is there, or the time has come; that alone, after trouble."""
        until = time.monotonic() + max(self._every_seconds, self._put_off_seconds)
        self._put_off_seconds = 0.0
        while (left := until - time.monotonic()) > 0:
            if len(self._waiting) >= BATCH and not self._batches:
                return
            await asyncio.sleep(min(left, _LOOK_SECONDS))

    async def send(self, wire: Wire) -> None:
        """Send what there is, as far as the server takes it. Raises nothing."""
        try:
            await self._send(wire)
        except Exception as error:  # sending is isolated: what nobody foresaw must not end it
            log.exception("exposures could not be sent")
            self.error = f"unexpected: {type(error).__name__}: {error}"

    async def _send(self, wire: Wire) -> None:
        self._gather()
        while self._batches:
            batch = self._batches[0]
            try:
                await wire.expose({"exposures": batch.exposures, "batch": batch.id})
            except Trouble as trouble:
                self.error = str(trouble)
                if trouble.status not in _HOPELESS:
                    self._put_off_seconds = min(trouble.retry_after_seconds, MOST_RETRY_SECONDS)
                    return
                self.dropped += len(batch.exposures)
            else:
                self.sent += len(batch.exposures)
            self._batches.popleft()

    def _gather(self) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting.items()), {}
        exposures: list[dict[str, Any]] = []
        size = 0
        for (flag, variant, unit), at in waiting:
            # JSON may write a character as twelve: \ud83d\ude00.
            bytes_at_most = 100 + 12 * (len(flag) + len(variant) + len(unit))
            if len(exposures) == BATCH or size + bytes_at_most > _MOST_BYTES:
                self._batches.append(_Batch(id=str(uuid.uuid4()), exposures=exposures))
                exposures, size = [], 0
            exposures.append({"flag": flag, "variant": variant, "unit": unit, "at": at})
            size += bytes_at_most
        if exposures:
            self._batches.append(_Batch(id=str(uuid.uuid4()), exposures=exposures))
        while sum(len(batch.exposures) for batch in self._batches) > MOST_WAITING:
            self.dropped += len(self._batches.popleft().exposures)


def _is_sayable(unit: str) -> bool:
    """Whether the server takes it; for one too long, or no Unicode, it would refuse the whole batch."""
    try:
        unit.encode()
    except UnicodeEncodeError:
        return False
    return len(unit) <= MOST_UNIT_CHARACTERS
