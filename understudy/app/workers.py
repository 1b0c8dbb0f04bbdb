"""The control process's end of the link: who is connected, what each has, what each counted."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from understudy.link import Batch, Frames, Kind, LinkError, decode_batch, json_frame

log = logging.getLogger("understudy.control")


class Workers:
    """Hands rules to every worker, now and when it connects; keeps the latest snapshot of each.

    The last snapshot of a worker that is gone stays, marked ``gone``, so that sums never fall.
    """

    def __init__(self, *, on_batch: Callable[[str, Batch], None]) -> None:
        self.snapshots: dict[str, dict[str, Any]] = {}
        self._on_batch = on_batch
        self._links: set[WorkerConnection] = set()
        self._rules: bytes | None = None
        self._changed = asyncio.Event()

    def connection(self) -> "WorkerConnection":
        """Protocol factory."""
        return WorkerConnection(self)

    def set_rules(self, version: int, document: Mapping[str, Any]) -> None:
        """Send these rules to all, and from now on to whoever connects."""
        self._rules = json_frame(Kind.RULES, {"version": version, "document": document})
        for link in self._links:
            link.send(self._rules)

    async def applied(self, version: int, *, seconds: float) -> tuple[int, int]:
        """Wait, at most *seconds*, until every worker answered for *version*: (workers, have it)."""
        try:
            async with asyncio.timeout(seconds):
                while any(link.answered < version for link in self._links):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("not every worker has rules version %d yet", version)
        return self.at_version(version)

    def at_version(self, version: int) -> tuple[int, int]:
        """(connected workers, those that have *version* in force)."""
        named = [link for link in self._links if link.source]
        return len(named), sum(link.version >= version for link in named)

    def acknowledge(self, source: str, sequence: int) -> None:
        """Tell *source* that its batch is stored."""
        for link in self._links:
            if link.source == source:
                link.send(json_frame(Kind.ACK, {"sequence": sequence}))

    # -- told by connections --------------------------------------------------------------------------

    def joined(self, link: "WorkerConnection") -> None:
        self._links.add(link)
        if self._rules is not None:
            link.send(self._rules)

    def left(self, link: "WorkerConnection") -> None:
        self._links.discard(link)
        if link.source in self.snapshots:
            self.snapshots[link.source]["gone"] = True
        self._changed.set()

    def heard(self, link: "WorkerConnection", kind: Kind, payload: bytes) -> None:
        if kind == Kind.BATCH:
            self._on_batch(link.source, decode_batch(payload))
            return
        message = orjson.loads(payload)
        if kind == Kind.HELLO:
            link.source = message["source"]
        elif kind == Kind.APPLIED:
            link.answered = message["version"]
            if message["error"]:
                log.error("worker %s refuses rules: %s", link.source, message["error"])
            else:
                link.version = message["version"]
            self._changed.set()
        elif kind == Kind.METRICS:
            self.snapshots[link.source] = message


class WorkerConnection(asyncio.Protocol):
    """One worker on the link. ``version`` is what it has in force, ``answered`` what it last spoke of."""

    def __init__(self, workers: Workers) -> None:
        self.source = ""
        self.version = -1
        self.answered = -1
        self._workers = workers
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._workers.joined(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._workers.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._frames.feed(data):
                self._workers.heard(self, kind, payload)
        except (LinkError, orjson.JSONDecodeError, KeyError) as error:
            log.error("worker %s sent what is not a frame: %s", self.source or "(unnamed)", error)
            if self._transport is not None:
                self._transport.abort()
