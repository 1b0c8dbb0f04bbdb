"""The life of the processes over HTTP: reload the configuration file, replace the workers."""

import dataclasses

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import json_answer, within
from understudy.errors import ConfigError


class ProcessEndpoints:
    """``POST /api/v1/reload`` and ``/api/v1/restart``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def reload(self, _: Request) -> Response:
        """Read the configuration file again, and apply it everywhere without closing a connection."""
        try:
            done = await within(self._control.reload())
        except ConfigError as error:
            raise _refused(error) from None
        return json_answer(dataclasses.asdict(done))

    async def restart(self, _: Request) -> Response:
        """Begin a rolling restart: each worker gets a successor, and drains once that one serves."""
        return json_answer({"workers": await within(self._control.restart_workers())}, status_code=202)


def _refused(error: ConfigError) -> Refusal:
    errors = [{"path": item.path, "message": item.message, "hint": item.hint} for item in error.problems]
    mistakes = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
    return Refusal(422, f"the configuration has {mistakes}; nothing was changed", errors=errors)
