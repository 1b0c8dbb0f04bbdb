"""Probes and metrics."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from understudy.admin.control import ControlPlane
from understudy.admin.request import json_answer


class HealthEndpoints:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def healthz(self, _: Request) -> Response:
        """200 as long as the process runs."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """200 when traffic should be sent here, 503 when not, and every check by name."""
        readiness = self._control.readiness()
        body = {"ready": readiness.ready, "checks": dict(readiness.checks)}
        return json_answer(body, status_code=200 if readiness.ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Metrics of all workers, in the Prometheus text format."""
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self._control.metrics(), media_type=kind)
