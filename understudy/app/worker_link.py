"""The worker's end of the link: keeps connected, takes rules, sends evidence without ever waiting."""

import asyncio
import logging
import os
from collections.abc import Collection
from pathlib import Path
from time import time
from typing import Final, cast

import orjson

from understudy.config import parse_rules
from understudy.engine import Engine
from understudy.errors import UnderstudyError
from understudy.link import Frames, Kind, LinkError, Outbox, encode_batch, frame, json_frame
from understudy.metrics import WorkerMetrics

log = logging.getLogger("understudy.worker")

RETRY_SECONDS: Final = 0.2
CONNECT_SECONDS: Final = 2.0
BACKLOG_PAIRS: Final = 64
"""From so many waiting pairs on, the next batch does not wait for the clock."""


class WorkerLink(asyncio.Protocol):
    """Reconnects for ever; ``has_rules`` is set by the first rules that compiled."""

    def __init__(
        self,
        *,
        path: Path,
        name: str,
        source: str,
        engine: Engine,
        services: Collection[str],
        outbox: Outbox,
        metrics: WorkerMetrics,
    ) -> None:
        self.has_rules = asyncio.Event()
        self._path = path
        self._hello = {"worker": name, "pid": os.getpid(), "source": source}
        self._engine = engine
        self._services = services
        self._outbox = outbox
        self._metrics = metrics
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self._lost = asyncio.Event()
        self._is_paused = False
        self._closing = False

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    async def run(self) -> None:
        """Stay connected until `close`."""
        loop = asyncio.get_running_loop()
        while not self._closing:
            self._lost.clear()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await loop.create_unix_connection(lambda: self, str(self._path))
            except (OSError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._lost.wait()
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Say what is written, then hang up."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._lost.wait()

    def send_evidence(self) -> bool:
        """Send the next batch if the last one was acknowledged; True when nothing is left to say."""
        if self._transport is None or self._is_paused:
            return False
        batch = self._outbox.next_batch()
        if batch is not None:
            self._transport.write(frame(Kind.BATCH, encode_batch(batch)))
        return self._outbox.under_way is None and not len(self._outbox)

    def send_metrics(self) -> None:
        """Send the cumulative counts."""
        if self._transport is not None and not self._is_paused:
            self._transport.write(json_frame(Kind.METRICS, self._metrics.snapshot()))

    # -- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._frames = Frames()
        self._is_paused = False
        transport.write(json_frame(Kind.HELLO, self._hello))
        if self._outbox.under_way is not None:
            transport.write(frame(Kind.BATCH, encode_batch(self._outbox.under_way)))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._lost.set()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._frames.feed(data):
                if kind == Kind.RULES:
                    self._apply(orjson.loads(payload))
                elif kind == Kind.ACK:
                    self._outbox.acknowledge(orjson.loads(payload)["sequence"])
                    if len(self._outbox) >= BACKLOG_PAIRS:
                        self.send_evidence()
        except (LinkError, orjson.JSONDecodeError, KeyError) as error:
            log.error("the control process sent what is not a frame: %s", error)
            if self._transport is not None:
                self._transport.abort()

    def _apply(self, message: dict[str, object]) -> None:
        version = message["version"]
        assert isinstance(version, int)
        error = ""
        if version < self._engine.version:
            error = f"version {version} is older than {self._engine.version}, which is in force"
        else:
            try:
                self._engine.swap(parse_rules(message["document"], services=self._services), version)
            except UnderstudyError as refusal:
                error = str(refusal)
                log.error("rules version %d refused: %s", version, error)
            else:
                self._metrics.rules_loaded_at = time()
                self.has_rules.set()
        if self._transport is not None:
            self._transport.write(json_frame(Kind.APPLIED, {"version": version, "error": error}))
