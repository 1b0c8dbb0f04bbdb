"""One client connection: parse requests, keep their order and their limits, close when it must.

llhttp parses; what it leaves open (limits counted across segments, pipelining, half-closed clients,
lingering after an early answer) is decided here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

import httptools

from understudy.forwarding import field_bytes
from understudy.proxy.exchange import Exchange
from understudy.proxy.heads import Refused
from understudy.proxy.line import (
    BODY,
    CLOSING,
    ENDING,
    HEAD,
    HOLD_BODY,
    HOLD_OUTPUT,
    HOLD_PIPELINE,
    HOLD_SWITCH,
    HOLD_TURN,
    IDLE,
    LINGERING,
    TUNNEL,
    WAITING,
    ClientLine,
    plain_address,
)
from understudy.proxy.repeat import Read, Repeat
from understudy.proxy.tunnel import Tunnel
from understudy.proxy.upgrade import offered
from understudy.upstream.connection import BUFFER_BYTES, UpstreamConnection

if TYPE_CHECKING:
    from understudy.proxy.server import Proxy

PIPELINE_DEPTH: Final = 64
"""Requests parsed ahead of the one being answered; more close the connection when these are done."""

TURN_PIECES: Final = 1024
"""Pieces of a body in one read, a millisecond's work, after which the others come first: the loop may read
32 times before its turn ends, and 256 KiB hold 40,000 chunks of a byte."""

_METHODS: dict[bytes, str] = {}


NO_PARSER: Final = httptools.HttpRequestParser(object())


def _drop_trailer(field: tuple[bytes, bytes]) -> None:
    """Trailers are dropped (RFC 9110 6.5.1: they may be); their size is bounded as quiet bytes."""


class ClientConnection(ClientLine):
    """See the module."""

    __slots__ = (
        "_added",
        "_added_host",
        "_append",
        "_begun",
        "_body",
        "_current",
        "_head_bytes",
        "_held",
        "_in_body",
        "_incoming",
        "_parser",
        "_queue",
        "_quiet_bytes",
        "_read_bytes",
        "_refusal",
        "_repeat",
        "_switched",
        "_tunnel",
        "_upgrading",
        "_whole",
        "is_trusted",
        "method",
    )

    def __init__(self, proxy: "Proxy", *, is_unix: bool = False, is_tls: bool = False) -> None:
        super().__init__(proxy, is_unix=is_unix, is_tls=is_tls)
        self.is_trusted = False
        self.method = b""
        self._parser = httptools.HttpRequestParser(self)
        self._append: Callable[[tuple[bytes, bytes]], None] = _drop_trailer
        self._current: Exchange | None = None
        self._incoming: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._read_bytes = 0
        self._body: list[bytes] = []
        self._refusal: Refused | None = None
        self._in_body = False
        self._upgrading = False
        self._held: bytes | None = None
        self._tunnel: Tunnel | None = None
        self._switched: Exchange | None = None
        self._begun = 0
        self._repeat = Repeat()
        self._whole: Exchange | None = None
        self._added_host = b""
        self._added = b""

    # -- asyncio.Protocol -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        self.peer_ip = plain_address(peer[0]) if isinstance(peer, tuple) else ""
        self.judge_peer()
        self.mark = self.proxy.clock.now
        self.proxy.joined(self, transport)

    def judge_peer(self) -> None:
        """Learn whether the peer is trusted; what was remembered of its requests depends on it."""
        forwarder = self.proxy.forwarder
        self.is_trusted = forwarder.trusts_unix if self.is_unix else forwarder.trusts(self.peer_ip)
        self._repeat = Repeat()
        self._added = b""

    def data_received(self, data: bytes) -> None:
        if self.phase == LINGERING:
            self._linger_on(len(data))
            return
        if self._stopped:
            return
        if self._held is not None:  # it was read before the pause
            self._held += data
            return
        is_first = self.phase == IDLE
        if is_first:
            limits = self.proxy.limits
            again = self._repeat.read(
                data, target_bytes=limits.target_bytes, header_bytes=limits.header_bytes
            )
            if again is not None:
                self._again(again)
                return
            self.phase = HEAD
            self.mark = self.proxy.clock.now
        self._begun = 0 if self._incoming is None else 1
        size = self._read_bytes = len(data)
        if not self._in_body:
            self._head_bytes += size
        else:
            self._quiet_bytes += size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(memoryview(data)[upgrade.args[0] :])
            self._check_sizes()
        except httptools.HttpParserError as error:
            self._unreadable(error)
        else:
            if is_first and self._begun == 1 and self._whole is not None:
                self._remember(data, self._whole)
            self._check_sizes()

    def eof_received(self) -> bool:
        """A client may half-close after its request and still wait for the answer.

        Not with TLS: the transport closes at the peer's end (close_notify), whatever is said here.
        """
        self._stopped = True
        if self.is_tls:
            return False
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            if incoming is self._current:  # broken off
                self._current = None
                incoming.client_gone()
            elif self._queue and self._queue[-1] is incoming:
                self._queue.pop()
        last = self._queue[-1] if self._queue else self._current
        if last is None:
            self.close()
            return False
        last.keep_alive = False
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        self.transport = None
        self._parser = NO_PARSER  # the old one points back here: a cycle for each connection
        self._stopped = True
        self.proxy.left(self)
        current, self._current = self._current, None
        self._queue.clear()
        if current is not None:
            current.client_gone()

    def pause_writing(self) -> None:
        self.is_paused = True
        self._hold(HOLD_OUTPUT)
        if self._current is not None:
            self._current.client_paused()

    def resume_writing(self) -> None:
        self.is_paused = False
        self._release(HOLD_OUTPUT)
        if self._current is not None:
            self._current.client_resumed()
        else:
            self._next()

    # -- httptools ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._stopped:
            return
        self._begun += 1
        self._whole = None
        self._incoming = exchange = Exchange(self)
        self._append = exchange.headers.append
        if self._current is None:
            self.phase = HEAD
            self.mark = self.proxy.clock.now

    def on_url(self, url: bytes) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        exchange.target += url
        if len(exchange.target) > self.proxy.limits.target_bytes:
            self._refuse_head(414, "target_too_long", "the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._append((name, value))

    def on_headers_complete(self) -> None:
        exchange = self._incoming
        if exchange is None or self._stopped:
            return
        parser = self._parser
        method = parser.get_method()
        limits = self.proxy.limits
        headers = exchange.headers
        if len(headers) > limits.header_fields:
            self._refuse_head(431, "too_many_fields", "the request has too many header fields")
            return
        # Exact where the read does not tell: a head in several reads, or behind something else in one.
        if (self._head_bytes != self._read_bytes or self._read_bytes > limits.header_bytes) and field_bytes(
            headers
        ) > limits.header_bytes:
            self._refuse_head(431, "head_too_large", "the request head is too large")
            return
        self._head_bytes = 0
        self._quiet_bytes = 0
        self._in_body = True
        self._append = _drop_trailer
        version = parser.get_http_version()
        if version != "1.1":
            exchange.version = version
            if version != "1.0":
                self._refuse_head(505, "bad_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
                return
            if any(name.lower() == b"transfer-encoding" for name, _ in headers):  # RFC 9112 6.1: faulty
                self._refuse_head(400, "bad_transfer_coding", "HTTP/1.0 has no transfer codings")
                return
        exchange.method = _METHODS.get(method) or _METHODS.setdefault(method, method.decode("ascii"))
        exchange.keep_alive = parser.should_keep_alive()
        self._upgrading = parser.should_upgrade()
        if self._upgrading and version == "1.1":
            exchange.keep_alive = True
            exchange.upgrade = offered(headers)
        if self._current is None and not self.is_paused and self._begun == 1:
            self._current = exchange
            self.method = method
            self.phase = BODY
            self.mark = self.proxy.clock.now
            exchange.start()
        else:
            self._enqueue(exchange)

    def on_body(self, data: bytes) -> None:
        self._quiet_bytes = 0
        if not self._stopped:
            self._body.append(data)

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None or self._stopped or self._upgrading:
            return
        if self._body:
            self._tell_body(exchange)
        self._incoming = None
        self._whole = exchange
        self._in_body = False
        if exchange is self._current and self.phase == BODY:
            self.phase = WAITING
            self.mark = self.proxy.clock.now
        exchange.complete()

    def _tell_body(self, exchange: Exchange) -> None:
        """Hand on what one read brought of a body: together, since 256 KiB may be 40,000 chunks."""
        pieces = self._body
        if len(pieces) > TURN_PIECES:
            self._hold(HOLD_TURN)
            self.proxy.loop.call_soon(self._release, HOLD_TURN)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if exchange is self._current:
            # Each byte buys its share of a second, so that a trickle holds nothing for ever.
            now = self.proxy.clock.now
            paid = self.mark + len(data) * self.proxy.body_byte_seconds
            self.mark = paid if paid < now and self.phase == BODY else now
        exchange.body(data)

    # -- what exchanges ask for --------------------------------------------------------------------------

    def added_fields(self, host: bytes) -> bytes:
        """The fields we add to a request for *host*, remembered for the connection's next one."""
        if host != self._added_host or not self._added:
            self._added_host = host
            self._added = self.proxy.forwarder.lines(self.peer_ip, self.scheme, host)
        return self._added

    def exchange_over(self, exchange: Exchange) -> None:
        """*exchange* was answered whole: linger, close, or take the next one."""
        if exchange is not self._current:
            return
        self._current = None
        if not exchange.keep_alive:
            if exchange.is_whole:
                self.close()
            else:
                self._linger()
            return
        if exchange.upgrade and self._held is not None:
            self.proxy.loop.call_soon(self._read_on)
        self._release(HOLD_BODY)
        self.phase = IDLE if self._incoming is None or self._incoming is exchange else HEAD
        self.mark = self.proxy.clock.now
        if self._queue:
            # Not from inside the callback: a long queue would recurse.
            self.proxy.loop.call_soon(self._next)
        elif self._stopped:
            self.close()

    def switch(self, exchange: Exchange, service: UpstreamConnection, rest: bytes) -> None:
        """From here on this is a tunnel to *service*, as *exchange* asked, which has sent *rest* already."""
        held, self._held = self._held, None
        is_half_closed = self._stopped
        self._stop()
        if self.transport is None or service.transport is None:
            exchange.tunnel_over(bytes_in=0, bytes_out=0)
            service.abandon()
            self.close()
            return
        if exchange.entry is not None:
            self._switched = exchange
        self.phase = TUNNEL
        self.mark = self.proxy.clock.now
        self.proxy.tunnels += 1
        self._tunnel = Tunnel(self, self.transport, service)
        self._tunnel.start(from_client=held or b"", from_service=rest, is_half_closed=is_half_closed)

    def tunnel_moved(self) -> None:
        self.mark = self.proxy.clock.now

    def tunnel_closing(self) -> None:
        if self.phase != CLOSING:
            self.phase = CLOSING
            self.mark = self.proxy.clock.now

    def tunnel_ended(self, *, bytes_in: int, bytes_out: int) -> None:
        self._tunnel = None
        self.proxy.tunnels -= 1
        switched, self._switched = self._switched, None
        if switched is not None:
            switched.tunnel_over(bytes_in=bytes_in, bytes_out=bytes_out)
        self.connection_lost(None)

    def cut(self) -> None:
        """As `ClientLine.cut`; what is being answered ends with it."""
        current = self._current
        super().cut()
        if current is not None:
            current.client_gone()

    def _stop(self) -> None:
        self._current = None
        self._queue.clear()
        super()._stop()

    # -- told by the proxy's clock -------------------------------------------------------------------------

    def check_deadline(self, now: float) -> None:
        """End what has waited too long in its phase."""
        phase = self.phase
        if now - self.mark <= self.proxy.seconds_for(phase, self._current):
            return
        if self._tunnel is not None:
            self._tunnel.close() if phase == TUNNEL else self._tunnel.abort()
        elif phase in (CLOSING, ENDING):
            self._close_late(now)
        elif phase in (IDLE, LINGERING) or (phase == HEAD and self._incoming is None):
            self.close()
        elif phase == HEAD:
            self._refuse_head(408, "head_timeout", "the request head did not arrive in time")
        elif self._current is not None:
            if phase == BODY and self._current.awaits_body and not self._holds & HOLD_BODY:
                self._refuse_head(408, "body_timeout", "the request body did not arrive in time")
            else:
                self._current.timed_out(is_client_slow=self.is_paused)

    def drain(self) -> None:
        """Take no further request: close now when idle, else after the present answer."""
        if self.phase == IDLE and self._current is None and not self._queue:
            self.close()

    # -- a request like the one before ---------------------------------------------------------------------

    def _again(self, read: Read) -> None:
        """Take a request whose header block is the remembered one, or nearly."""
        method = read.method
        exchange = Exchange(self)
        exchange.target = read.target
        exchange.headers = read.headers
        exchange.fields = read.fields
        exchange.method = _METHODS.get(method) or _METHODS.setdefault(method, method.decode("ascii"))
        exchange.is_complete = True
        self._current = exchange
        self.method = method
        self.phase = WAITING
        self.mark = self.proxy.clock.now
        try:
            exchange.start()
            exchange.complete()
        except Exception as error:  # noqa: BLE001  one connection is isolated from the others
            self._incoming = exchange
            self._broke(error)

    def _remember(self, data: bytes, exchange: Exchange) -> None:
        self._whole = None
        # An absolute-form target has put its authority into the fields: they are not the block's alone.
        if exchange.fields is not None and exchange.version == "1.1" and exchange.target[:1] == b"/":
            self._repeat.remember(data, exchange.headers, exchange.fields, self.proxy.spellings)

    # -- inside --------------------------------------------------------------------------------------------

    def _enqueue(self, exchange: Exchange) -> None:
        if len(self._queue) >= PIPELINE_DEPTH:
            self._stopped = True
            self._queue[-1].keep_alive = False
            self.proxy.metrics.errors["pipeline_too_deep"] += 1
            return
        self._queue.append(exchange)
        self._hold(HOLD_PIPELINE)
        if self._current is None:  # it waits for the client to read, or for its turn
            self.phase = IDLE
            self.mark = self.proxy.clock.now
            self.proxy.loop.call_soon(self._next)

    def _next(self) -> None:
        if self._current is not None or not self._queue or self.is_paused:
            return
        exchange = self._queue.popleft()
        if not self._queue:
            self._release(HOLD_PIPELINE)
        self._current = exchange
        self.method = exchange.method.encode("ascii")
        self.phase = WAITING if exchange.is_complete else BODY
        self.mark = self.proxy.clock.now
        refusal = self._refusal
        if refusal is not None and not self._queue:
            exchange.refuse(refusal.status, refusal.reason, refusal.detail)
            return
        exchange.start()
        exchange.replay()

    def _check_sizes(self) -> None:
        """Bound what has no end yet: a head, a chunk extension, a trailer, each across segments."""
        limits = self.proxy.limits
        if self._in_body:
            if self._quiet_bytes > limits.header_bytes + BUFFER_BYTES:
                self._refuse_head(400, "body_framing_too_large", "chunk extensions or trailers are too large")
            if self._body and self._incoming is not None and not self._stopped:
                self._tell_body(self._incoming)
            self.proxy.outgoing.flush()  # so that a slow upstream is noticed before the next read
        elif self._incoming is not None:
            if not self._head_bytes:
                self._head_bytes = 1  # it began behind something else: its first part was not counted
            elif self._head_bytes > limits.header_bytes + limits.target_bytes:
                self._refuse_head(431, "head_too_large", "the request head is too large")

    def _refuse_head(self, status: int, reason: str, detail: str) -> None:
        """Answer what never became a request, in its turn, and close."""
        if self._stopped:
            return
        self._stopped = True
        exchange = self._incoming if self._incoming is not None else Exchange(self)
        self._incoming = None
        exchange.keep_alive = False
        if self._current is exchange:
            exchange.interrupt(status, reason, detail)
        elif self._current is None and not self._queue:
            self._current = exchange
            exchange.refuse(status, reason, detail)
        else:
            self._refusal = Refused(status, reason, detail)
            if not self._queue or self._queue[-1] is not exchange:
                self._queue.append(exchange)
            self._hold(HOLD_PIPELINE)

    def _unreadable(self, error: httptools.HttpParserError) -> None:
        self._body.clear()
        if isinstance(error, httptools.HttpParserCallbackError):
            self._broke(error)
        else:
            self._refuse_head(400, "bad_request", f"the request is not valid HTTP/1.1: {error}")

    def _broke(self, error: Exception) -> None:
        """A fault of ours while reading a request: count it, answer 500, close."""
        self.proxy.log_fault(error.__cause__ or error.__context__ or error)
        self._refuse_head(500, "internal", "the proxy failed to handle this request")

    def _after_upgrade(self, rest: memoryview) -> None:
        """llhttp stops at an upgrade request; what is not offered to the service goes on as HTTP/1.1."""
        while True:
            if self._incoming is not None and self._incoming.upgrade and not self._stopped:
                self._await_switch(self._incoming, bytes(rest))
                return
            try:
                self._as_plain_request()
                if rest and not self._stopped:
                    self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._unreadable(error)
                return

    def _await_switch(self, exchange: Exchange, rest: bytes) -> None:
        """Read no more until the service has said which protocol *rest* belongs to."""
        self._upgrading = False
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_complete()
        self._whole = None
        self._held = rest
        self._hold(HOLD_SWITCH)
        if exchange.is_over:  # refused by ourselves
            self.proxy.loop.call_soon(self._read_on)  # not at once: many of them would recurse

    def _read_on(self) -> None:
        """The service did not switch: what the client said since is HTTP, and may ask to switch again."""
        held, self._held = self._held, None
        self._release(HOLD_SWITCH)
        if held and not self._stopped:
            self.data_received(held)

    def _as_plain_request(self) -> None:
        """Go on after the head of an upgrade request as if it asked for none (RFC 9110 7.8).

        The body, if any, is parsed by a fresh parser that is told its framing. Raises HttpParserError.
        """
        exchange, self._incoming = self._incoming, None
        self._upgrading = False
        self._parser = httptools.HttpRequestParser(self)
        if exchange is None or self._stopped:
            return
        framing = [
            (name, value)
            for name, value in exchange.headers
            if name.lower() in (b"content-length", b"transfer-encoding")
        ]
        self._stopped = True  # nobody listens while the framing is told again
        try:
            lines = b"".join(b"%b: %b\r\n" % field for field in framing)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")
        finally:
            self._stopped = False
            self._incoming = exchange
        if not any(value.strip(b" \t0") for _, value in framing):
            self.on_message_complete()
