"""The twin of ``/ofrep/v1/sse`` over a WebSocket (RFC 6455): the same events, under the same ids."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from understudy.access import Caller
from understudy.admin.control import ControlPlane
from understudy.admin.in_force import Turn
from understudy.admin.ofrep_events import PACE, Telling, missed, told
from understudy.admin.problems import problem
from understudy.admin.refusal import Refusal
from understudy.admin.request import CALLER
from understudy.admin.stream import Ended, Pace, Room

STREAM_PATH: Final = "/api/v1/stream"
_HEARTBEAT: Final = '{"event":"heartbeat"}'
"""A page in a browser sees no pings; with this it can tell a quiet stream from a dead one."""
_LAST_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Close:
    """A close code (RFC 6455, 7.4.1), and its reason in words; code 0 when the listener has left already."""

    code: int
    reason: str


GOING: Final = Close(1001, "the server goes")
ENDED: Final = Close(1008, "the token is revoked or has expired")
TALKATIVE: Final = Close(1008, 'one message at most, and as JSON: {"token": …, "last_event_id": …}')
SLOW: Final = Close(1013, "too slow; come again with last_event_id")
LEFT: Final = Close(0, "")


class StreamSocket:
    """``/api/v1/stream``. Sockets end when *stopping* is set, or *ended* returns for their caller."""

    def __init__(
        self,
        control: ControlPlane,
        *,
        ended: Ended,
        stopping: asyncio.Event | None = None,
        pace: Pace = PACE,
    ) -> None:
        self._control = control
        self._ended = ended
        self.room = Room(
            pace=pace, stopping=stopping or asyncio.Event(), instead="POST /ofrep/v1/evaluate/flags"
        )

    async def upgrade(self, _: Request) -> Response:
        """GET without an upgrade: 426."""
        detail = "this is a WebSocket: connect with Upgrade: websocket; /ofrep/v1/sse is the same without"
        raise Refusal(426, detail, headers={"Upgrade": "websocket"})

    async def listen(self, socket: WebSocket) -> None:
        """Tell one listener of every turn, until it leaves or has to.

        ``last_event_id``, in the query or in its first message, names the last event that it knows.
        """
        caller: Caller = socket.scope[CALLER]
        try:
            self.room.check(caller)
        except Refusal as refusal:
            full = problem(refusal.status, refusal.detail, headers=refusal.headers)
            await socket.send_denial_response(full)
            return
        with self.room.place(caller), contextlib.suppress(WebSocketDisconnect):  # left while it was let in
            # Before it is let in, so that no turn falls between.
            telling = Telling(self._control.succession, socket.query_params.get("last_event_id", ""))
            await socket.accept()
            end = await self._first_end(socket, telling)
            if end.code:
                with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                    async with asyncio.timeout(_LAST_SECONDS):
                        await socket.close(end.code, end.reason)

    async def _first_end(self, socket: WebSocket, telling: Telling) -> Close:
        caller: Caller = socket.scope[CALLER]
        async with asyncio.TaskGroup() as tasks:
            ends = [
                tasks.create_task(self._speak(socket, telling)),
                tasks.create_task(self._hear(socket)),
                tasks.create_task(self._until_stopped()),
                tasks.create_task(self._until_ended(caller)),
            ]
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        return next(task.result() for task in ends if task in done)

    async def _speak(self, socket: WebSocket, telling: Telling) -> Close:
        pace, loop = self.room.pace, asyncio.get_running_loop()
        spoke_at = loop.time()
        while True:
            texts = [_message(turn) for turn in await telling.turns(pace.every_seconds)]
            if not texts and loop.time() - spoke_at >= pace.heartbeat_seconds:
                texts = [_HEARTBEAT]
            for text in texts:
                if (end := await self._say(socket, text)) is not None:
                    return end
                spoke_at = loop.time()

    async def _say(self, socket: WebSocket, text: str) -> Close | None:
        try:
            async with asyncio.timeout(self.room.pace.send_seconds):
                await socket.send_text(text)
        except TimeoutError:
            self.room.dropped += 1
            return SLOW
        except (WebSocketDisconnect, RuntimeError):
            return LEFT
        return None

    async def _hear(self, socket: WebSocket) -> Close:
        """Returns when the listener leaves, or says more than its first message."""
        is_first = True
        while (message := await socket.receive())["type"] == "websocket.receive":
            said = read_message(message) if is_first else None
            if said is None:
                return TALKATIVE
            is_first = False
            if "last_event_id" in said:
                for turn in missed(self._control.succession, str(said["last_event_id"])):
                    if (end := await self._say(socket, _message(turn))) is not None:
                        return end
        return LEFT

    async def _until_stopped(self) -> Close:
        await self.room.stopping.wait()
        return GOING

    async def _until_ended(self, caller: Caller) -> Close:
        await self._ended(caller)
        return ENDED


def read_message(message: Any) -> dict[str, Any] | None:
    """What a listener says in *message*: a JSON object with ``token`` or ``last_event_id``; else None."""
    try:
        said = orjson.loads(message.get("text") or message.get("bytes") or b"")
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and said.keys() <= {"token", "last_event_id"} else None


def _message(turn: Turn) -> str:
    event = {"id": str(turn.version), "event": "message", "data": told(turn)}
    return orjson.dumps(event).decode()
