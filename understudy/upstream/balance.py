"""Several origins of one service: which one a request goes to, and which ones are left out."""

from collections.abc import Iterable
from typing import Final

from understudy.upstream.connection import UpstreamConnection
from understudy.upstream.pool import Pool
from understudy.upstream.room import Room, Waiter


class BalancedRoom(Room):
    """Chooses among the origins that are up; among all of them while none is.

    The latter is Envoy's panic mode: origins that are all said to be ill are more likely judged wrongly,
    and asking an ill one costs nobody more than asking none.
    """

    def __init__(self, *, limit: int, queue: int, by_connections: bool) -> None:
        super().__init__(limit=limit, queue=queue)
        self._by_connections = by_connections
        self._turn = -1
        self.up: list[Pool] = []

    def refresh(self) -> None:
        """Some origin went out or came back."""
        self.up = [pool for pool in self.pools if pool.health.is_up] or self.pools

    def choose(self, *, fresh: bool) -> Pool:
        up = self.up
        self._turn = turn = (self._turn + 1) % len(up)
        if not (self._by_connections or fresh):
            return up[turn]
        ordered = up[turn:] + up[:turn]
        if fresh:
            return min(ordered, key=_failures)
        return min(ordered, key=_in_use)

    def other(self, tried: tuple[Pool, ...]) -> Pool | None:
        left = [pool for pool in self.up if pool not in tried]
        left = left or [pool for pool in self.pools if pool not in tried]
        return left[self._turn % len(left)] if left else None


def _failures(pool: Pool) -> int:
    return pool.health.failures


def _in_use(pool: Pool) -> int:
    return pool.in_use


class Balancer:
    """The pools of a service with several origins, used like one `Pool`."""

    spreads: Final = True

    def __init__(self, room: BalancedRoom) -> None:
        self._room = room
        room.refresh()

    def __repr__(self) -> str:
        pools = self._room.pools
        figures = [sum(numbers) for numbers in zip(*map(_figures, pools), strict=True)]
        return (
            f"<Balancer {' '.join(str(pool.origin) for pool in pools)} open={figures[0]} idle={figures[1]}"
            f" opening={figures[2]} waiting={len(self._room.waiting)}>"
        )

    @property
    def pools(self) -> list[Pool]:
        """The pool of each origin, in the order of the configuration."""
        return self._room.pools

    @property
    def is_out(self) -> bool:
        """Whether every origin is known to be ill."""
        return not any(pool.health.is_up for pool in self._room.pools)

    @property
    def is_empty(self) -> bool:
        """Whether nobody has, opens or awaits a connection."""
        return all(pool.is_empty for pool in self._room.pools)

    def acquire(self, waiter: Waiter, *, fresh: bool = False) -> UpstreamConnection | None:
        """As `Pool.acquire`. *fresh* goes to an origin whose last request did not fail, if there is one."""
        room = self._room
        pool = room.choose(fresh=fresh)
        if not fresh:
            connection = pool.take()
            if connection is None and room.taken >= room.limit:
                connection = _first_kept(room.up)
            if connection is not None:
                return connection
        room.admit(waiter, fresh=fresh)
        room.grow(pool)
        return None

    def withdraw(self, waiter: Waiter) -> None:
        """As `Pool.withdraw`."""
        self._room.waiting.pop(waiter, None)

    def sweep(self, now: float) -> None:
        """As `Pool.sweep`."""
        for pool in self._room.pools:
            pool.sweep(now)

    def retire(self) -> None:
        """As `Pool.retire`."""
        for pool in self._room.pools:
            pool.retire()

    def close(self) -> None:
        """As `Pool.close`."""
        for pool in self._room.pools:
            pool.close()


def _figures(pool: Pool) -> tuple[int, int, int]:
    return pool.connections, pool.kept, pool.opening


def _first_kept(pools: Iterable[Pool]) -> UpstreamConnection | None:
    """A kept connection of any of *pools*: better than waiting for the one whose turn it is."""
    for pool in pools:
        connection = pool.take()
        if connection is not None:
            return connection
    return None


Upstream = Pool | Balancer
"""What a request is sent to: one origin, or several that look like one."""
