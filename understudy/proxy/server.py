"""What all client connections of one worker share: rules, limits, clock, shutdown."""

import asyncio
import ipaddress
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from understudy.config import Limits
from understudy.engine import Engine
from understudy.metrics import WorkerMetrics
from understudy.proxy.connection import (
    ANSWERING,
    BODY,
    CLOSING,
    HEAD,
    IDLE,
    LINGERING,
    TUNNEL,
    WAITING,
    ClientConnection,
)
from understudy.proxy.exchange import Exchange
from understudy.proxy.heads import Fields, forwarded_hops, forwarded_lines
from understudy.shadow import Mirror
from understudy.upstream import Outgoing

log = logging.getLogger("understudy.proxy")

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at; far below the shortest of them (1 s)."""

LINGER_SECONDS: Final = 1.0

DRAIN_IDLE_SECONDS: Final = 0.5
"""Longer than any way to us: a client cannot know that we are leaving before we say so."""


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
        scheme: str = "http",
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
        self.tunnels = 0
        self.body_byte_seconds = 1 / limits.body_rate_bytes if limits.body_rate_bytes else math.inf
        self._scheme = scheme.encode("ascii")
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted_proxies]
        self._servers: dict[asyncio.Server, socket.socket] = {}
        self._seconds = {
            IDLE: limits.keep_alive_timeout,
            HEAD: limits.head_timeout,
            BODY: limits.body_idle_timeout,
            WAITING: limits.body_idle_timeout,
            ANSWERING: limits.body_idle_timeout,
            LINGERING: LINGER_SECONDS,
            CLOSING: limits.body_idle_timeout,
            TUNNEL: limits.tunnel_idle_timeout,
        }

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Accept on *sockets*; returns once it does."""
        for bound in sockets:
            server = await self.loop.create_server(lambda: ClientConnection(self), sock=bound, backlog=4096)
            self._servers[server] = bound

    async def drain(self, seconds: float, *, wait: Callable[[float], Awaitable[None]]) -> int:
        """Stop accepting, finish what runs for at most *seconds*; the number of requests cut off.

        Every answer from now on closes its connection. Who connected before the listeners close is
        served, and an idle connection is left a moment for the request that may be on its way.
        *wait* sleeps that many seconds.
        """
        self.is_draining = True
        await wait(SWEEP_SECONDS)
        await self._close_listeners()
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

    async def _close_listeners(self) -> None:
        """Take what stands in their queues, then close them: the kernel would reset who is left there."""
        accepted: list[socket.socket] = []
        for server, bound in self._servers.items():
            try:
                while True:
                    accepted.append(bound.accept()[0])
            except OSError:
                server.close()  # BlockingIOError: the queue is empty
        self._servers.clear()
        for connected in accepted:
            connected.setblocking(False)
            await self.loop.connect_accepted_socket(lambda: ClientConnection(self), connected)

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

    def trusts(self, peer: str) -> bool:
        """Whether *peer*'s forwarding fields are believed."""
        if not self._trusted or not peer:
            return False
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._trusted)

    def client_ip(self, fields: Fields, peer: str) -> str:
        """The address of the client behind trusted *peer*: the right-most hop that is not trusted."""
        found = peer
        for hop in reversed(forwarded_hops(fields)):
            try:
                is_trusted = self.trusts(hop.decode("latin-1"))
            except ValueError:
                break
            found = hop.decode("latin-1")
            if not is_trusted:
                break
        return found

    def forward_fields(self, peer: str) -> bytes:
        """The forwarding fields that are the same for every request of an untrusted connection."""
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n%b" % (
            peer.encode("ascii") or b"unknown",
            self._scheme,
            self.via_field,
        )

    def added_fields(self, forward: bytes, host: bytes) -> bytes:
        """All forwarding fields of a request for *host*."""
        return b"%bX-Forwarded-Host: %b\r\n" % (forward, host.strip(b" \t")) if host else forward

    def trusted_fields(self, fields: Fields, peer: str) -> bytes:
        """All forwarding fields of a request that a trusted *peer* sends."""
        host = (fields.host or b"").strip(b" \t")
        lines = forwarded_lines(fields, peer=peer.encode("ascii"), scheme=self._scheme, host=host)
        return lines + self.via_field

    def log_fault(self, error: BaseException) -> None:
        """A fault of ours: logged with its trace, never shown to a client."""
        log.error("a request could not be handled", exc_info=error)
