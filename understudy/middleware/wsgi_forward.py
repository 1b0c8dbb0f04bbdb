"""A WSGI request that another service answers: carried by the loop as in ASGI, written by the thread."""

import concurrent.futures
import errno
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.environ import Environ
from understudy.middleware.errands import Errands
from understudy.middleware.forward import Forward
from understudy.middleware.hop import Hop
from understudy.middleware.request import Message, Scope
from understudy.middleware.wsgi_bridge import Bridge
from understudy.middleware.wsgi_dark import Decided
from understudy.middleware.wsgi_tee import StartResponse

log = logging.getLogger("understudy.middleware")

HINTS: Final = "wsgi.early_hints"
"""Gunicorn's, to which fields are told: it sends them as a 103."""
HINT: Final = "http.response.early_hint"


class Carried:
    """The answer of a service, as a server iterates it. Raises OSError where it broke off.

    `begin` first. ``plan`` is what the request came to, for who answers instead; None: nobody has said.
    """

    def __init__(self, errands: Errands, hop: Hop, decided: Decided, scope: Scope, environ: Environ) -> None:
        self._errands = errands
        self._hop = hop
        self._decided = decided
        self._scope = scope
        self._hints: Any = environ.get(HINTS)
        if self._hints is not None:
            self._scope = {**scope, "extensions": {HINT: {}}}
        self._bridge = Bridge(environ, errands.stage.loop)
        self._is_ended = False
        self.plan: Plan | None = None

    def begin(self, run: Any, start_response: StartResponse) -> bool:
        """Wait for the answer's head; False when the application shall answer. *run* does work in the loop.

        Raises OSError when there is no answer at all, not even one that says so.
        """
        try:
            carried: concurrent.futures.Future[bool] = run(self._carry())
        except RuntimeError:
            return False  # it has ended
        carried.add_done_callback(self._bridge.over)
        kind, value = self._bridge.next()
        while kind == HINT:
            self._hint(value)
            kind, value = self._bridge.next()
        if kind == "over":
            if not value.cancelled() and value.exception() is None and not value.result():
                return False
            raise broken_off()
        try:
            start_response(status_line(value["status"]), fields(value))
        except BaseException:
            self.close()  # the server will not: it was given no answer
            raise
        return True

    def _hint(self, message: Message) -> None:
        try:
            self._hints([("Link", link.decode("latin-1")) for link in message["links"]])
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, OSError):
                log.debug("the server takes no hint: %s", error)  # the answer comes all the same
                return
            self.close()  # the client is gone, and the server was given no answer
            raise

    async def _carry(self) -> bool:
        stage = self._errands.stage
        plan = self._decided.plan(stage)
        if plan is None:  # rules that came into force meanwhile: by those before, one more time
            plan = stage.engine.decide(self._decided.request)
        self.plan = plan
        if plan is None or plan.decision.serve == APP:
            return False
        bridge, request = self._bridge, self._decided.request
        forward = Forward(stage, self._hop, plan, request, self._scope, bridge.receive, bridge.send)
        is_ours = await forward.run()
        self.plan = forward.plan
        return is_ours

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._is_ended:
            kind, value = self._bridge.next()
            if kind == "body":
                piece: bytes = value
                return piece
            self._is_ended = kind in ("over", "end")
            if kind == "over":
                raise broken_off()
        raise StopIteration

    def close(self) -> None:
        """The server is done with it, whether whole or not."""
        self._bridge.leave()


def status_line(status: int) -> str:
    """The status as WSGI wants it said: with a phrase."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def fields(start: Message) -> list[tuple[str, str]]:
    """The fields of an answer's start as WSGI has them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]


def broken_off() -> OSError:
    """On which servers close the connection without the end of the answer (RFC 9112 8)."""
    return ConnectionResetError(errno.ECONNRESET, "the service's answer broke off")
