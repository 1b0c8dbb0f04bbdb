"""One connection to an origin: writes requests as given, reads answers strictly.

A connection serves one `Caller` at a time. It goes back to its pool only after a complete answer with
no surplus byte (response-queue poisoning, RFC 9112 11.2), and is closed in every other case. Bare line
ends in the same read are the exception: llhttp skips them before a status line, so they carry nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from understudy.forwarding import (
    CONNECTION,
    CONTENT_LENGTH,
    HOP_KINDS,
    PASS,
    TRANSFER_ENCODING,
    UPGRADE,
    connection_options,
    field_bytes,
    kind_of,
    learn,
    spellings,
)
from understudy.upstream.answers import KnownHead, KnownHeads
from understudy.upstream.health import Health

BUFFER_BYTES: Final = 64 * 1024
"""High-water mark of what we hold for a slow peer, each way (DESIGN 6, rule 10)."""

HEADER_BYTES: Final = 32 * 1024
HEADER_FIELDS: Final = 100

MOST_INTERIM: Final = 64
"""1xx before one answer. Each is small and costs as much as an answer: 256 KiB of them are half a second, and
the loop reads 32 times before its turn ends. Go's client took 5, and a 102 every 20 s is what is usual."""


NO_PARSER: Final = httptools.HttpResponseParser(object())


def _drop_trailer(field: tuple[bytes, bytes]) -> None:
    """Trailers are dropped (RFC 9110 6.5.1: they may be); bounded as part of ``HEADER_BYTES``."""


class Caller(Protocol):
    """Who asked: told of the answer as it comes. None of these may raise."""

    twin: bytes
    """An answer seen elsewhere, byte for byte, that this one may equal; empty for none."""

    def on_twin(self) -> None:
        """The answer is whole and is `twin`; nothing else is told. The connection is free."""

    def on_interim(self, connection: "UpstreamConnection") -> None:
        """A 1xx answer stands in ``connection.status`` and ``connection.headers``."""

    def on_switch(self, connection: "UpstreamConnection", rest: bytes, /) -> bool:
        """A 101 stands in ``connection.headers``, *rest* came behind it: True takes the connection over.

        False refuses it: `on_lost` follows, with ``unasked_upgrade``.
        """

    def on_answer(self, connection: "UpstreamConnection") -> None:
        """The final head stands in ``connection.status``, ``.headers`` (end-to-end ones) and ``.length``."""

    def on_data(self, data: bytes) -> None:
        """A piece of the answer's body, transfer coding removed."""

    def on_complete(self) -> None:
        """The answer is whole; the connection is no longer the caller's."""

    def on_flush(self) -> None:
        """What one read brought has been handed over: a good moment to write."""

    def on_lost(self, reason: str, *, reused: bool) -> None:
        """The connection is gone before the answer was whole; *reason* is a metric label."""

    def on_pause(self) -> None:
        """The origin reads too slowly: send nothing more for now."""

    def on_resume(self) -> None:
        """The origin reads again."""


class Owner(Protocol):
    """The pool's side of a connection."""

    health: Health
    """Told how the origin answers."""

    heads: KnownHeads
    """What the origin's answers began with."""

    def release(self, connection: "UpstreamConnection") -> None:
        """The connection is clean and free."""

    def forget(self, connection: "UpstreamConnection") -> None:
        """The connection is gone."""


