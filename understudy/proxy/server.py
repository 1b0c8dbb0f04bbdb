"""What all client connections of one worker share: rules, limits, clock, shutdown."""

import asyncio
import ipaddress
import logging
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from understudy.config import Limits
from understudy.config.address import UNIX_PEERS
from understudy.engine import Engine
from understudy.metrics import WorkerMetrics
from understudy.proxy.connection import (
    ANSWERING,
    BODY,
    CLOSING,
    ENDING,
    HEAD,
    IDLE,
    LINGERING,
    WAITING,
    ClientConnection,
)
from understudy.proxy.door import Door, Handshake
from understudy.proxy.exchange import Exchange
from understudy.proxy.heads import Fields, forwarded_hops, forwarded_lines
from understudy.shadow import Mirror
from understudy.upstream import Outgoing

log = logging.getLogger("understudy.proxy")

SWEEP_SECONDS: Final = 0.1
"""How often deadlines are looked at; far below the shortest of them (1 s)."""

LINGER_SECONDS: Final = 1.0

DRAIN_HANDSHAKE_SECONDS: Final = 2.0
"""What a TLS client that connected before a drain has for its handshake: a few round trips anywhere."""

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
    ) -> None:
        self.loop = loop
        self.engine = engine
        self.mirror = mirror
        self.metrics = metrics
        self.clock = clock
        self.outgoing = outgoing
        self.via_id = via_id
        self.via_field = b"Via: 1.1 %b\r\n" % via_id
        self.connections: set[ClientConnection] = set()
        self.handshakes: weakref.WeakSet[Handshake] = weakref.WeakSet()
        self.is_draining = False
        self._servers: dict[asyncio.Server, tuple[socket.socket, Door]] = {}
        self._bind(limits, trusted_proxies)

    def reload(self, limits: Limits, trusted_proxies: tuple[str, ...]) -> None:
        """From now on these apply, to connections that are open too."""
        self._bind(limits, trusted_proxies)
        for connection in self.connections:
            connection.judge_peer()

    def _bind(self, limits: Limits, trusted_proxies: tuple[str, ...]) -> None:
        self.limits = limits
        self._trusts_unix = UNIX_PEERS in trusted_proxies
        self._trusted = [
            ipaddress.ip_network(network, strict=False)
            for network in trusted_proxies
            if network != UNIX_PEERS
        ]
        self._seconds = {
            IDLE: limits.keep_alive_timeout,
            HEAD: limits.head_timeout,
            BODY: limits.body_idle_timeout,
            WAITING: limits.body_idle_timeout,
            ANSWERING: limits.body_idle_timeout,
            LINGERING: LINGER_SECONDS,
            CLOSING: limits.body_idle_timeout,
            ENDING: LINGER_SECONDS,
        }

    async def serve(self, sockets: list[socket.socket], *, tls: ssl.SSLContext | None = None) -> None:
        """Accept on *sockets*, with *tls* if given; returns once it does."""
        for bound in sockets:
            is_unix = bound.family == socket.AF_UNIX
            door = Door(proxy=self, is_unix=is_unix, tls=tls, handshake_seconds=self.limits.head_timeout)
            if is_unix:
                server = await self.loop.create_unix_server(door.client, sock=bound, backlog=4096)
            else:
                server = await self.loop.create_server(door.client, sock=bound, backlog=4096, **door.options)
            self._servers[server] = (bound, door)

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
            for server in self._servers:
                server.close()
            self._servers.clear()
        await wait(SWEEP_SECONDS)
        await self._close_listeners()
        left, quiet = seconds - SWEEP_SECONDS, DRAIN_IDLE_SECONDS
        while (self.connections or self._are_shaking_hands()) and left > 0:
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

    def _are_shaking_hands(self) -> bool:
        late = self.clock.now - DRAIN_HANDSHAKE_SECONDS
        return any(handshake.since > late for handshake in self.handshakes)

    async def _close_listeners(self) -> None:
        """Take what stands in their queues, then close them: the kernel would reset who is left there."""
        accepted: list[tuple[socket.socket, Door]] = []
        for server, (bound, door) in self._servers.items():
            try:
                while True:
                    accepted.append((bound.accept()[0], door))
            except OSError:
                server.close()  # BlockingIOError: the queue is empty
        self._servers.clear()
        for connected, _ in accepted:
            connected.setblocking(False)
        taking = (
            self.loop.connect_accepted_socket(door.client, connected, **door.options)
            for connected, door in accepted
        )
        # With TLS each ends with its handshake, and one that fails is nobody else's trouble.
        await asyncio.gather(*taking, return_exceptions=True)

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

    def trusts(self, peer: str) -> bool:
        """Whether *peer*'s forwarding fields are believed."""
        if not self._trusted or not peer:
            return False
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._trusted)

    def trusts_client(self, peer: str, *, is_unix: bool) -> bool:
        """Whether the client connection of *peer*, or one on a Unix socket, may speak for others."""
        return self._trusts_unix if is_unix else self.trusts(peer)

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

    def forward_fields(self, peer: str, scheme: bytes) -> bytes:
        """The forwarding fields that are the same for every request of an untrusted connection."""
        return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n%b" % (
            peer.encode("ascii") or b"unknown",
            scheme,
            self.via_field,
        )

    def added_fields(self, forward: bytes, host: bytes) -> bytes:
        """All forwarding fields of a request for *host*."""
        return b"%bX-Forwarded-Host: %b\r\n" % (forward, host.strip(b" \t")) if host else forward

    def trusted_fields(self, fields: Fields, peer: str, scheme: bytes) -> bytes:
        """All forwarding fields of a request that a trusted *peer* sends."""
        host = (fields.host or b"").strip(b" \t")
        lines = forwarded_lines(fields, peer=peer.encode("ascii"), scheme=scheme, host=host)
        return lines + self.via_field

    def log_fault(self, error: BaseException) -> None:
        """A fault of ours: logged with its trace, never shown to a client."""
        log.error("a request could not be handled", exc_info=error)
