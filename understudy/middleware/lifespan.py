"""An application's lifespan, with which mirroring starts and stops; where it has none, the server's alone."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from understudy.middleware.request import App, Message, Receive, Scope, Send

log = logging.getLogger("understudy.middleware")

ENDS: Final = ("lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Life:
    """*start* before the application starts, *stop* after it has ended, however it ends.

    What it says and raises is its own. One that says nothing to the server (Django raises, small ones return)
    has no lifespan: then the server is answered here, as if it had started.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[object]],
        stop: Callable[[], Awaitable[None]],
        receive: Receive,
        send: Send,
    ) -> None:
        self._start = start
        self._stop = stop
        self._receive = receive
        self._send = send
        self._heard = ""
        """What the server said last."""
        self._is_up = False
        self._is_over = False

    async def run(self, app: App, scope: Scope) -> None:
        """From the start of the server to its end."""
        try:
            await self._let(app, scope)
            if not self._heard:
                await self._hear()
                await self._say({"type": "lifespan.startup.complete"})
            if self._is_up and not self._is_over:
                if self._heard != "lifespan.shutdown":
                    await self._hear()
                await self._say({"type": "lifespan.shutdown.complete"})
        finally:
            await self._stop()

    async def _let(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self._hear, self._say)
        except Exception as error:
            if self._heard:
                raise
            log.debug("the application has no lifespan: %s", error)

    async def _hear(self) -> Message:
        message = await self._receive()
        self._heard = message["type"]
        if self._heard == "lifespan.startup":
            await self._start()
        return message

    async def _say(self, message: Message) -> None:
        kind = message["type"]
        self._is_up = self._is_up or kind == "lifespan.startup.complete"
        if kind in ENDS:
            self._is_over = True
            await self._stop()
        await self._send(message)