class UpstreamConnection(asyncio.Protocol):
    """See the module. ``length`` is -1 for chunked, -2 for "until close", else bytes."""

    __slots__ = (
        "_append",
        "_backlogged",
        "_body_less",
        "_complete",
        "_head_bytes",
        "_heads",
        "_interims",
        "_is_fresh",
        "_is_twin",
        "_owner",
        "_parser",
        "_send",
        "_surplus",
        "answered",
        "caller",
        "freed_at",
        "headers",
        "health",
        "is_head",
        "is_held",
        "is_waiting",
        "keep",
        "known",
        "length",
        "reason",
        "served",
        "status",
        "transport",
        "was_held",
        "whole",
    )

    def __init__(self, owner: Owner, write: Callable[["UpstreamConnection", bytes], None]) -> None:
        self._owner = owner
        self.health = owner.health
        self._heads = owner.heads
        self._send = write
        self._parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport | None = None
        self.caller: Caller | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self._append: Callable[[tuple[bytes, bytes]], None] = _drop_trailer
        self.status = 0
        self.reason = b""
        self.length = 0
        self.keep = True
        self.is_head = False
        self.is_waiting = False
        self.answered = False
        self.served = 0
        self.freed_at = 0.0
        self._head_bytes = 0
        self._interims = 0
        self._complete = False
        self._surplus = False
        self._backlogged = False
        self._is_fresh = True
        self._is_twin = False
        self._body_less = False
        self.is_held = False
        """Whether the answer is left unread now, so that it cannot end."""
        self.was_held = False
        """Whether the answer was left unread for a while, so that its time says nothing."""
        self.whole = b""
        self.known: KnownHead | None = None
        """The answer's head, when it is one that was read before."""

    # -- what the caller does -------------------------------------------------------------------

    def begin(self, caller: Caller, *, is_head: bool) -> None:
        """Lend the connection to *caller* for one exchange."""
        self.caller = caller
        self.is_head = is_head
        self.answered = False
        self._complete = False
        self._interims = 0
        self._is_fresh = True
        self.known = None

    def write(self, data: bytes) -> None:
        """Send request bytes; back-pressure comes through ``on_pause``."""
        self._send(self, data)

    def abandon(self) -> None:
        """Cut the exchange short: the connection is closed, the caller is told nothing more."""
        self.caller = None
        self.keep = False
        if self.transport is not None:
            self.transport.abort()

    def rest(self) -> None:
        """Read no more in this turn of the loop, which may read 32 times before it ends."""
        if self.transport is not None:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        caller = self.caller
        if caller is None:
            self._surplus = True  # bytes nobody asked for
            self._drop()
            return
        if self._is_fresh:
            self._is_fresh = False
            if self.is_waiting:  # it came before what it would answer (as `Exchange` sees for its own)
                self.caller = None
                self._drop()
                caller.on_lost("closed", reused=True)
                return
            if data == caller.twin:
                # The same bytes were parsed as one whole answer: they mean the same here.
                self._is_twin = True
                self._finish()
                return
            self.whole = data
            if not self.is_head:
                known = self._heads.find(data)
                if known is not None:
                    self._take_known(caller, known, data)
                    return
        else:
            self.whole = b""
        if self._head_bytes > HEADER_BYTES:  # a head, chunk extension or trailer without end
            self._fail("answer_head_too_large")
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if self.status == 101:
                self._fail("unasked_upgrade")
                return
            if not self._complete:
                self._fail(reason_of(error))
                return
            self._surplus = True
        if self._complete:
            self._finish()
        elif self.caller is not None:
            caller.on_flush()

    def _take_known(self, caller: Caller, known: KnownHead, data: bytes) -> None:
        """One whole answer whose head was parsed before: told as the parser would tell it."""
        self.known = known
        self.status = status = known.status
        self.reason = known.reason
        self.headers = known.headers
        self.length = known.length
        self.answered = True
        if status >= 502 or self.health.failures:
            self.health.note(status)
        try:
            caller.on_answer(self)
            if known.length:
                caller.on_data(data[known.size :])
        except ValueError:
            self._fail("bad_answer")
        except Exception:  # noqa: BLE001  one exchange is isolated from the others, as the parser does it
            self._fail("internal")
        else:
            self._finish()

    def eof_received(self) -> bool:
        self.keep = False
        if self.caller is not None and self.answered and self.length == -2:
            self._finish()
        elif self.transport is not None:
            self.transport.abort()  # what it did not read of the request is no longer worth waiting for
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._parser = NO_PARSER  # the old one points back here: a cycle for each connection
        self._append = _drop_trailer
        self.keep = False
        caller, self.caller = self.caller, None
        if caller is not None:
            reason = "reset" if exc is not None else "closed"
            if not (self.answered or self.served):  # a reused one may have been closed as it was idle
                self.health.failed(reason)
            caller.on_lost(reason, reused=self.served > 0)
        self._owner.forget(self)

    def pause_writing(self) -> None:
        self._backlogged = True
        if self.caller is not None:
            self.caller.on_pause()

    def resume_writing(self) -> None:
        self._backlogged = False
        if self.caller is not None:
            self.caller.on_resume()

    # -- httptools ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("bytes after the answer")
        headers: list[tuple[bytes, bytes]] = []
        self.headers = headers
        self._append = headers.append
        self.reason = b""

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._append((name, value))

    def on_headers_complete(self) -> None:
        caller = self.caller
        if caller is None:
            return
        parser = self._parser
        self.status = status = parser.get_status_code()
        if len(self.headers) > HEADER_FIELDS or (
            self._head_bytes > HEADER_BYTES and field_bytes(self.headers) > HEADER_BYTES
        ):
            raise _HeadTooLarge
        self._head_bytes = 0
        if not 200 <= status < 600:
            self._interim(caller, status)
            return
        self._body_less = False
        self.keep = keep = parser.should_keep_alive()
        self.length = self._read_fields(status)
        if not keep:
            check_version(parser.get_http_version(), self.length)
        self.answered = True
        if status >= 502 or self.health.failures:
            self.health.note(status)
        self._append = self._read_trailer if self.length == -1 else _drop_trailer
        caller.on_answer(self)
        if self.is_head:
            self._complete = True

    def _interim(self, caller: Caller, status: int) -> None:
        self._interims += 1
        if not 100 <= status < 200 or self._interims > MOST_INTERIM:
            raise ValueError("status")
        if status != 101:
            if claims_body(self.headers):
                raise ValueError("interim body")  # llhttp would read one behind most of them
            self._body_less = True
            caller.on_interim(self)

    def _read_fields(self, status: int) -> int:
        """Keep the end-to-end fields, return the framing. Raises `ValueError` on what is not HTTP/1.1."""
        length = -2
        kinds = spellings
        kept: list[tuple[bytes, bytes]] = []
        keep = kept.append
        named: list[bytes] | None = None
        for field in self.headers:
            try:
                kind = kinds[field[0]]
            except KeyError:
                kind = learn(field[0])
            if kind == PASS:
                keep(field)
            elif kind == CONTENT_LENGTH:
                length = int(field[1])
                if status != 204:
                    keep(field)
            elif kind == CONNECTION:
                if field[1] == b"keep-alive":
                    continue
                options = connection_options(field[1])
                if b"close" in options:
                    self.keep = False
                if options not in ([b"close"], [b"keep-alive"]):
                    named = options if named is None else named + options
            elif kind == TRANSFER_ENCODING:
                # As llhttp reads it, which strips spaces only: what it frames and what we say must agree.
                if length == -1 or field[1].strip(b" ").lower() != b"chunked":
                    raise ValueError("transfer coding")
                length = -1
            elif kind not in HOP_KINDS:
                keep(field)
        if named is not None:
            named = [name for name in named if name != b"content-length"]  # it frames: not theirs to name
            kept = [field for field in kept if field[0].lower() not in named]
        self.headers = kept
        if self.is_head or status == 204 or status == 304:
            return 0
        if length == -2:
            self.keep = False
        return length

    def _read_trailer(self, field: tuple[bytes, bytes]) -> None:
        """As `_drop_trailer`; but framing, which may not stand there (RFC 9110 6.5.1), llhttp believes."""
        if kind_of(field[0]) in (CONNECTION, TRANSFER_ENCODING, UPGRADE):
            self.keep = False

    def on_body(self, data: bytes) -> None:
        self._head_bytes = 0
        caller = self.caller
        if caller is None or self.is_head:
            self._surplus = True
            return
        caller.on_data(data)

    def on_message_complete(self) -> None:
        if self._body_less:
            return
        self._complete = True

    # -- ends -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        caller, self.caller = self.caller, None
        self._complete = False
        self._head_bytes = 0
        self.served += 1
        if self.is_head:
            # llhttp still waits for the body that Content-Length promised.
            self._parser = httptools.HttpResponseParser(self)
        if caller is not None:
            if self._is_twin:
                self._is_twin = False
                self.health.failures = 0
                caller.on_twin()
            else:
                if self._surplus:
                    self.whole = b""  # not an answer alone
                elif (
                    self.whole and self.known is None and self.keep and self.length >= 0 and not self.is_head
                ):
                    self._heads.learn(
                        self.whole,
                        status=self.status,
                        reason=self.reason,
                        headers=self.headers,
                        length=self.length,
                    )
                caller.on_complete()
                self.whole = b""
        if self._surplus or self._backlogged or not self.keep:
            self._drop()
        elif self.transport is not None and not self.transport.is_closing():
            self._owner.release(self)

    def _switch(self, rest: bytes) -> None:
        """The service speaks another protocol from here on: hand the connection over, or close it."""
        caller, self.caller = self.caller, None
        self.keep = False
        if caller is None or not caller.on_switch(self, rest):
            self.caller = caller
            self._fail("unasked_upgrade")
        else:
            self.health.note(self.status)

    def _fail(self, reason: str) -> None:
        caller, self.caller = self.caller, None
        self._drop()
        if reason != "internal":
            self.health.failed(reason)
        if caller is not None:
            caller.on_lost(reason, reused=False)

    def _drop(self) -> None:
        self.keep = False
        if self.transport is not None:
            self.transport.abort()


class _HeadTooLarge(ValueError):
    """An answer head over ``HEADER_BYTES`` or ``HEADER_FIELDS``."""


def claims_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether an interim answer frames a body, which it cannot have (RFC 9110 15.2)."""
    kinds = [(kind_of(name), value) for name, value in headers]
    return any(k == TRANSFER_ENCODING or (k == CONTENT_LENGTH and int(v) != 0) for k, v in kinds)


def check_version(version: str, length: int) -> None:
    """Raises `ValueError` for what is not HTTP/1.1 or a well-framed HTTP/1.0 (RFC 9112 6.1)."""
    if version != "1.1" and (version != "1.0" or length == -1):
        raise ValueError("version")


def reason_of(error: httptools.HttpParserError) -> str:
    """The label for what stopped the parser: a caller's own fault is not the service's bad answer."""
    if isinstance(error.__context__, _HeadTooLarge):
        return "answer_head_too_large"
    is_ours = isinstance(error, httptools.HttpParserCallbackError) and not isinstance(
        error.__context__, ValueError
    )
    return "internal" if is_ours else "bad_answer"
