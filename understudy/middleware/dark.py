"""A request that the application answers while services rehearse it: both ways are told to the mirror.

The client's bytes go first: what is told here is told once the server has them, as the application gave them
(outer middleware compresses and signs in place), and what fails here is counted (`Rehearsal`), never raised.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from understudy.engine import Plan
from understudy.middleware.counted import Counted, status_of
from understudy.middleware.inner import end_to_end
from understudy.middleware.request import Message, Receive, Scope, Send
from understudy.proxy.rehearsal import Rehearsal


class Dark:
    """Tells *rehearsal* of the request *head* and of the application's answer, and counts it as *plan*'s.

    A copy is sent when the application has read the whole body; at once when there is none (*has_body*
    False). What it never reads is not read for it: then no copy is sent (``request_incomplete``).
    """

    __slots__ = (
        "_awaits_body",
        "_counted",
        "_is_answered",
        "_is_head",
        "_is_sent",
        "_receive",
        "_rehearsal",
        "_started_at",
    )

    def __init__(
        self,
        rehearsal: Rehearsal,
        plan: Plan,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        is_head: bool,
        has_body: bool,
    ) -> None:
        self._rehearsal = rehearsal
        self._receive = receive
        self._counted = Counted(plan, scope, send)
        self._is_head = is_head
        self._awaits_body = has_body
        self._is_sent = False
        self._is_answered = False
        self._started_at = perf_counter()

    def begin(self) -> None:
        """The application is about to be asked."""
        if not self._awaits_body:
            # When the application first waits for something; else just before its answer is settled.
            asyncio.get_running_loop().call_soon(self._copy)

    def over(self, error: BaseException | None = None) -> None:
        """The application has returned, or raised *error*."""
        self._counted.over(error)
        if not self._is_answered:
            self._abort("primary_failed")

    def _copy(self) -> None:
        """The request is whole: its copies may go."""
        if not self._is_sent:
            self._is_sent = True
            self._rehearsal.send()

    async def receive(self) -> Message:
        """The server's message, told."""
        message = await self._receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            if self._awaits_body:
                data = bytes_of(body)
                if data is None:
                    self._abort("unreadable_request")
                elif data:
                    self._rehearsal.body(data)
                if not message.get("more_body", False):
                    self._awaits_body = False
                    self._copy()
            elif body and not self._is_answered:
                self._abort("unannounced_body")  # the copies went without it
        elif not self._is_answered:
            self._abort("client_aborted")
        return message

    async def send(self, message: Message) -> None:
        """Hand *message* to the server, and tell what it was before that."""
        seconds = perf_counter() - self._started_at
        kind = message["type"]
        if kind == "http.response.body":
            body = bytes_of(message.get("body", b""))
            is_last = not message.get("more_body", False)
            await self._counted.send(message)
            self._told(body, seconds, is_last=is_last)
        elif kind == "http.response.start":
            if not isinstance(message.get("headers", ()), Sequence):
                message = {**message, "headers": list(message["headers"])}  # the server would leave us none
            status, headers = status_of(message), fields_of(message)
            await self._counted.send(message)
            if headers is None or not status:
                self._abort("unreadable_answer")
            elif not self._is_answered:
                self._rehearsal.answer(status, headers)
        else:
            await self._counted.send(message)
            if kind in ("http.response.pathsend", "http.response.zerocopysend"):
                self._abort("unseen_body")  # the server sends a file that never comes by here

    def _told(self, body: bytes | None, seconds: float, *, is_last: bool) -> None:
        if self._is_answered:
            return
        if body is None:
            self._abort("unreadable_answer")  # what the server took is answered, whatever it is to us
            return
        if body and not self._is_head:
            self._rehearsal.data(body)
        if is_last:
            self._is_answered = True
            if not self._awaits_body:
                self._copy()
            self._rehearsal.complete(seconds, b"")

    def _abort(self, reason: str) -> None:
        self._is_answered = True
        self._is_sent = True
        self._rehearsal.abort(reason)


def bytes_of(body: Any) -> bytes | None:
    """*body* as it is now, since what is no ``bytes`` may change; None for what no body can be."""
    if type(body) is bytes:
        return body
    try:
        return bytes(memoryview(body))
    except TypeError:
        return None


def fields_of(message: Message) -> list[tuple[bytes, bytes]] | None:
    """What an answer's start says that is compared; None when it cannot be read."""
    try:
        return end_to_end(message)
    except Exception:  # noqa: BLE001  the application's, who is told by the server
        return None
