"""What each request of an ASGI application passes first; most pass it and nothing more of ours.

A wheel has it compiled: to be called costs a compiled object less than the call of an ordinary one.
"""

import asyncio
import logging
from asyncio import _get_running_loop
from collections.abc import Awaitable
from typing import Any

from mypy_extensions import mypyc_attr

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.counted import Counted
from understudy.middleware.deciding import decide, leave, rehearsed
from understudy.middleware.decision import KEY
from understudy.middleware.forward import Forward
from understudy.middleware.in_force import Ready
from understudy.middleware.lifespan import Life
from understudy.middleware.request import App, Receive, Scope, Send
from understudy.middleware.understudy import Understudy

log = logging.getLogger("understudy.middleware")


@mypyc_attr(allow_interpreted_subclasses=True)
class Front:
    """Answers for *app* by what *understudy* decides, or by its *failure*: why there is none."""

    def __init__(self, app: App, understudy: Understudy | None, failure: Exception | None) -> None:
        self.app: App = app
        self._failure = failure
        self._ready: dict[Any, Ready] = {}
        if understudy is not None:
            understudy.app = app
            self.understudy: Understudy = understudy
            self._ready = understudy.ready

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, as an application does (ASGI 3).

        A request that no flag decides costs no coroutine of ours: what *app* returns is returned.
        """
        kind: str = scope["type"]
        if kind != "http":
            return (self._lifespan if kind == "lifespan" else self.app)(scope, receive, send)
        # This loop's own: nothing follows the rules, or sees the kill file, for one that began none.
        ready = self._ready.get(_get_running_loop())
        if ready is None:
            return self._begun(scope, receive, send)
        plan = decide(ready, scope)
        if plan is None:
            return self.app(scope, receive, send)
        return self._answer(ready, plan, scope, receive, send)

    # -- HTTP --------------------------------------------------------------------------------------------

    async def _begun(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once the event loop has its stage."""
        ready = await self._begin()
        if ready is None:
            leave(self.understudy.in_force, self.understudy.hop, scope)
            await self.app(scope, receive, send)
            return
        plan = decide(ready, scope)
        if plan is None:
            await self.app(scope, receive, send)
        else:
            await self._answer(ready, plan, scope, receive, send)

    async def _answer(self, ready: Ready, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        """Let whom *plan* names answer, and tell who listens."""
        stage, hop = ready.stage, ready.hop
        if plan.decision.serve != APP:
            request = scope[KEY].head
            forward = Forward(stage, hop, plan, request, scope, receive, send)
            if await forward.run():
                return
            plan = forward.plan  # the application stands in for a service that is out
        dark = None
        if plan.targets:
            dark = rehearsed(stage, hop, plan, self.app, scope, receive, send)
        if dark is not None:
            await dark.run(self.app, scope)
            return
        counted = Counted(plan, scope, send)
        try:
            await self.app(scope, receive, counted.send)
        except BaseException as error:
            counted.over(error)
            raise
        counted.over()

    async def _begin(self) -> Ready | None:
        """What this event loop decides by, once it may; None when everything passes."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # else that of each request is added to it
        understudy = self.understudy
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
        return self._ready.get(asyncio.get_running_loop())

    # -- lifespan ----------------------------------------------------------------------------------------

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the application and stop after it; what it does itself passes."""
        if self._failure is not None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"understudy: {self._failure}"})
            return
        life = Life(self._begin, self.understudy.stop, receive, send)
        await life.run(self.app, scope)
