"""What all client connections of one worker share: rules, limits, clock, shutdown."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from understudy.config import Limits
from understudy.engine import Engine
from understudy.forwarding import RequestSpellings
from understudy.metrics import WorkerMetrics
from understudy.proxy.access_log import AccessLog
from understudy.proxy.connection import (
    ANSWERING,
    BODY,
    CLOSING,
    HEAD,
    IDLE,
    LINGERING,
    WAITING,
    ClientConnection,
)
from understudy.proxy.doors import Doors
from understudy.proxy.exchange import Exchange
from understudy.proxy.forwarded import X_FORWARDED, Forwarder
from understudy.proxy.heads import Fields, Way
from understudy.proxy.overload import NO_COPIES, NO_REQUESTS, Overload
from understudy.shadow import Mirror
from understudy.tracing import RequestIds
from understudy.upstream import Outgoing

log = logging.getLogger("understudy.proxy")

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at; far below the shortest of them (1 s)."""

LINGER_SECONDS: Final = 1.0

DRAIN_IDLE_SECONDS: Final = 0.5
"""Longer than any way to us: a client cannot know that we are leaving before we say so."""

IDLE_ENOUGH_SECONDS: Final = 1.0
"""What was idle for so long is taken from its client for one that waits outside."""
ROOM_AT_ONCE: Final = 32
"""As NGINX (ngx_drain_connections)."""

SHED: Final = {
    NO_COPIES: "no more copies are sent until there is less",
    NO_REQUESTS: "requests are refused until there is less",
}


@dataclass(slots=True)
class Clock:
    """Monotonic seconds, refreshed by the sweep: good to ``SWEEP_SECONDS``, free to read."""

    now: float = 0.0


class Proxy:
    """One worker's front door. `serve` takes bound, listening sockets; `drain` ends it gracefully."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        mirror: Mirror,
        metrics: WorkerMetrics,
        limits: Limits,
        clock: Clock,
        outgoing: Outgoing,
        via_id: bytes,
        trusted_proxies: tuple[str, ...] = (),
        forwarded: str = X_FORWARDED,
        scheme: str = "http",
        request_ids: RequestIds | None = None,
        access_log: AccessLog | None = None,
        memory_bytes: int = 0,
        client_connections: int = 0,
        files: int = 0,
    ) -> None:
        self.loop = loop
        self.engine = engine
        self.mirror = mirror
        self.metrics = metrics
        self.limits = limits
        self.clock = clock
        self.outgoing = outgoing
        self.via_id = via_id
        self.via_field = b"Via: 1.1 %b\r\n" % via_id
        self.connections: set[ClientConnection] = set()
        self.is_draining = False
        self._scheme = scheme.encode("ascii")
        self.forwarder = Forwarder(trusted=trusted_proxies, form=forwarded, via_field=self.via_field)
        self.request_ids = request_ids
        self.spellings = RequestSpellings(b"" if request_ids is None else request_ids.name)
        self.access_log = access_log
        self.refuses = False
        self.overload = Overload(memory_bytes)
        self.doors = Doors(
            loop=loop,
            protocol=lambda: ClientConnection(self),
            shut=metrics.accept_pauses,
            most_connections=client_connections,
            files=files,
        )
        self._seconds = {
            IDLE: limits.keep_alive_timeout,
            HEAD: limits.head_timeout,
            BODY: limits.body_idle_timeout,
            WAITING: limits.body_idle_timeout,
            ANSWERING: limits.body_idle_timeout,
            LINGERING: LINGER_SECONDS,
            CLOSING: limits.body_idle_timeout,
        }

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Accept on *sockets*; returns once it does."""
        await self.doors.open(sockets)

    async def drain(self, seconds: float, *, wait: Callable[[float], Awaitable[None]]) -> int:
        """Stop accepting, finish what runs for at most *seconds*; the number of requests cut off.

        Every answer from now on closes its connection. Who connected before the listeners close is
        served, and an idle connection is left a moment for the request that may be on its way.
        *wait* sleeps that many seconds.
        """
        self.is_draining = True
        await wait(SWEEP_SECONDS)
        await self.doors.close()
        left, quiet = seconds - SWEEP_SECONDS, DRAIN_IDLE_SECONDS
        while self.connections and left > 0:
            if quiet <= 0:
                for connection in list(self.connections):
                    connection.drain()
            await wait(SWEEP_SECONDS)
            left -= SWEEP_SECONDS
            quiet -= SWEEP_SECONDS
        cut = len(self.connections)
        for connection in list(self.connections):
            connection.cut()
        return cut

    def joined(self, connection: ClientConnection, transport: asyncio.Transport) -> None:
        """A client connected."""
        self.connections.add(connection)
        self.doors.arrived(len(self.connections), transport)

    def left(self, connection: ClientConnection) -> None:
        """A client's connection is lost."""
        self.connections.discard(connection)
        self.doors.left(len(self.connections))

    def guard(self, *, resident_bytes: int, next_file: int) -> None:
        """Shed work by what the worker holds; call it every tenth of a second."""
        before = self.overload.stage
        stage = self.overload.weigh(resident_bytes)
        is_short = self.doors.check(len(self.connections), next_file)
        self.mirror.barred = "memory" if stage else "files" if is_short else ""
        self.refuses = stage == NO_REQUESTS
        if stage > before:
            log.warning("%d MiB of memory held: %s", resident_bytes >> 20, SHED[stage])
        if self.refuses and before != stage:
            self.mirror.cancel_all("memory")
        if self.doors.is_shut:
            self._make_room()
        self.metrics.overload_stage = stage
        self.metrics.is_accepting = self.doors.is_open

    def _make_room(self) -> None:
        """End connections that nobody uses while others wait outside, as NGINX does when it has none left.

        One that has never carried a request has the time of a head.
        """
        used = self.clock.now - IDLE_ENOUGH_SECONDS
        unused = self.clock.now - self.limits.head_timeout
        idle = (c for c in self.connections if c.phase == IDLE and c.mark < (used if c.method else unused))
        for connection in list(islice(idle, ROOM_AT_ONCE)):
            connection.drain()

    def sweep(self, now: float) -> None:
        """Move the clock and end what is late."""
        self.clock.now = now
        for connection in list(self.connections):
            try:
                connection.check_deadline(now)
            except Exception as error:  # noqa: BLE001  one connection is isolated from the others
                self.log_fault(error)
                connection.cut()
        for pool in self.engine.pools:
            pool.sweep(now)
        self.metrics.connections = len(self.connections)

    def seconds_for(self, phase: int, exchange: Exchange | None) -> float:
        """How long *phase* may last."""
        if exchange is not None and exchange.plan is not None:
            if phase == WAITING:
                return exchange.plan.first_byte_seconds
            if phase == ANSWERING:
                return exchange.plan.idle_seconds
        return self._seconds[phase]

    def added_fields(self, peer: str, host: bytes) -> bytes:
        """All forwarding fields of a request for *host* that an untrusted *peer* sends."""
        return self.forwarder.lines(peer, self._scheme, host)

    def way(self, fields: Fields, peer: str) -> Way:
        """How a request that a trusted *peer* sends came to it: made once for its fields."""
        way = fields.way
        if way is None:
            way = fields.way = self.forwarder.way(fields, peer, self._scheme)
        return way

    def log_fault(self, error: BaseException) -> None:
        """A fault of ours: logged with its trace, never shown to a client."""
        log.error("a request could not be handled", exc_info=error)
