"""Services over HTTP: to read, for addresses are the configuration's alone."""

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import json_answer

_METHODS = "GET, HEAD"
_WHY = (
    "services are changed in the settings file alone, so that nobody who may edit rules can point users at "
    "another address; edit services: there, then POST /api/v1/reload"
)


class ServiceEndpoints:
    """``/api/v1/services`` and ``/api/v1/services/{name}``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def services(self, request: Request) -> Response:
        """GET the services with their origins, and how many of these are up in the eyes of the worker that
        sees the fewest. Writing answers 405: addresses are changed in the settings file alone."""
        _check_method(request)
        return json_answer({"services": self._control.services()})

    async def service(self, request: Request) -> Response:
        """GET one service. Writing answers 405: addresses are changed in the settings file alone."""
        _check_method(request)
        name, known = request.path_params["name"], self._control.services()
        for service in known:
            if service["name"] == name:
                return json_answer(service)
        raise Refusal(404, f"there is no service {name[:100]!r}", known=[one["name"] for one in known])


def _check_method(request: Request) -> None:
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405, _WHY, headers={"Allow": _METHODS})
