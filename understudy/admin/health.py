"""Probes and metrics."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from understudy.admin.control import ControlPlane
from understudy.admin.keyring import Keyring
from understudy.admin.request import json_answer


class HealthEndpoints:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(self, control: ControlPlane, keys: Keyring) -> None:
        self._control = control
        self._keys = keys

    async def healthz(self, _: Request) -> Response:
        """200 as long as the process runs."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """200 when traffic should be sent here, 503 when not, and every check by name.

        Not before the tokens are read: until then the API answers 503 to everybody. When they cannot be, for
        some seconds, that is told, and no reason to send the traffic elsewhere.
        """
        readiness, keys = self._control.readiness(), self._keys
        detail = "known" if keys.is_known else "not read from the store yet: the admin API lets nobody in"
        checks = {**readiness.checks, "tokens": {"ok": not keys.is_awaited, "detail": detail}}
        is_ready = readiness.ready and not keys.is_awaited
        return json_answer({"ready": is_ready, "checks": checks}, status_code=200 if is_ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Metrics of all workers, in the Prometheus text format."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self._control.metrics(), media_type=kind)
