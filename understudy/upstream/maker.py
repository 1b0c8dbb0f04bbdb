"""Make what requests are sent to: a pool, or several behind a balancer, for a service in a role."""

import asyncio
from collections.abc import Callable

from understudy.config import Service
from understudy.upstream.allowance import Allowance
from understudy.upstream.balance import BalancedRoom, Balancer, Upstream
from understudy.upstream.checks import Checks
from understudy.upstream.health import Health
from understudy.upstream.origin import origins_of
from understudy.upstream.outgoing import Outgoing
from understudy.upstream.pool import Pool, Spawn
from understudy.upstream.room import Room

PRIMARY = "primary"


class UpstreamMaker:
    """Everything of a worker that connections to services need; *before_opening* is told of each.

    What shadows answer is read within *allowance*, None: as it comes.

    Roles share nothing of a service but its active checks: what a shadow suffers is not held against
    an origin when it is asked for real.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
        clock: Callable[[], float],
        outgoing: Outgoing,
        chance: Callable[[], float],
        before_opening: Callable[[], None] = lambda: None,
        allowance: Allowance | None = None,
    ) -> None:
        self._loop = loop
        self._spawn = spawn
        self._clock = clock
        self._outgoing = outgoing
        self._chance = chance
        self._before_opening = before_opening
        self._allowance = allowance
        self._checks: dict[str, tuple[Service, Checks]] = {}

    def __call__(
        self, name: str, service: Service, role: str, limit: int, on_change: Callable[[str], None]
    ) -> Upstream:
        """Connect to *service*, called *name*, with at most *limit* connections; nothing is opened yet.

        *on_change* is told what befell an origin: ejected, tried_again, unhealthy, healthy.
        """
        origins = origins_of(service)
        checks = self._checks_of(name, service)
        room = (
            BalancedRoom(
                limit=limit, queue=service.queue, by_connections=service.balance == "least_connections"
            )
            if len(origins) > 1
            else Room(limit=limit, queue=service.queue)
        )

        def changed(event: str) -> None:
            room.refresh()
            on_change(event)

        for index, origin in enumerate(origins):
            who = f"origin {origin} of service {name}" + ("" if role == PRIMARY else f", as {role}")
            health = Health(who, eject=service.eject, clock=self._clock, on_change=changed)
            if checks is not None:
                checks.watch(index, health)
            Pool(
                origin,
                room=room,
                health=health,
                loop=self._loop,
                spawn=self._spawn,
                clock=self._clock,
                write=self._outgoing.add if role == PRIMARY else self._outgoing.add_copy,
                connect_seconds=service.connect_timeout,
                idle_seconds=service.pool_idle,
                checks=checks,
                before_opening=self._before_opening,
                allowance=None if role == PRIMARY else self._allowance,
            )
        return Balancer(room) if isinstance(room, BalancedRoom) else room.pools[0]

    def _checks_of(self, name: str, service: Service) -> Checks | None:
        if service.health is None:
            return None
        known = self._checks.get(name)
        if known is None or known[0] != service:
            checks = Checks(
                origins_of(service),
                service.health,
                loop=self._loop,
                spawn=self._spawn,
                clock=self._clock,
                chance=self._chance,
            )
            known = self._checks[name] = (service, checks)
        return known[1]
