"""The control process's end of the link: who is connected, what each has, what each counted."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import orjson

from understudy.app.past import Past
from understudy.exposures import Told, read_told
from understudy.link import Batch, Frames, Kind, LinkError, Reel, decode_batch, decode_reel, json_frame
from understudy.metrics import fold

log = logging.getLogger("understudy.control")


PAST: Final = "past "
"""Before a worker's name: the sum of its snapshots that are gone for good."""

MOST_GONE: Final = 64
"""Last snapshots kept apart, for a worker that lost its link alone comes back; older ones are added up."""


class Workers:
    """Hands rules to every worker, now and when it connects; keeps the latest snapshot of each.

    The last snapshot of a worker that is gone stays, marked ``gone``, so that sums never fall; in *past* it
    outlives this process too. *on_ahead* is told of a worker whose rules are newer than those it would be
    handed.
    """

    def __init__(
        self,
        *,
        on_batch: Callable[[str, Batch], None],
        on_ahead: Callable[[int, Mapping[str, Any]], None],
        past: Past,
        on_reel: Callable[[Reel], None] = lambda _reel: None,
        on_exposures: Callable[[Told], None] = lambda _told: None,
    ) -> None:
        self.snapshots, awaited = past.load()
        self._past = past
        self._awaited = set(awaited)
        self._heard = 0
        self._on_batch = on_batch
        self._on_ahead = on_ahead
        self._on_reel = on_reel
        self._on_exposures = on_exposures
        self._links: set[WorkerConnection] = set()
        self._rules: bytes | None = None
        self._settings: bytes | None = None
        self._tape: bytes | None = None
        self._changed = asyncio.Event()

    def connection(self) -> "WorkerConnection":
        """Protocol factory."""
        return WorkerConnection(self)

    def set_rules(self, version: int, document: Mapping[str, Any]) -> None:
        """Send these rules to all, and from now on to whoever connects."""
        self._rules = json_frame(Kind.RULES, {"version": version, "document": document})
        for link in self._links:
            link.send(self._rules)

    def set_settings(self, number: int, document: Mapping[str, Any]) -> None:
        """Send these settings to all, and from now on to whoever connects, before any rules."""
        self._settings = json_frame(Kind.SETTINGS, {"number": number, "document": document})
        for link in self._links:
            link.send(self._settings)

    def set_tape(self, wanted: Mapping[str, Any] | None) -> None:
        """Let all, and whoever connects from now on, record what *wanted* says; None: nothing."""
        tape = json_frame(Kind.TAPE, wanted or {"number": 0})
        self._tape = tape if wanted else None
        for link in self._links:
            link.send(tape)

    async def settled(self, number: int, *, seconds: float) -> tuple[int, int]:
        """Wait, at most *seconds*, until every worker answered for *number*: (workers, follow it)."""
        try:
            async with asyncio.timeout(seconds):
                while any(link.settled < number for link in self._links):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("not every worker has the reloaded settings yet")
        named = [link for link in self._links if link.source]
        return len(named), sum(link.settled >= number and not link.refusal for link in named)

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

    def has_heard(self, workers: int) -> bool:
        """Whether so many told their counts to this process, and all who told them to the one before it."""
        return not self._awaited and self._heard >= workers

    def acknowledge(self, source: str, sequence: int) -> None:
        """Tell *source* that its batch is stored."""
        for link in self._links:
            if link.source == source:
                link.send(json_frame(Kind.ACK, {"sequence": sequence}))

    # -- told by connections --------------------------------------------------------------------------

    def joined(self, link: "WorkerConnection") -> None:
        self._links.add(link)
        if self._settings is not None:
            link.send(self._settings)
        if self._rules is not None:
            link.send(self._rules)
        if self._tape is not None:
            link.send(self._tape)

    def left(self, link: "WorkerConnection") -> None:
        self._links.discard(link)
        snapshot = self.snapshots.pop(link.source, None)
        if snapshot is not None:
            self.snapshots[link.source] = {**snapshot, "gone": True}  # last of the gone
            self._fold_oldest()
            self._keep()
        self._changed.set()

    def _fold_oldest(self) -> None:
        gone = [source for source, snapshot in self.snapshots.items() if snapshot.get("gone")]
        apart = [source for source in gone if not source.startswith(PAST)]
        for source in apart[:-MOST_GONE]:
            snapshot = self.snapshots.pop(source)
            past = PAST + snapshot["worker"]
            self.snapshots[past] = fold(self.snapshots.get(past, {}), snapshot)

    def _told(self, link: "WorkerConnection", counts: Mapping[str, Any]) -> None:
        is_new = link.source not in self._alive()
        self.snapshots[link.source] = {**counts, "worker": link.name}
        self._awaited.discard(link.source)
        if is_new:
            self._heard += 1
            self._keep()

    def _alive(self) -> list[str]:
        return [source for source, snapshot in self.snapshots.items() if not snapshot.get("gone")]

    def _keep(self) -> None:
        gone = {source: snapshot for source, snapshot in self.snapshots.items() if snapshot.get("gone")}
        self._past.keep(gone, self._alive())

    def heard(self, link: "WorkerConnection", kind: Kind, payload: bytes) -> None:
        if kind == Kind.BATCH:
            self._on_batch(link.source, decode_batch(payload))
            return
        if kind == Kind.TAKEN:
            self._on_reel(decode_reel(payload))
            return
        message = orjson.loads(payload)
        if kind == Kind.EXPOSURES:
            self._on_exposures(read_told(message))
        elif kind == Kind.HELLO:
            link.source, link.name = message["source"], message["worker"]
            if message["document"] is not None:
                self._on_ahead(message["version"], message["document"])
        elif kind == Kind.APPLIED:
            link.answered = message["version"]
            if message["error"]:
                log.error("worker %s refuses rules: %s", link.source, message["error"])
            else:
                link.version = message["version"]
            self._changed.set()
        elif kind == Kind.SETTLED:
            link.settled, link.refusal = message["number"], message["error"]
            if link.refusal:
                log.error("worker %s refuses settings: %s", link.source, link.refusal)
            self._changed.set()
        elif kind == Kind.METRICS:
            self._told(link, message)


class WorkerConnection(asyncio.Protocol):
    """One worker on the link. ``version`` is what it has in force, ``answered`` what it last spoke of;
    ``settled`` is the number of the settings it last spoke of, ``refusal`` why it did not take them."""

    def __init__(self, workers: Workers) -> None:
        self.source = ""
        self.name = ""
        self.version = -1
        self.answered = -1
        self.settled = -1
        self.refusal = ""
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
        except (LinkError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            log.error("worker %s sent what is not a frame: %s", self.source or "(unnamed)", error)
            if self._transport is not None:
                self._transport.abort()
