"""How an event loop comes to decide: with its first request, or with the lifespan of the application."""

import asyncio
import logging

from understudy.middleware.answering import answer
from understudy.middleware.deciding import decide, leave
from understudy.middleware.in_force import Ready
from understudy.middleware.lifespan import Life
from understudy.middleware.request import App, Receive, Scope, Send
from understudy.middleware.understudy import Understudy

log = logging.getLogger("understudy.middleware")


class Beginning:
    """By what was *made*: an Understudy, or why there is none."""

    def __init__(self, made: Understudy | Exception) -> None:
        self._made = made

    def understudy(self) -> Understudy:
        """What decides. Raises why there is none."""
        if isinstance(self._made, Exception):
            raise self._made.with_traceback(None)  # else that of each request is added to it
        return self._made

    async def answer(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Let *app* answer an HTTP request once the event loop has its stage, or who else is to."""
        ready = await self._ready()
        if ready is None:
            understudy = self.understudy()
            leave(understudy.in_force, understudy.hop, scope)
            await app(scope, receive, send)
            return
        plan = decide(ready, scope)
        if plan is None:
            await app(scope, receive, send)
        else:
            await answer(app, ready, plan, scope, receive, send)

    async def live(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with *app* and stop after it; what it does itself in its lifespan passes."""
        if isinstance(self._made, Exception):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"understudy: {self._made}"})
            return
        life = Life(self._ready, self._made.stop, receive, send)
        await life.run(app, scope)

    async def _ready(self) -> Ready | None:
        """What this event loop decides by, once it may; None when everything passes."""
        understudy = self.understudy()
        if understudy.failure:
            return None
        try:
            await understudy.start()
        except Exception as error:
            if not understudy.fail_open:
                raise
            understudy.failure = f"the middleware could not start: {error}"
            log.exception("the middleware is off, and every request passes")
            return None
        return understudy.ready.get(asyncio.get_running_loop())
