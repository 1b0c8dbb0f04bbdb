"""One of the services that a replay asks, and the bytes that it is asked with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.forwarding import CONTENT_LENGTH, CREDENTIAL, HOST, kind_of
from understudy.messages import Asked, Headers
from understudy.replay.ask import Ask, Reply
from understudy.replay.entry import Recorded
from understudy.upstream import Upstream

BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
"""With these a length is told even of an empty body (RFC 9110 8.6)."""

TOLD_BODY_BYTES = 16 * 1024
"""A longer body is not made part of a command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What is said to every service alike: *own* fields replace the recorded ones of their names."""

    own: Headers = ()
    sends_credentials: bool = False

    def wire(self, request: Recorded, authority: bytes) -> bytes:
        """The bytes of *request*, to a service called *authority* unless an own Host says otherwise."""
        target = request.path + (f"?{request.query}" if request.query else "")
        fields = self._fields(request)
        if not any(kind_of(name) == HOST for name, _ in fields):
            fields.insert(0, (b"Host", authority))
        fields.sort(key=lambda field: kind_of(field[0]) != HOST)  # first, as RFC 9110 7.2 asks
        if request.body or request.method in BODY_METHODS:
            fields.append((b"Content-Length", str(len(request.body)).encode("ascii")))
        start = f"{request.method} {target} HTTP/1.1".encode("latin-1")
        lines = [start, *(name + b": " + value for name, value in fields)]
        return b"\r\n".join((*lines, b"", request.body))

    def asked(self, request: Recorded, *, primary: str) -> Asked:
        """How it was asked, for the command in a sample that asks it again; no credential is told."""
        lines = [
            name + (b":" if kind_of(name) == CREDENTIAL else b": " + value)
            for name, value in self._fields(request)
        ]
        return Asked(
            primary=primary,
            lines=b"\r\n".join(lines) or b"Accept: */*",
            body=request.body if len(request.body) <= TOLD_BODY_BYTES else b"",
            body_bytes=len(request.body),
        )

    def _fields(self, request: Recorded) -> list[tuple[bytes, bytes]]:
        """Recorded fields, then our own, which replace those of their names."""
        replaced = {name.lower() for name, _ in self.own}
        recorded: Sequence[tuple[bytes, bytes]] = request.headers
        if self.sends_credentials:
            recorded = (*recorded, *request.credentials)
        fields = [f for f in recorded if f[0].lower() not in replaced]
        return fields + [f for f in self.own if kind_of(f[0]) != CONTENT_LENGTH]


class Side:
    """*name* stands in the report. ``failures`` counts those in a row, since ``failing_since``."""

    def __init__(
        self,
        name: str,
        pool: Upstream,
        *,
        wording: Wording,
        cap_bytes: int,
        timeout_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.pool = pool
        self.failures = 0
        self.failing_since = 0.0
        self._wording = wording
        self._cap = cap_bytes
        self._timeout = timeout_seconds
        self._clock = clock
        self._authority = pool.pools[0].origin.authority
        self._under_way: set[Ask] = set()

    async def ask(self, request: Recorded) -> Reply:
        """What the service answers to *request*, or why it does not, within the time-out."""
        asked_at = self._clock()
        ask = Ask(
            self.pool,
            self._wording.wire(request, self._authority),
            method=request.method,
            cap_bytes=self._cap,
            clock=self._clock,
        )
        self._under_way.add(ask)
        try:
            reply = await ask.reply(self._timeout)
        finally:
            self._under_way.discard(ask)
        if not reply.failure:
            self.failures = 0
        else:
            self.failing_since = self.failing_since if self.failures else asked_at
            self.failures += 1
        return reply

    def cut(self, reason: str) -> None:
        """End what is under way, as failed for *reason*."""
        for ask in list(self._under_way):
            ask.cancel(reason)
