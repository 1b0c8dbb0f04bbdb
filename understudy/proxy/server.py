"""What all client connections of one worker share: rules, limits, clock, shutdown."""

import asyncio
import logging
import math
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from understudy.config import Limits
from understudy.engine import Engine
from understudy.forwarding import RequestSpellings
from understudy.metrics import WorkerMetrics
from understudy.proxy.access_log import AccessLog
from understudy.proxy.connection import ClientConnection
from understudy.proxy.door import Door, Handshake
from understudy.proxy.doors import Doors
from understudy.proxy.exchange import Exchange
from understudy.proxy.faults import Faults
from understudy.proxy.forwarded import X_FORWARDED, Forwarder
from understudy.proxy.heads import Fields, Way
from understudy.proxy.line import (
    ANSWERING,
    BODY,
    CLOSING,
    ENDING,
    HEAD,
    IDLE,
    LINGERING,
    TUNNEL,
    WAITING,
)
from understudy.proxy.overload import NO_COPIES, NO_REQUESTS, Overload
from understudy.proxy.tape import Tape
from understudy.shadow import Mirror
from understudy.tracing import RequestIds
from understudy.upstream import Outgoing

log = logging.getLogger("understudy.proxy")

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at; far below the shortest of them (1 s)."""

LINGER_SECONDS: Final = 1.0

DRAIN_HANDSHAKE_SECONDS: Final = 2.0
"""What a TLS client that connected before a drain has for its handshake: a few round trips anywhere."""

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
        self.clock = clock
        self.outgoing = outgoing
        self._faults = Faults("a request could not be handled", log)
        self.via_id = via_id
        self.via_field = b"Via: 1.1 %b\r\n" % via_id
        self.connections: set[ClientConnection] = set()
        self.handshakes: weakref.WeakSet[Handshake] = weakref.WeakSet()
        self.is_draining = False
        self.tunnels = 0
        self._forwarded = forwarded
        self.request_ids = request_ids
        self.spellings = RequestSpellings(b"" if request_ids is None else request_ids.name)
        self.access_log = access_log
        self.refuses = False
        self.tape: Tape | None = None
        """What takes requests into a recording, while there is one."""
        self.overload = Overload(memory_bytes)
        self.doors = Doors(
            loop=loop,
            shut=metrics.accept_pauses,
            most_connections=client_connections,
            files=files,
        )
        self._bind(limits, trusted_proxies)

    def reload(
        self,
        limits: Limits,
        trusted_proxies: tuple[str, ...],
        *,
        forwarded: str = X_FORWARDED,
        request_ids: RequestIds | None = None,
        memory_bytes: int = 0,
        client_connections: int = 0,
    ) -> None:
        """From now on these apply, to connections that are open too."""
        self._forwarded = forwarded
        self.request_ids = request_ids
        self.spellings = RequestSpellings(b"" if request_ids is None else request_ids.name)
        self.overload.limit_bytes = memory_bytes
        self.doors.limit(client_connections)
        self._bind(limits, trusted_proxies)
        for connection in self.connections:
            connection.judge_peer()

    def _bind(self, limits: Limits, trusted_proxies: tuple[str, ...]) -> None:
        self.limits = limits
        self.body_byte_seconds = 1 / limits.body_rate_bytes if limits.body_rate_bytes else math.inf
        self.forwarder = Forwarder(trusted=trusted_proxies, form=self._forwarded, via_field=self.via_field)
        self._seconds = {
            IDLE: limits.keep_alive_timeout,
            HEAD: limits.head_timeout,
            BODY: limits.body_idle_timeout,
            WAITING: limits.body_idle_timeout,
            ANSWERING: limits.body_idle_timeout,
            LINGERING: LINGER_SECONDS,
            CLOSING: limits.body_idle_timeout,
            ENDING: LINGER_SECONDS,
            TUNNEL: limits.tunnel_idle_timeout,
        }

    async def serve(self, sockets: list[socket.socket], *, tls: ssl.SSLContext | None = None) -> None:
        """Accept on *sockets*, with *tls* if given; returns once it does."""
        for bound in sockets:
            is_unix = bound.family == socket.AF_UNIX
            door = Door(proxy=self, is_unix=is_unix, tls=tls, handshake_seconds=self.limits.head_timeout)
            await self.doors.open(bound, door)

    async def drain(
        self, seconds: float, *, wait: Callable[[float], Awaitable[None]], is_succeeded: bool = False
    ) -> int:
        """Stop accepting, finish what runs for at most *seconds*; the number of requests cut off.

        Every answer from now on closes its connection. Who connected before the listeners close is
        served, and an idle connection is left a moment for the request that may be on its way. With
        *is_succeeded* somebody else accepts on the same sockets already, and gets who waits there.
        *wait* sleeps that many seconds.
        """
        self.is_draining = True
        if is_succeeded:
            self.doors.leave()
        await wait(SWEEP_SECONDS)
        await self.doors.close()
        left, quiet = seconds - SWEEP_SECONDS, DRAIN_IDLE_SECONDS
        while (self.connections or self._are_shaking_hands()) and left > 0:
            if quiet <= 0:
                for connection in list(self.connections):
                    connection.drain()
            await wait(SWEEP_SECONDS)
            left -= SWEEP_SECONDS
            quiet -= SWEEP_SECONDS
        cut = len(self.connections)
        if cut:
            self.metrics.errors["cut_drain"] += cut
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

    def gave_up_copies(self, resident_bytes: int) -> bool:
        """Whether copies under way were given up, because so much is the limit: weigh again before `guard`.

        Copies may fill what is left between two looks; no request is refused for what they hold.
        """
        if self.refuses or not self.overload.is_over(resident_bytes) or not self.mirror.held:
            return False
        self.mirror.cancel_all("memory")
        return True

    def guard(self, *, resident_bytes: int, next_file: int) -> None:
        """Shed work by what the worker holds; call it every tenth of a second."""
        before = self.overload.stage
        stage = self.overload.weigh(resident_bytes)
        is_short = self.doors.check(len(self.connections), next_file)
        self.mirror.barred = "memory" if stage else "files" if is_short else ""
        self.refuses = stage == NO_REQUESTS
        if stage > before:
            log.warning("%d MiB of memory held: %s", resident_bytes >> 20, SHED[stage])
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

    def _are_shaking_hands(self) -> bool:
        late = self.clock.now - DRAIN_HANDSHAKE_SECONDS
        return any(handshake.since > late for handshake in self.handshakes)

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
        self.metrics.tunnels = self.tunnels

    def seconds_for(self, phase: int, exchange: Exchange | None) -> float:
        """How long *phase* may last."""
        if exchange is not None and exchange.plan is not None:
            if phase == WAITING:
                return exchange.plan.first_byte_seconds
            if phase == ANSWERING:
                return exchange.plan.idle_seconds
        return self._seconds[phase]

    def way(self, fields: Fields, peer: str, scheme: bytes) -> Way:
        """How a request that a trusted *peer* sends came to it: made once for its fields."""
        way = fields.way
        if way is None:
            way = fields.way = self.forwarder.way(fields, peer, scheme)
        return way

    def log_fault(self, error: BaseException) -> None:
        """A fault of ours: logged with its trace, within bounds, never shown to a client."""
        self._faults.tell(error)
