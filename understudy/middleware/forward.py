"""A request that another service answers: sent on from inside the application, as the proxy would."""

import asyncio
import logging
from time import perf_counter
from typing import Final

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.counted import count
from understudy.middleware.hop import Hop
from understudy.middleware.request import AsgiRequest, Message, Receive, Scope, Send
from understudy.middleware.stage import Stage
from understudy.middleware.told import Lost, Told
from understudy.proxy.heads import CHUNKED, CRLF, UNSIZED, Refused
from understudy.proxy.preparation import CHUNKED_FIELD, NOT_FORWARDED
from understudy.proxy.problems import DETAIL_OF, RETRY_AFTER, STATUS_OF, problem_body

log = logging.getLogger("understudy.middleware")

LAST_CHUNK: Final = b"0\r\n\r\n"

SERVERS_OWN: Final = frozenset({b"date", b"server"})
"""What the application's server says by itself, and would say twice."""

GONE_SECONDS: Final = 1.0
"""For a server to let go of a client that it called gone: some wait for its window, which never opens."""


class Forward:
    """*request*, which was decided, and its answer. ``plan`` is the fallback's once that stands in."""

    def __init__(
        self,
        stage: Stage,
        hop: Hop,
        plan: Plan,
        request: AsgiRequest,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self.plan = plan
        self.status = 0
        self._stage = stage
        self._hop = hop
        self._scope = scope
        self._request = request
        self._receive = receive
        self._send = send
        self._wire = b""
        self._is_chunked = False
        self._left = 0
        """What the body has yet to have, unless it is chunked."""
        self._told = Told(stage, plan, method=self._request.method, has_body=False)
        self._feeding: asyncio.Task[None] | None = None
        self._deadline: asyncio.Timeout | None = None
        self._relaying: asyncio.Timeout | None = None
        self._is_left = False
        """Whether the server has said that the client is gone."""
        self._has_begun = False
        self._was_asked = False
        self._paid_at = 0.0
        """Until when the client has paid for its silence with bytes, by the loop's clock."""
        self._started_at = perf_counter()

    async def run(self) -> bool:
        """Answer; False when the application shall, by ``plan``: nothing of the body is read then."""
        is_ours = True
        try:
            self._prepare()
            is_ours = await self._answer()
        except Refused as refused:
            await self._refuse(refused.status, refused.reason, refused.detail)
        except Lost as lost:
            await self._give_up(lost.reason)
        except OSError:
            await self._give_up("client_gone")  # a server says so (ASGI 2.4)
        except Exception:
            log.exception("a request could not be sent on")
            await self._give_up("internal")
        finally:
            self._let_go()
            self._told.rehearse_no_more("client_aborted")
            if is_ours:
                count(self.plan, self._request, self.status, perf_counter() - self._started_at)
        return is_ours

    def _prepare(self) -> None:
        """Make the head that goes to the service. Raises `Refused`."""
        request, plan = self._request, self.plan
        if request.method in NOT_FORWARDED:
            raise Refused(405, "bad_method", f"{request.method} is not forwarded")
        fields = self._hop.read(request, self._scope)
        has_body = fields.length not in (UNSIZED, 0)
        self._is_chunked = fields.length == CHUNKED
        self._left = fields.length
        self._told = Told(self._stage, plan, method=request.method, has_body=has_body)
        added = self._hop.added(self._scope, fields, plan.authority)
        ours = added + plan.cohort
        if fields.length != UNSIZED:
            ours += CHUNKED_FIELD if self._is_chunked else b"Content-Length: %d\r\n" % fields.length
        start = b"%b %b HTTP/1.1" % (request.method.encode("latin-1"), request.target)
        self._wire = CRLF.join((start, *fields.lines, ours, b""))
        if plan.targets:
            self._told.rehearsal = self._stage.rehearse(
                plan, request, fields, target=request.target, added=added
            )

    async def _answer(self) -> bool:
        """Ask, and send the answer on; False when the application shall answer instead. Raises `Lost`."""
        is_again = False
        while True:
            try:
                async with asyncio.timeout(self.plan.first_byte_seconds) as self._deadline:
                    await self._told.ask(self._wire, fresh=is_again)
                    self._was_asked = True
                    await self._begin_answer()
                break
            except TimeoutError:
                if self._told.connection is not None:
                    self._told.connection.health.failed("answer_timeout")
                raise Lost("answer_timeout") from None
            except Lost as lost:
                self._let_go()
                fallback = self.plan.fallback
                if not is_again and lost.is_repeatable:
                    is_again = True
                elif lost.is_unreached and fallback is not None and not self._was_asked:
                    is_again = False
                    self._fall_back(fallback)
                    if self.plan.decision.serve == APP:
                        return False
                else:
                    raise
            finally:
                self._deadline = None
        await self._relay()
        return True

    def _fall_back(self, fallback: Plan) -> None:
        """The default variant stands in: nobody was asked yet."""
        self._told.rehearse_no_more("fallback")
        self._wire = self.plan.fallen(self._wire)
        self.plan = self._told.plan = fallback

    async def _begin_answer(self) -> None:
        """Send the body on until the answer begins. Raises `Lost`."""
        told = self._told
        if told.is_whole and told.rehearsal is not None:
            told.rehearsal.send()
        feeding = self._stage.spawn(self._feed())
        self._feeding = feeding if isinstance(feeding, asyncio.Task) else None
        if not told.is_whole:
            if self._feeding is None:
                raise Lost("pool_closed")  # the middleware ends
            self._give(None)  # the client has its own time for the body
        while True:
            kind, value = await told.next()
            if kind == "interim":
                await self._hint(*value)
            elif kind == "head":
                await self._begin(*value)
                return
            else:
                raise value if isinstance(value, Lost) else Lost("bad_answer")

    async def _hint(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Pass early hints on where the server can (ASGI's extension)."""
        extensions = self._scope.get("extensions") or {}
        if status == 103 and "http.response.early_hint" in extensions:
            links = [value for name, value in headers if name.lower() == b"link"]
            await self._send({"type": "http.response.early_hint", "links": links})

    async def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._has_begun = True
        lower = [(name.lower(), value) for name, value in headers]
        kept = [field for field in lower if field[0] not in SERVERS_OWN]
        kept.append((b"via", b"1.1 " + self._hop.via_id))
        await self._send({"type": "http.response.start", "status": status, "headers": kept})

    async def _relay(self) -> None:
        """Send the rest of the answer on, while there is a client."""
        try:
            async with asyncio.timeout(GONE_SECONDS if self._is_left else None) as self._relaying:
                await self._relay_rest()
        except OSError:
            self._cut("client_gone")  # a server says so (ASGI 2.4), or has not let go of it

    async def _relay_rest(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.plan.idle_seconds):
                    kind, value = await self._told.next()
            except TimeoutError:
                self._cut("answer_idle")
                return
            if kind == "data":
                await self._send({"type": "http.response.body", "body": value, "more_body": True})
            elif kind == "end":
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            else:
                self._cut(value.reason if isinstance(value, Lost) else "bad_answer")
                return

    # -- the request's body --------------------------------------------------------------------------------

    def _give(self, seconds: float | None) -> None:
        """The head of the answer may take so long from now on."""
        deadline = self._deadline
        if deadline is not None and not (self._has_begun or deadline.expired()):
            deadline.reschedule(None if seconds is None else self._stage.loop.time() + seconds)

    async def _feed(self) -> None:
        """Send the body on as it comes, then see whether the client leaves."""
        told = self._told
        has_ended = False
        self._paid_at = self._stage.loop.time()
        try:
            while True:
                if not told.may_write.is_set():
                    await self._until_writable()
                until = None if told.is_whole else self._paid_at + self._stage.body_idle_seconds
                async with asyncio.timeout_at(until):
                    message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise Lost("client_gone")
                if not told.is_whole:
                    self._feed_piece(message)
                elif has_ended:
                    return  # a receive that repeats itself for ever would hold the loop
                has_ended = told.is_whole
        except TimeoutError:
            told.tell("lost", Lost("body_timeout"))
        except Lost as lost:
            self._lose(lost)
        except asyncio.CancelledError:
            if self._feeding is asyncio.current_task():
                told.tell("lost", Lost("pool_closed"))  # not by us: the middleware ends
            raise
        except OSError:
            self._lose(Lost("client_gone"))
        except Exception:
            log.exception("a request's body could not be read")
            self._lose(Lost("client_gone"))

    def _lose(self, lost: Lost) -> None:
        """The request comes no further; a server whose client is gone may take more of the answer, or not."""
        self._told.tell("lost", lost)
        self._is_left = lost.reason == "client_gone"
        if self._is_left and self._relaying is not None:
            self._relaying.reschedule(self._stage.loop.time() + GONE_SECONDS)

    async def _until_writable(self) -> None:
        """Wait until the service takes more of the body. Raises `Lost` once an answer would be late."""
        told = self._told
        try:
            async with asyncio.timeout(None if told.is_whole else self._patience()):
                await told.may_write.wait()
        except TimeoutError:
            if told.connection is not None:
                told.connection.health.failed("answer_timeout")
            raise Lost("answer_timeout") from None
        self._paid_at = self._stage.loop.time()

    def _patience(self) -> float:
        return self.plan.idle_seconds if self._has_begun else self.plan.first_byte_seconds

    def _feed_piece(self, message: Message) -> None:
        told, connection = self._told, self._told.connection
        if connection is None or connection.caller is not told:
            return  # answered already: the rest is not wanted
        data = bytes(message.get("body", b""))
        # Each byte buys its share of a second, so that a trickle holds nothing for ever.
        paid_at = self._paid_at + len(data) * self._stage.body_byte_seconds
        self._paid_at = min(paid_at, self._stage.loop.time())
        self._check_length(len(data), is_last=not message.get("more_body", False))
        if data:
            if told.rehearsal is not None:
                told.rehearsal.body(data)
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        if not message.get("more_body", False):
            told.is_whole = True
            self._give(self.plan.first_byte_seconds)
            if self._is_chunked:
                connection.write(LAST_CHUNK)
            if told.rehearsal is not None:
                told.rehearsal.send()

    def _check_length(self, count: int, *, is_last: bool) -> None:
        """Raises `Lost` when the body is not as long as was said: a surplus would be another request."""
        if self._is_chunked:
            return
        self._left -= count
        if self._left < 0 or (is_last and self._left):
            raise Lost("bad_length")

    # -- ends --------------------------------------------------------------------------------------------

    async def _give_up(self, reason: str) -> None:
        """Answer in the service's place, unless its answer has begun or nobody waits for one."""
        if reason == "client_gone":
            self.status = 499
            self._told.rehearse_no_more("client_aborted")
            if not self._has_begun:
                await self._say(499, [(b"content-length", b"0")], b"")  # outer middleware waits for one
        elif self._has_begun:
            self._cut(reason)
        elif reason == "bad_length":
            await self._refuse(400, reason, "the request's body is not as long as its Content-Length")
        elif reason == "body_timeout":
            await self._refuse(408, reason, "the request's body did not come in time")
        else:
            await self._refuse(STATUS_OF.get(reason, 502), reason, DETAIL_OF.get(reason, reason))

    async def _refuse(self, status: int, reason: str, detail: str) -> None:
        self.status = status
        self._stage.metrics.errors[reason] += 1
        self._told.rehearse_no_more("primary_failed")
        self._let_go()
        body = problem_body(status, reason, detail)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        if reason in RETRY_AFTER:
            headers.append((b"retry-after", b"1"))
        await self._say(status, headers, body)

    async def _say(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer this, if anybody is there."""
        try:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
        except OSError:
            self._cut("client_gone")

    def _cut(self, reason: str) -> None:
        """The answer broke off: a server that is left without its end cuts the client (RFC 9112 8)."""
        self._stage.metrics.errors["cut_" + reason] += 1
        self._told.rehearse_no_more("client_aborted" if reason == "client_gone" else "primary_failed")

    def _let_go(self) -> None:
        """Ask nobody any more, and read no more of the request."""
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        self._told.let_go()
