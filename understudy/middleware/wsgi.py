"""The middleware for WSGI applications: the same decisions and copies as in ASGI, from any thread."""

import logging
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from understudy.config import APP
from understudy.errors import StoreError
from understudy.middleware.decision import Decision
from understudy.middleware.environ import KEY, Environ, scope_of
from understudy.middleware.errands import Errands, is_alive
from understudy.middleware.request import NO_REQUEST, AsgiRequest, Scope
from understudy.middleware.stage import Stage
from understudy.middleware.understudy import Config, Understudy
from understudy.middleware.wsgi_again import Again
from understudy.middleware.wsgi_dark import NOBODY, Dark, Decided, Served
from understudy.middleware.wsgi_forward import Carried
from understudy.middleware.wsgi_tee import App, StartResponse

log = logging.getLogger("understudy.middleware")


def undecided(stage: Stage) -> None:
    """Count a request that could not be decided."""
    stage.metrics.errors["internal"] += 1


class UnderstudyWSGIMiddleware:
    """Decides each request of *app*, by *config* or by an *understudy* that was made in code.

    The decision stands in ``environ["understudy"]``. A variant that serves another service is asked for
    there; one that mirrors lets *app* answer and rehearses. What mirrors is one thread for each process,
    begun by its first request, ended by `stop` or at exit.

    Raises `ConfigError` for a configuration that is mistaken; with *fail_open* every request passes instead.
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
        if (config is None) == (understudy is None):
            raise TypeError("UnderstudyWSGIMiddleware takes either config or understudy")
        self.app = app
        self.understudy = understudy or Understudy(
            {} if config is None else config, fail_open=fail_open, registry=registry, kind="wsgi"
        )
        self._cap = self.understudy.settings.shadow.body_cap_bytes
        self._again = self.understudy.app = Again(app, self._cap, self.understudy.background.start)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        errands = self.understudy.background.errands
        if errands is None or not is_alive(errands.stage):
            errands = self._begin()
        scope, decided = self._decide(environ, errands)
        if decided is None or errands is None:
            return self.app(environ, start_response)
        if decided.found.serve != APP:
            return self._forward(errands, decided, scope, environ, start_response)
        if decided.found.mirror:
            dark = Dark(decided, errands, self.understudy.hop, scope, self._cap)
            return dark.run(self.app, environ, start_response)
        return Served(decided, errands).run(self.app, environ, start_response)

    def report(self) -> dict[str, Any]:
        """The report on all evidence in the store. Raises `StoreError` when it cannot be read."""
        if self._begin() is None:
            why = self.understudy.failure or "it was stopped"
            raise StoreError(f"there is no evidence, because the middleware is off: {why}")
        return self.understudy.background.report()

    def stop(self) -> None:
        """End mirroring within ``limits.drain_timeout``: copies come back, evidence is stored."""
        self.understudy.background.stop()

    def _begin(self) -> Errands | None:
        """What takes errands; None when everything passes."""
        understudy = self.understudy
        if understudy.failure:
            return None
        try:
            return understudy.background.begin()
        except Exception as error:
            understudy.failure = f"the middleware could not start: {error}"
            log.exception("the middleware is off, and every request passes")
            return None

    def _decide(self, environ: Environ, errands: Errands | None) -> tuple[Scope, Decided | None]:
        """Put the decision in *environ*; what it means, None when the application shall simply answer."""
        scope: Scope = {}
        try:
            scope = scope_of(environ)
            request = AsgiRequest(scope)
            request.asks = self._again
            self.understudy.hop.believe(request, scope)
            in_force = self.understudy.in_force
            place = scope["raw_path"]
            if errands is None:
                environ[KEY] = Decision(in_force, request, None)
                return scope, None
            if place in in_force.plain:
                environ[KEY] = Decision(in_force, request, in_force.plain[place])
                return scope, None
            found = in_force.compiled.decide(request)
            environ[KEY] = Decision(in_force, request, found)
            if found is None or (found.serve == APP and not found.flag):
                in_force.remember(place, found)
                return scope, None
            return scope, Decided(in_force, found, request)
        except Exception as error:  # noqa: BLE001  counted and told
            self.understudy.in_force.faults.tell(error)
            if KEY not in environ:
                environ[KEY] = Decision(self.understudy.in_force, NO_REQUEST, None)
            if errands is not None:
                errands.offer(0, undecided, NOBODY)
            return scope, None

    def _forward(
        self,
        errands: Errands,
        decided: Decided,
        scope: Scope,
        environ: Environ,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Let a service answer; the application, when it stands in for a service that is out."""
        carried = Carried(errands, self.understudy.hop, decided, scope, environ)
        if carried.begin(self.understudy.background.run, start_response):
            return carried
        return Served(decided, errands, carried.plan).run(self.app, environ, start_response)
