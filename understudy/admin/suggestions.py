"""Compare rules that would forgive the noise seen so far."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import json_answer, within
from understudy.comparators import suggest

_SWITCH = {"": False, "false": False, "true": True}


class SuggestionEndpoints:
    """``/api/v1/rules/suggestions``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def suggestions(self, request: Request) -> Response:
        """GET proposed compare rules, and where none is proposed and why."""
        text = request.query_params.get("include_regressions", "")
        if text not in _SWITCH:
            raise Refusal(400, "include_regressions is true or false")
        report = await within(self._control.report())
        # In a thread: thousands of findings take longer than a probe may wait.
        found = await asyncio.to_thread(suggest, report, include_regressions=_SWITCH[text])
        return json_answer(found)
