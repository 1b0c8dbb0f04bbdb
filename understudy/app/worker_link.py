"""The worker's end of the link: keeps connected, takes rules, sends evidence without ever waiting."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from time import time
from typing import Final, cast

import orjson

from understudy.config import Rules, parse_rules, routed
from understudy.engine import Engine
from understudy.errors import UnderstudyError
from understudy.exposures import Told
from understudy.link import (
    Batch,
    Frames,
    Kind,
    LinkError,
    Outbox,
    Reel,
    encode_batch,
    encode_reel,
    frame,
    json_frame,
)
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
        reload: Callable[[Mapping[str, object]], None],
        record: Callable[[Mapping[str, object] | None], None] = lambda _wanted: None,
    ) -> None:
        self.has_rules = asyncio.Event()
        self._path = path
        self._hello = {"worker": name, "pid": os.getpid(), "source": source}
        self._document: object = None
        self._rules: Rules | None = None
        self._engine = engine
        self.services = services
        self._reload = reload
        self._record = record
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
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                log.warning("the control process does not read: the last evidence is not delivered")

    def send_evidence(self) -> bool:
        """Send the next batch if the last one was acknowledged; True when nothing is left to say."""
        if self._transport is None or self._is_paused:
            return False
        try:
            batch = self._outbox.next_batch()
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            self._broke("evidence could not be collected")
            return False
        if batch is not None:
            self._transport.write(self._said(batch))
        return self._outbox.under_way is None and not len(self._outbox)

    def _said(self, batch: Batch) -> bytes:
        """*batch* on the wire; without its pairs when these cannot be said."""
        try:
            return frame(Kind.BATCH, encode_batch(batch))
        except Exception:  # noqa: BLE001  else this batch would stop all that follow
            self._broke("a batch of evidence could not be written")
        stripped = self._outbox.strip()
        return b"" if stripped is None else frame(Kind.BATCH, encode_batch(stripped))

    def _broke(self, what: str) -> None:
        self._metrics.mirror_errors += 1
        log.exception("%s", what)

    def send_metrics(self) -> None:
        """Send the cumulative counts."""
        if self._transport is not None and not self._is_paused:
            self._transport.write(json_frame(Kind.METRICS, self._metrics.snapshot()))

    def send_reel(self, reel: Reel) -> None:
        """Send what was recorded. Nobody sends it again: a recording may have gaps, which are told."""
        if self._transport is not None:
            self._transport.write(frame(Kind.TAKEN, encode_reel(reel)))

    def send_exposures(self, told: Told) -> None:
        """Send who met what. Nobody sends it again: these are figures, not evidence."""
        if self._transport is not None:
            self._transport.write(json_frame(Kind.EXPOSURES, told.plain()))

    @property
    def is_clear(self) -> bool:
        """Whether the control process takes what is written."""
        return self._transport is not None and not self._is_paused

    # -- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._frames = Frames()
        self._is_paused = False
        rules = {"version": self._engine.version, "document": self._document}
        transport.write(json_frame(Kind.HELLO, {**self._hello, **rules}))
        if self._outbox.under_way is not None:
            transport.write(self._said(self._outbox.under_way))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._record(None)  # nobody is left to record for
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
                elif kind == Kind.SETTINGS:
                    self._settle(orjson.loads(payload))
                elif kind == Kind.TAPE:
                    wanted = orjson.loads(payload)
                    self._record(wanted if wanted["number"] else None)
                elif kind == Kind.ACK:
                    self._outbox.acknowledge(orjson.loads(payload)["sequence"])
                    if len(self._outbox) >= BACKLOG_PAIRS:
                        self.send_evidence()
        except (LinkError, orjson.JSONDecodeError, KeyError, TypeError) as error:
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
            error = self._swap(message["document"], version)
        if self._transport is not None:
            self._transport.write(json_frame(Kind.APPLIED, {"version": version, "error": error}))

    def _settle(self, message: Mapping[str, object]) -> None:
        """Put reloaded settings in force, and say whether that could be."""
        document = message["document"]
        error = ""
        try:
            self._reload(document if isinstance(document, Mapping) else {})
        except UnderstudyError as refusal:
            error = str(refusal)
        except Exception as fault:
            # A fault in reading settings must not cost the link: those in force stay.
            log.exception("reloaded settings could not be read")
            error = f"{type(fault).__name__}: {fault}"
        if self._transport is not None:
            number = message["number"]
            self._transport.write(json_frame(Kind.SETTLED, {"number": number, "error": error}))

    def _swap(self, document: object, version: int) -> str:
        """Put *document* in force; why not, when it was refused."""
        try:
            rules = parse_rules(routed(document), services=self.services, before=self._rules)
            self._engine.swap(rules, version)
            self._rules = rules
        except UnderstudyError as refusal:
            log.error("rules version %d refused: %s", version, refusal)
            return str(refusal)
        except Exception as fault:
            # A fault in reading rules must not cost the link: the rules in force stay.
            log.exception("rules version %d could not be read", version)
            return f"{type(fault).__name__}: {fault}"
        self._document = document
        self._metrics.rules_loaded_at = time()
        self.has_rules.set()
        return ""
