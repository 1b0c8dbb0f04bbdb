"""What stands before a WebSocket: only who may is let through, and nobody before it has said who it is.

A page in a browser can set no header on a WebSocket, and a token in an address ends in logs: so a listener
may send its token as the first message. The endpoint does not begin before that.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from understudy.access import Caller
from understudy.admin.gate import Paces, identify, peer, permitted, session
from understudy.admin.keyring import Keyring
from understudy.admin.problems import problem
from understudy.admin.refusal import Refusal
from understudy.admin.request import CALLER
from understudy.admin.rights import ANYONE, needed
from understudy.admin.safety import values
from understudy.admin.stream_socket import read_message
from understudy.errors import StoreError

TOKEN_SECONDS: Final = 10.0
"""How long one that shows no token in the handshake has to send it."""
MOST_WAITING: Final = 100
"""Who has not said who it is yet; more are refused, so that nobody fills the room without a token."""
_REFUSED: Final = 1008
_LATER: Final = 1013


class SocketGate:
    """Lets through to *app*, the endpoint at *path*, who may; the caller stands in the scope then."""

    def __init__(self, app: ASGIApp, *, path: str, keyring: Keyring, paces: Paces) -> None:
        self._app = app
        self._paces = paces
        self._path = path
        self._keyring = keyring
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not _shows_nothing(scope) or self._keyring.is_open:
                scope[CALLER] = self._checked(scope, await identify(scope, self._keyring))
            elif self._waiting >= MOST_WAITING:
                raise Refusal(503, "too many who have not shown a token yet", headers={"Retry-After": "5"})
        except Refusal as refusal:
            await _answer(refusal)(scope, receive, send)
            return
        except StoreError as error:
            await problem(503, str(error), headers={"Retry-After": "1"})(scope, receive, send)
            return
        if CALLER in scope:
            await self._app(scope, receive, send)
        else:
            await self._after_token(scope, receive, send)

    async def _after_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept, and let through who sends a token that may."""
        self._waiting += 1
        try:
            connect = await receive()
            await send({"type": "websocket.accept"})
            async with asyncio.timeout(TOKEN_SECONDS):
                first = await receive()
            if first["type"] != "websocket.receive":
                return
            scope[CALLER] = await self._shown(scope, first)
        except TimeoutError:
            await send(_close(_REFUSED, f"no token came within {TOKEN_SECONDS:.0f} s"))
            return
        except (Refusal, StoreError) as error:
            await send(_close(_REFUSED if isinstance(error, Refusal) else _LATER, str(error)))
            return
        finally:
            self._waiting -= 1
        await self._app(scope, _Again(receive, [connect, first]), _Accepted(send))

    async def _shown(self, scope: Scope, first: Message) -> Caller:
        token = (read_message(first) or {}).get("token")
        if not isinstance(token, str):
            raise Refusal(401, 'the first message is {"token": "…"}')
        caller = await self._keyring.learning(
            lambda: self._keyring.caller(peer=peer(scope), authorizations=[f"Bearer {token}"], session="")
        )
        return self._checked(scope, caller)

    def _checked(self, scope: Scope, caller: Caller) -> Caller:
        role = needed(self._path, "GET")
        if role is None:
            raise Refusal(403, "nobody may do this")
        if role != ANYONE:
            held = permitted(caller, role, scope, path=self._path, keyring=self._keyring)
            self._paces.check(caller, held, is_change=False)
        return caller


class _Again:
    """Receives what was received already, then what comes."""

    def __init__(self, receive: Receive, messages: list[Message]) -> None:
        self._receive = receive
        self._messages = messages

    async def __call__(self) -> Message:
        return self._messages.pop(0) if self._messages else await self._receive()


class _Accepted:
    """Sends on a socket that is accepted already: not twice, and a refusal as a close."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept" | "websocket.http.response.body":
                return
            case "websocket.http.response.start":
                await self._send(_close(_LATER, "no room; come again later"))
            case _:
                await self._send(message)


def _shows_nothing(scope: Scope) -> bool:
    return not values(scope["headers"], b"authorization") and not session(scope)


def _answer(refusal: Refusal) -> ASGIApp:
    return problem(refusal.status, refusal.detail, headers=refusal.headers, **refusal.members)


def _close(code: int, reason: str) -> Message:
    """A close frame's reason has 123 bytes at most (RFC 6455, 5.5.1)."""
    return {
        "type": "websocket.close",
        "code": code,
        "reason": reason.encode()[:120].decode("utf-8", "ignore"),
    }
