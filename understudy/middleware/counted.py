"""Requests that were answered, counted by what they were decided to be, and who met which variant."""

from bisect import bisect_left
from collections.abc import Awaitable
from time import perf_counter
from typing import Final

from understudy.engine import Plan
from understudy.histogram import SECONDS
from understudy.messages import Head
from understudy.middleware.decision import KEY, Decision
from understudy.middleware.request import Message, Scope, Send

RAISED: Final = 500
"""What servers, and the outermost middleware of frameworks, answer when an application raises."""

BODIES: Final = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
"""What an answer's body comes in: pieces, or files that the server sends (ASGI's extensions)."""


class Counted:
    """A server's ``send`` that counts the request by *plan* when its answer is whole.

    *scope* has the decision, which the application may take from it.
    `over`, once the application has returned: whatever has not been counted by then is, with its exception.
    """

    __slots__ = ("_decision", "_is_counted", "_plan", "_send", "_started_at", "_status")

    def __init__(self, plan: Plan, scope: Scope, send: Send) -> None:
        self._plan = plan
        self._send = send
        self._decision: Decision = scope[KEY]
        self._started_at = perf_counter()
        self._status = 0
        self._is_counted = False

    def send(self, message: Message) -> Awaitable[None]:
        """Hand *message* to the server."""
        kind = message["type"]
        if kind == "http.response.start":
            self._status = status_of(message)
        elif kind in BODIES and not (message.get("more_body", False) or self._is_counted):
            self._count()  # background tasks follow, and are no part of it
        return self._send(message)

    def over(self, error: BaseException | None = None) -> None:
        """The application has returned, or raised *error*."""
        if not self._is_counted:
            if not self._status and isinstance(error, Exception):
                self._status = RAISED
            self._count()

    def _count(self) -> None:
        self._is_counted = True
        count(self._plan, self._decision.head, self._status, perf_counter() - self._started_at)


def status_of(message: Message) -> int:
    """The status that an answer's start says; 0 for what is none, of which the server may tell."""
    status = message.get("status", 0)
    return status if isinstance(status, int) and status > 0 else 0


def count(plan: Plan, head: Head, status: int, seconds: float) -> None:
    """Count the request *head*, which was answered by *plan*; *status* 0 when it got no answer."""
    stats = plan.stats
    stats.codes[min(status // 100, 5)] += 1
    stats.duration.counts[bisect_left(SECONDS, seconds)] += 1
    stats.duration.total += seconds
    if plan.meetings is not None:
        plan.meetings.see(plan.decision, head)
