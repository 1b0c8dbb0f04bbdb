"""What the tests of mirroring stand on: connections that are only written down, pools that do as told."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from understudy.config import Ejection
from understudy.forwarding import CREDENTIALS
from understudy.messages import Pair
from understudy.metrics import WorkerMetrics
from understudy.shadow import Copy, Limits, Mirror, MirroredExchange, Target
from understudy.shadow.call import ShadowCall
from understudy.upstream import Health, KnownHeads, Pool, Refusal, UpstreamConnection

OK_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}'


class Wire(asyncio.Transport):
    """A transport that keeps what is written and knows whether it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class StagedPool:
    """Gives connections over `Wire`s; refuses or lets wait when told to. Also their owner."""

    def __init__(self) -> None:
        self.idle: list[UpstreamConnection] = []
        self.made: list[UpstreamConnection] = []
        self.waiting: dict[ShadowCall, None] = {}
        self.refusal = ""
        self.is_full = False
        self.heads = KnownHeads()
        self.health = Health("staged", eject=Ejection(), clock=lambda: 0.0, on_change=lambda _: None)

    @property
    def pools(self) -> "list[StagedPool]":
        return [self]

    def acquire(self, waiter: ShadowCall, *, fresh: bool = False) -> UpstreamConnection | None:
        if self.refusal:
            raise Refusal(self.refusal)
        if self.is_full:
            self.waiting[waiter] = None
            return None
        if self.idle and not fresh:
            return self.idle.pop()
        return self.connect()

    def connect(self) -> UpstreamConnection:
        """A new connection, whose transport is a `Wire`."""
        connection = UpstreamConnection(self, lambda made, data: wire_of(made).write(data))
        connection.connection_made(Wire())
        self.made.append(connection)
        return connection

    def withdraw(self, waiter: ShadowCall) -> None:
        self.waiting.pop(waiter, None)

    def release(self, connection: UpstreamConnection) -> None:
        self.idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        pass


def wire_of(connection: UpstreamConnection) -> Wire:
    """The transport of a staged *connection*."""
    return cast(Wire, connection.transport)


class Recorded:
    """Keeps the pairs that were offered; ``is_full`` refuses them."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.is_full = False

    def offer(self, pair: Pair) -> bool:
        if self.is_full:
            return False
        self.pairs.append(pair)
        return True


class Rehearsal:
    """One worker's mirroring with time and chance in the test's hands."""

    def __init__(self, *, limits: Limits | None = None, services: Sequence[str] = ("v2",)) -> None:
        self.seconds = 100.0
        self.chance = 1.0
        self.fullness = 0.0
        self.recorded = Recorded()
        self.metrics = WorkerMetrics()
        self.mirror = Mirror(
            recorder=self.recorded,
            metrics=self.metrics,
            now=lambda: self.seconds,
            wall=lambda: 1_800_000_000.0,
            chance=lambda: self.chance,
            limits=limits or Limits(),
            fullness=lambda: self.fullness,
        )
        self.pools = {name: StagedPool() for name in (*services, "v1")}
        self.targets = tuple(self.target("mirror", name) for name in services)
        self.control = self.target("control", "v1")

    def target(self, role: str, service: str, *, in_flight_limit: int = 64) -> Target:
        """A target of *service*, known to the mirror."""
        made = Target(
            service=service,
            role=role,
            pool=cast(Pool, self.pools[service]),
            in_flight_limit=in_flight_limit,
            stripped=frozenset() if role == "control" else CREDENTIALS,
        )
        self.mirror.targets[role, service] = made
        return made

    def begin(
        self,
        *,
        method: str = "GET",
        override: str = "",
        allowed: Sequence[str] = ("GET", "HEAD", "OPTIONS"),
        is_shadow: bool = False,
    ) -> MirroredExchange | None:
        """Open the books for one request for ``/orders/1``."""
        return self.mirror.begin(
            self.targets,
            method=method,
            override=override,
            allowed=frozenset(allowed),
            is_shadow=is_shadow,
            path="/orders/1",
            query="",
            flag="shop",
        )

    def begun(
        self, method: str = "GET", *, override: str = "", allowed: Sequence[str] = ("GET",)
    ) -> MirroredExchange:
        """Like `begin`, for a request that may be mirrored."""
        exchange = self.begin(method=method, override=override, allowed=(method, *allowed))
        assert exchange is not None
        return exchange

    def sent(self, *, method: str = "GET") -> tuple[MirroredExchange, list[ShadowCall]]:
        """An exchange whose copies are sent, and its calls, the control's last."""
        exchange = self.begun(method)
        assert self.mirror.send(exchange, a_copy(method), self.control)
        calls = list(exchange.calls)
        if exchange.control is not None:
            calls.append(exchange.control)
        return exchange, calls

    def connection_of(self, call: ShadowCall) -> UpstreamConnection:
        """The connection that *call* is lent."""
        return next(made for made in self.pools[call.target.service].made if made.caller is call)

    def evidence(self) -> Mapping[tuple[str, ...], int]:
        """All evidence so far that counts exchanges."""
        return {key: n for key, n in self.mirror.drain().items() if key[0] == "exchange"}

    def assert_lawful(self, *, is_idle: bool = True) -> None:
        """The conservation law, for every target; and nothing is held when all is over."""
        for target in self.mirror.targets.values():
            assert_conserved(target, is_idle=is_idle)
        if is_idle:
            assert self.mirror.held == 0


def assert_conserved(target: Target, *, is_idle: bool = True) -> None:
    """eligible = sent + skipped + dropped; sent = answered + failed + in flight (DESIGN 7)."""
    counts = target.outcomes
    sums = {
        what: sum(n for (outcome, _), n in counts.items() if outcome == what)
        for what in ("eligible", "sent", "skipped", "dropped", "answered", "failed")
    }
    assert sums["eligible"] == sums["sent"] + sums["skipped"] + sums["dropped"], counts
    assert sums["sent"] == sums["answered"] + sums["failed"] + target.in_flight, counts
    if is_idle:
        assert target.in_flight == 0, counts


def a_copy(method: str = "GET", *, body: bytes = b"") -> Copy:
    """A copy of a request for ``/orders/1`` with one credential."""
    start = method.encode() + b" /orders/1 HTTP/1.1"
    copy = Copy(start, [b"Host: shop", b"Cookie: uid=7", b"Accept: */*"], [1], b"Via: 1.1 us\r\n", b"")
    copy.body = body
    copy.is_sized = bool(body)
    return copy


def primary_says(exchange: MirroredExchange, answer: bytes = OK_JSON, *, seconds: float = 0.01) -> None:
    """Tell *exchange* that the client got *answer*, in one read."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    exchange.primary_answer(int(status.split()[1]), fields)
    if body:
        exchange.primary_data(body)
    exchange.primary_complete(seconds, answer)
