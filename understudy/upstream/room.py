"""What the origins of one service share: how many connections it may have, and who waits for one."""

from typing import TYPE_CHECKING, Protocol

from understudy.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from understudy.upstream.pool import Pool


class Waiter(Protocol):
    """Who asked for a connection when none was free."""

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is there; call ``begin`` on it at once."""

    def on_refused(self, reason: str) -> None:
        """None will come; *reason* is a metric label: connect_refused, connect_timeout, …"""


class Refusal(Exception):
    """No connection is free and no more may be opened or waited for."""


class Room:
    """At most *limit* connections open or being opened, and *queue* callers waiting for one of these.

    Callers wait for the service, not for an origin: whichever connection is free first serves the next.
    While room is left, as many connections are being opened as callers wait.
    """

    def __init__(self, *, limit: int, queue: int) -> None:
        self.limit = limit
        self.queue = queue
        self.pools: list[Pool] = []
        self.waiting: dict[Waiter, bool] = {}
        self.taken = 0
        self.opening = 0
        self.is_closed = False

    def admit(self, waiter: Waiter, *, fresh: bool) -> None:
        """Let *waiter* wait. Raises `Refusal` when the room is full or closed."""
        if self.is_closed:
            raise Refusal("pool_closed")
        if self.taken >= self.limit:
            if len(self.waiting) - self.opening >= self.queue:
                raise Refusal("pool_full")
            self._make_room()
        self.waiting[waiter] = fresh

    def grow(self, first: "Pool | None" = None) -> None:
        """Open a connection for each who waits, while there is room; the first of them to *first*."""
        while self.opening < len(self.waiting) and self.taken < self.limit and not self.is_closed:
            pool = first if first is not None else self.choose(fresh=False)
            first = None
            pool.open(())

    def choose(self, *, fresh: bool) -> "Pool":  # noqa: ARG002  there is only one
        """The origin that is asked next; *fresh* when the one before has just failed."""
        return self.pools[0]

    def other(self, tried: "tuple[Pool, ...]") -> "Pool | None":
        """An origin that may still be tried for who waits, after these gave no connection."""
        return next((pool for pool in self.pools if pool not in tried), None)

    def refresh(self) -> None:
        """The health of an origin has changed."""

    def next_waiter(self, *, is_reused: bool) -> Waiter | None:
        """Who is served next by a connection; one that *is_reused* passes over who insists on a new one."""
        for waiter, insists_on_fresh in self.waiting.items():
            if not (is_reused and insists_on_fresh):
                del self.waiting[waiter]
                return waiter
        return None

    def close(self) -> None:
        """Refuse every waiter, now and later."""
        self.is_closed = True
        waiting = list(self.waiting)
        self.waiting.clear()
        for waiter in waiting:
            waiter.on_refused("pool_closed")

    def _make_room(self) -> None:
        """Close a kept connection, so that one may be opened where it is needed once this is lost."""
        for pool in self.pools:
            if pool.drop_oldest():
                return
