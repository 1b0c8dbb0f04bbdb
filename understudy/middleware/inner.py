"""The application itself, asked once more in this process: the control of what it answers clients.

It is asked with a copy of the first request's scope, so that what outer middleware put there (a session, a
user) is there again; a method that is not safe never comes here (see `understudy.shadow`).
"""

import asyncio
from copy import deepcopy
from typing import Final

from understudy.forwarding import HOP_BY_HOP
from understudy.middleware.decision import KEY, Decision, put
from understudy.middleware.request import App, AsgiRequest, Message, Scope, are_fields, octets
from understudy.shadow import ShadowCall
from understudy.upstream import Caller, DelegateConnection

UNSEEN: Final = frozenset({b"date", b"server"})
"""What servers add to the answers of applications."""

DROPPED: Final = UNSEEN | HOP_BY_HOP

MARK: Final = (b"x-understudy-shadow", b"control")


class Inner:
    """A `Delegate` that asks the application that answered, else *app*."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, connection: DelegateConnection, caller: Caller, wire: bytes) -> None:
        head = caller.head if isinstance(caller, ShadowCall) else None
        if not isinstance(head, AsgiRequest) or head.again is None:
            connection.lost("unknown")
            return
        answer = _Answer(connection, wire.partition(b"\r\n\r\n")[2])
        try:
            await (head.asks or self._app)(_given(head, head.again), answer.receive, answer.send)
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # Whatever the application raises, its first answer came or did not. To one that exits servers
            # answer 500; here it would end the event loop.
            if isinstance(error, asyncio.CancelledError) and not connection.is_wanted:
                raise
            connection.lost("raised")
        else:
            connection.lost("closed")  # nothing, if the answer was whole


def again(scope: Scope) -> Scope:
    """A copy of *scope* with its own fields, state and session; raises whatever copying those raises.

    It is without the decision, which with its request is a cycle.
    """
    copied = dict(scope)
    copied["state"] = state = dict(scope["state"])
    copied["headers"] = list(scope["headers"])
    del copied[KEY], state[KEY]
    if "session" in copied:
        # Outer middleware stores what becomes of the first one.
        copied["session"] = deepcopy(copied["session"])
    return copied


def _given(request: AsgiRequest, kept: Scope) -> Scope:
    """What the application is given the second time: marked, without the means of the first one's server."""
    state = dict(kept["state"])
    scope = {**kept, "state": state, "headers": [*kept["headers"], MARK], "extensions": {}}
    in_force, found = request.decided
    head = AsgiRequest(scope)
    head.way = lambda _head: request.client_ip  # as it was found in the fields that came
    put(scope, Decision(in_force, head, found, True))
    return scope


class _Answer:
    def __init__(self, connection: DelegateConnection, body: bytes) -> None:
        self._connection = connection
        self._body: bytes | None = body
        self._over = asyncio.Event()

    async def receive(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._connection.answer(message["status"], end_to_end(message), -1)
        elif kind == "http.response.body":
            self._connection.data(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                self._connection.end()
                self._over.set()


def end_to_end(message: Message) -> list[tuple[bytes, bytes]]:
    """The fields of an answer's start that are compared: not those of this hop, nor what servers add.

    Raises TypeError or ValueError for what is no field; some servers take text.
    """
    given = message.get("headers", ())
    fields = given if are_fields(given) else [(octets(name), octets(value)) for name, value in given]
    return [field for field in fields if field[0] not in DROPPED]
