"""The middleware for ASGI applications: who gets which variant, in one line of theirs."""

import asyncio
import logging
from asyncio import _get_running_loop
from collections.abc import Awaitable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from understudy.config import APP
from understudy.engine import Plan
from understudy.middleware.counted import Counted
from understudy.middleware.deciding import decide, leave, rehearsed
from understudy.middleware.decision import KEY
from understudy.middleware.forward import Forward
from understudy.middleware.in_force import Ready
from understudy.middleware.lifespan import Life
from understudy.middleware.request import App, Receive, Scope, Send
from understudy.middleware.stage import Stage
from understudy.middleware.understudy import Config, Understudy

log = logging.getLogger("understudy.middleware")


class UnderstudyMiddleware:
    """Decides each HTTP request of *app*, by *config* or by an *understudy* that was made in code.

    The decision stands in ``scope["understudy"]`` and ``request.state.understudy``. A variant that serves
    another service is asked for there; one that mirrors lets *app* answer and rehearses. Other scopes pass
    untouched, but ``lifespan``, with which mirroring starts and stops; without it, it starts with a request.

    Raises `ConfigError` for a configuration that is mistaken, TypeError for arguments that are; inside an
    event loop, where a server would take that for an application without lifespan, the start-up fails with
    it instead. With *fail_open* no configuration does.
    """

    def __init__(
        self,
        app: App,
        config: Config | None = None,
        *,
        understudy: Understudy | None = None,
        fail_open: bool = False,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.app = app
        # Servers look whether what is called is a coroutine function, and take others for WSGI or ASGI 2.
        vars(self)["__call__"] = self._called
        self._failure: Exception | None = None
        self._ready: Mapping[Any, Ready] = {}
        try:
            self.understudy = _one_of(config, understudy, fail_open=fail_open, registry=registry)
        except Exception as error:
            if not _is_in_loop():
                raise
            self._failure = error
            return
        self.understudy.app = app
        self._ready = self.understudy.ready
        self._hop = self.understudy.hop

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, as an application does (ASGI 3).

        A request that no flag decides costs no coroutine of ours: what *app* returns is returned.
        """
        kind = scope["type"]
        if kind != "http":
            return (self._lifespan if kind == "lifespan" else self.app)(scope, receive, send)
        # This loop's own: nothing follows the rules, or sees the kill file, for one that began none.
        ready = self._ready.get(_get_running_loop())
        if ready is None:
            return self._begun(scope, receive, send)
        plan = decide(ready, self._hop, scope)
        if plan is None:
            return self.app(scope, receive, send)
        return self._answer(ready.stage, plan, scope, receive, send)

    async def report(self) -> dict[str, Any]:
        """The report on all evidence in the store. Raises what failed the start-up."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # else that of each request is added to it
        return await self.understudy.report()

    # -- HTTP --------------------------------------------------------------------------------------------

    async def _called(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self(scope, receive, send)

    async def _begun(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once the event loop has its stage."""
        ready = await self._begin()
        if ready is None:
            leave(self.understudy.in_force, self._hop, scope)
            await self.app(scope, receive, send)
            return
        plan = decide(ready, self._hop, scope)
        if plan is None:
            await self.app(scope, receive, send)
        else:
            await self._answer(ready.stage, plan, scope, receive, send)

    async def _answer(self, stage: Stage, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        """Let whom *plan* names answer, and tell who listens."""
        if plan.decision.serve != APP:
            request = scope[KEY].head
            forward = Forward(stage, self._hop, plan, request, scope, receive, send)
            if await forward.run():
                return
            plan = forward.plan  # the application stands in for a service that is out
        dark = None
        if plan.targets:
            dark = rehearsed(stage, self._hop, plan, self.app, scope, receive, send)
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


def _one_of(
    config: Config | None,
    understudy: Understudy | None,
    *,
    fail_open: bool,
    registry: CollectorRegistry | None,
) -> Understudy:
    """*understudy*, or one that is made by *config*."""
    if config is None:
        if understudy is None:
            raise TypeError("UnderstudyMiddleware takes config= or understudy=, and got neither")
        if fail_open or registry is not None:
            raise TypeError(
                "UnderstudyMiddleware takes fail_open and registry with config=; "
                "beside understudy= they belong to Understudy(config, fail_open=…, registry=…)"
            )
        return understudy
    if understudy is not None:
        raise TypeError("UnderstudyMiddleware takes config= or understudy=, and got both")
    return Understudy(config, fail_open=fail_open, registry=registry)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
