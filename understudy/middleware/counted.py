"""Requests that were answered, counted by what they were decided to be, and who met which variant."""

from bisect import bisect_left
from collections.abc import Awaitable
from time import perf_counter

from understudy.engine import Plan
from understudy.histogram import SECONDS
from understudy.messages import Head
from understudy.middleware.decision import KEY, Decision
from understudy.middleware.request import Message, Scope, Send


class Counted:
    """A server's ``send`` that remembers the status of the answer; `count` once it is over.

    *scope* has the decision, which the application may take from it.
    """

    __slots__ = ("_decision", "_send", "_started_at", "status")

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._decision: Decision = scope[KEY]
        self._started_at = perf_counter()
        self.status = 0

    def send(self, message: Message) -> Awaitable[None]:
        """Hand *message* to the server."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        return self._send(message)

    def count(self, plan: Plan) -> None:
        """Add the request to the counts of *plan*; without an answer it is one of no status."""
        count(plan, self._decision.head, self.status, perf_counter() - self._started_at)


def count(plan: Plan, head: Head, status: int, seconds: float) -> None:
    """Count the request *head*, which was answered by *plan*; *status* 0 when it got no answer."""
    stats = plan.stats
    stats.codes[min(status // 100, 5)] += 1
    stats.duration.counts[bisect_left(SECONDS, seconds)] += 1
    stats.duration.total += seconds
    if plan.meetings is not None:
        plan.meetings.see(plan.decision, head)
