"""A request that the application answers while services rehearse it: both ways are told to the mirror.

The client's bytes go first: what is told here is told once the server has them, and what fails here is
counted (`Rehearsal`), never raised.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from understudy.engine import Plan
from understudy.messages import Head
from understudy.middleware.counted import count
from understudy.middleware.inner import end_to_end
from understudy.middleware.request import App, Message, Receive, Scope, Send
from understudy.proxy.rehearsal import Rehearsal


class Dark:
    """Tells *rehearsal* of the request *head* and of the application's answer, and counts it as *plan*'s.

    A copy is sent when the application has read the whole body; at once when there is none (*has_body*
    False). What it never reads is not read for it: then no copy is sent (``request_incomplete``).
    """

    __slots__ = (
        "_awaits_body",
        "_head",
        "_is_answered",
        "_is_head",
        "_is_sent",
        "_plan",
        "_receive",
        "_rehearsal",
        "_send",
        "_started_at",
        "_status",
    )

    def __init__(
        self,
        rehearsal: Rehearsal,
        plan: Plan,
        head: Head,
        receive: Receive,
        send: Send,
        *,
        is_head: bool,
        has_body: bool,
    ) -> None:
        self._rehearsal = rehearsal
        self._plan = plan
        self._head = head
        self._receive = receive
        self._send = send
        self._is_head = is_head
        self._awaits_body = has_body
        self._is_sent = False
        self._is_answered = False
        self._status = 0
        self._started_at = perf_counter()

    async def run(self, app: App, scope: Scope) -> None:
        """Let *app* answer."""
        if not self._awaits_body:
            # When the application first waits for something; else just before its answer is settled.
            asyncio.get_running_loop().call_soon(self._copy)
        try:
            await app(scope, self._tee_request, self._tee_answer)
        finally:
            count(self._plan, self._head, self._status, perf_counter() - self._started_at)
            if not self._is_answered:
                self._abort("primary_failed")

    def _copy(self) -> None:
        """The request is whole: its copies may go."""
        if not self._is_sent:
            self._is_sent = True
            self._rehearsal.send()

    async def _tee_request(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            if self._awaits_body:
                if body:
                    self._rehearsal.body(bytes(body))
                if not message.get("more_body", False):
                    self._awaits_body = False
                    self._copy()
            elif body and not self._is_answered:
                self._abort("unannounced_body")  # the copies went without it
        elif not self._is_answered:
            self._abort("client_aborted")
        return message

    async def _tee_answer(self, message: Message) -> None:
        seconds = perf_counter() - self._started_at
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if not isinstance(message.get("headers", ()), Sequence):
                message = {**message, "headers": list(message["headers"])}  # the server would leave us none
        await self._send(message)
        try:
            self._tell(message, seconds)
        except Exception:  # noqa: BLE001  what the server took is answered, whatever it is to us
            self._abort("unreadable_answer")

    def _tell(self, message: Message, seconds: float) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if not self._is_answered:
                self._rehearsal.answer(message["status"], end_to_end(message))
        elif kind == "http.response.body":
            self._told(message, seconds)
        elif kind in ("http.response.pathsend", "http.response.zerocopysend"):
            self._abort("unseen_body")  # the server sends a file that never comes by here

    def _told(self, message: Message, seconds: float) -> None:
        if self._is_answered:
            return
        body = message.get("body", b"")
        if body and not self._is_head:
            self._rehearsal.data(bytes(body))
        if not message.get("more_body", False):
            self._is_answered = True
            if not self._awaits_body:
                self._copy()
            self._rehearsal.complete(seconds, b"")

    def _abort(self, reason: str) -> None:
        self._is_answered = True
        self._is_sent = True
        self._rehearsal.abort(reason)
