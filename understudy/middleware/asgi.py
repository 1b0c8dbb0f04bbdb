"""The middleware for ASGI applications: who gets which variant, in one line of theirs."""

import asyncio
import logging
from typing import Any, Final

from prometheus_client import CollectorRegistry

from understudy.config import APP
from understudy.engine import Plan
from understudy.errors import UnderstudyError
from understudy.middleware.counted import Counted
from understudy.middleware.dark import Dark
from understudy.middleware.decision import KEY, Decision, put
from understudy.middleware.forward import Forward
from understudy.middleware.inner import UNSEEN, again
from understudy.middleware.lifespan import Life
from understudy.middleware.request import App, AsgiRequest, Receive, Scope, Send
from understudy.middleware.stage import Stage
from understudy.middleware.understudy import Config, Understudy
from understudy.proxy.heads import UNSIZED, Refused

log = logging.getLogger("understudy.middleware")

NO_REQUEST: Final = AsgiRequest({"method": "", "path": "", "headers": []})
"""Stands for one whose head cannot be read, in the decision that its application may ask."""


class UnderstudyMiddleware:
    """Decides each HTTP request of *app*, by *config* or by an *understudy* that was made in code.

    The decision stands in ``scope["understudy"]`` and ``request.state.understudy``. A variant that serves
    another service is asked for there; one that mirrors lets *app* answer and rehearses. Other scopes pass
    untouched, but ``lifespan``, with which mirroring starts and stops; without it, it starts with a request.

    Raises `ConfigError` for a configuration that is mistaken; inside an event loop, where a server would take
    that for an application without lifespan, the start-up fails with it instead. With *fail_open* neither.
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
        self._failure: UnderstudyError | OSError | None = None
        if (config is None) == (understudy is None):
            raise TypeError("UnderstudyMiddleware takes either config or understudy")
        try:
            self.understudy = understudy or Understudy(
                {} if config is None else config, fail_open=fail_open, registry=registry
            )
        except (UnderstudyError, OSError) as error:
            if not _is_in_loop():
                raise
            self._failure = error
            return
        self.understudy.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        stage = self.understudy.stage if self._failure is None else None
        if stage is None or not stage.is_ready:
            stage = await self._begin()
        plan = self._decide(stage, scope)
        if plan is None or stage is None:
            await self.app(scope, receive, send)
        elif plan.decision.serve != APP:
            await self._forward(stage, plan, scope, receive, send)
        elif plan.targets:
            await self._serve(stage, plan, scope, receive, send)
        else:
            counted = Counted(send)
            try:
                await self.app(scope, receive, counted.send)
            finally:
                counted.count(plan)

    async def report(self) -> dict[str, Any]:
        """The report on all evidence in the store."""
        return await self.understudy.report()

    # -- HTTP --------------------------------------------------------------------------------------------

    def _decide(self, stage: Stage | None, scope: Scope) -> Plan | None:
        """Put the decision in *scope*; what it means, None when the application shall simply answer."""
        in_force = self.understudy.in_force if stage is None else stage.in_force
        try:
            request = AsgiRequest(scope)
            if stage is None:
                put(scope, Decision(in_force, request, None))
                return None
            place = scope.get("raw_path") or scope["path"]
            if place in in_force.plain:
                put(scope, Decision(in_force, request, in_force.plain[place]))
                return None
            if self.understudy.hop.believes:
                self.understudy.hop.find_client(request, scope)
            found = in_force.compiled.decide(request)
            put(scope, Decision(in_force, request, found))
            if found is None or (found.serve == APP and not found.flag):
                in_force.remember(place, found)
                return None
            return stage.engine.plan(found)
        except Exception:
            if stage is not None:
                stage.metrics.errors["internal"] += 1
            log.exception("a request could not be decided, and passes")
            if KEY not in scope:
                put(scope, Decision(in_force, NO_REQUEST, None))
            return None

    async def _begin(self) -> Stage | None:
        """The stage of this event loop, once it is ready; None when everything passes."""
        if self._failure is not None:
            raise self._failure
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
        return understudy.stage

    async def _serve(self, stage: Stage, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and services rehearse it."""
        counted = Counted(send)
        dark = self._dark(stage, plan, scope, receive, counted.send) if plan.targets else None
        try:
            if dark is not None:
                await dark.run(self.app, scope)
            else:
                await self.app(scope, receive, counted.send)
        finally:
            counted.count(plan)

    def _dark(self, stage: Stage, plan: Plan, scope: Scope, receive: Receive, send: Send) -> Dark | None:
        """What tells the mirror of this request; None when no copy of it may be sent."""
        try:
            decision: Decision = scope[KEY]
            request = decision.head
            assert isinstance(request, AsgiRequest)
            hop = self.understudy.hop
            fields = hop.read(request, scope)
            rehearsal = stage.rehearse(
                plan,
                request,
                fields,
                target=request.target,
                added=hop.added(scope, fields, plan.authority),
                unseen=UNSEEN,
            )
            if rehearsal is None:
                return None
            # The application changes its scope; whoever asks it once more starts from what it was given.
            request.again, request.asks = again(scope), self.app
            request.decided = (stage.in_force, plan.decision)
            return Dark(
                rehearsal,
                receive,
                send,
                is_head=request.method == "HEAD",
                has_body=fields.length not in (UNSIZED, 0),
            )
        except Refused as refused:
            # The server took it, so the application may; a service is not shown what the proxy would refuse.
            stage.metrics.errors[f"unmirrored_{refused.reason}"] += 1
        except Exception:  # noqa: BLE001  mirroring is isolated: counted, never raised
            stage.mirror.broke()
        return None

    async def _forward(self, stage: Stage, plan: Plan, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a service answer; the application, when it stands in for a service that is out."""
        forward = Forward(stage, self.understudy.hop, plan, scope, receive, send)
        if not await forward.run():
            await self._serve(stage, forward.plan, scope, receive, send)

    # -- lifespan ----------------------------------------------------------------------------------------

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start with the application and stop after it; what it does itself passes."""
        if self._failure is not None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"understudy: {self._failure}"})
            return
        life = Life(self._begin, self.understudy.stop, receive, send)
        await life.run(self.app, scope)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
