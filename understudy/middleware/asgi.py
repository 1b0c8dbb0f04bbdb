"""The middleware for ASGI applications: who gets which variant, in one line of theirs."""

import asyncio
import inspect
from typing import Any

from prometheus_client import CollectorRegistry

from understudy.middleware.beginning import Beginning
from understudy.middleware.front import Front
from understudy.middleware.request import App, Receive, Scope, Send
from understudy.middleware.understudy import Config, Understudy


class UnderstudyMiddleware(Front):
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
        try:
            made = _one_of(config, understudy, fail_open=fail_open, registry=registry)
        except Exception as error:
            if not _is_in_loop():
                raise
            super().__init__(app, Beginning(error), {})
        else:
            made.app = app
            self.understudy = made
            super().__init__(app, Beginning(made), made.ready)
        # Servers look whether what is called is a coroutine function, and take others for WSGI or ASGI 2.
        vars(self)["__call__"] = self._called
        # Litestar mounts what has one; a compiled call has none.
        vars(self)["__signature__"] = inspect.signature(self._called)

    async def report(self) -> dict[str, Any]:
        """The report on all evidence in the store. Raises what failed the start-up."""
        return await self._beginning.understudy().report()

    async def _called(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self(scope, receive, send)


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
