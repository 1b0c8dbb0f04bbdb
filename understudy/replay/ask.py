"""One request to one service: its answer as it came, at most the cap of its body, or why there is none.

The connection is the proxy's own (`understudy.upstream`): fields arrive as they were sent, bodies stay in
their content coding, nothing is redirected, and no environment names a proxy.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from understudy.forwarding import IDEMPOTENT
from understudy.messages import Answer
from understudy.shadow import keep
from understudy.upstream import Refusal, Upstream, UpstreamConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of it. ``seconds`` run from the sent request to the last byte; ``failure`` is a reason of the
    report (connect_refused, timeout, …), empty when there is an ``answer``."""

    answer: Answer | None = None
    seconds: float = 0.0
    failure: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether ``seconds`` are those of a whole answer."""
        return self.answer is not None and not self.answer.is_truncated


class Ask:
    """Sends *wire* once, or once more where a kept connection was closed under it. Not used twice."""

    def __init__(
        self, pool: Upstream, wire: bytes, *, method: str, cap_bytes: int, clock: Callable[[], float]
    ) -> None:
        self.twin = b""
        self._pool = pool
        self._wire = wire
        self._is_head = method == "HEAD"
        self._is_idempotent = method in IDEMPOTENT
        self._cap = cap_bytes
        self._clock = clock
        self._done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._connection: UpstreamConnection | None = None
        self._is_retry = False
        self._sent_at = 0.0
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0

    async def reply(self, timeout_seconds: float) -> Reply:
        """Ask, and wait for what comes of it: *timeout_seconds* in all. Never raises for what a peer does."""
        deadline = asyncio.get_running_loop().call_later(timeout_seconds, self.cancel, "timeout")
        try:
            # A request that may not be repeated is not risked on a connection that may just be closing.
            self._start(fresh=not self._is_idempotent)
            return await self._done
        finally:
            deadline.cancel()
            self._let_go()

    def cancel(self, reason: str) -> None:
        """End it now, as failed for *reason*."""
        self._fail(reason)
        self._let_go()

    def _start(self, *, fresh: bool) -> None:
        try:
            connection = self._pool.acquire(self, fresh=fresh)
        except Refusal as refusal:
            self._fail(str(refusal))
            return
        if connection is not None:
            self.on_connection(connection)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        else:
            self._pool.withdraw(self)

    # -- what the pool and the connection tell ---------------------------------------------------

    def on_connection(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._sent_at = self._clock()
        connection.begin(self, is_head=self._is_head)
        connection.write(self._wire)

    def on_refused(self, reason: str) -> None:
        self._fail(reason)

    def on_twin(self) -> None:
        """There is no twin to equal."""

    def on_interim(self, connection: UpstreamConnection) -> None:
        """An interim answer is not compared."""

    def on_switch(self, _connection: UpstreamConnection, _rest: bytes, /) -> bool:
        """No replayed request asks for another protocol."""
        return False

    def on_answer(self, connection: UpstreamConnection) -> None:
        self._status = connection.status
        self._headers = connection.headers

    def on_data(self, data: bytes) -> None:
        keep(self._body, data)
        self._size += len(data)
        if self._size > self._cap:
            self._finish()
            self._let_go()

    def on_complete(self) -> None:
        self._connection = None
        self._finish()

    def on_flush(self) -> None:
        """The answer is taken when it is whole."""

    def on_lost(self, reason: str, *, reused: bool) -> None:
        self._connection = None
        if reused and not self._status and self._is_idempotent and not self._is_retry:
            self._is_retry = True
            self._start(fresh=True)
        else:
            self._fail(reason)

    def on_pause(self) -> None:
        """A request is at most the cap: it is written at once."""

    def on_resume(self) -> None:
        """See `on_pause`."""

    def _finish(self) -> None:
        if self._done.done():
            return
        whole = b"".join(self._body)
        length = len(whole)
        if length > self._cap:
            # What was not read is not known; a declared length is, and two of them can be compared.
            declared = [int(value) for name, value in self._headers if name.lower() == b"content-length"]
            length = declared[0] if declared else self._cap + 1
        answer = Answer(
            status=self._status, headers=self._headers, body=whole[: self._cap], length_bytes=length
        )
        self._done.set_result(Reply(answer=answer, seconds=self._clock() - self._sent_at))

    def _fail(self, reason: str) -> None:
        if not self._done.done():
            self._done.set_result(Reply(failure=reason))
