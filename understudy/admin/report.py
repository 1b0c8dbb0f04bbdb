"""The report over HTTP: as JSON, as a live page, as one file; and a fresh start."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from understudy.access import Role
from understudy.admin.control import ControlPlane
from understudy.admin.keyring import Keyring
from understudy.admin.open_door import OPEN
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, origin, role_of, within
from understudy.report import (
    LIVE_POLICY,
    STATIC,
    file_policy,
    read_search,
    render_html,
    render_live_html,
    static_file,
)


class ReportEndpoints:
    """``/``, ``/static/…``, ``/api/v1/report`` and ``/api/v1/report.html``."""

    def __init__(self, control: ControlPlane, keyring: Keyring) -> None:
        self._control = control
        self._keyring = keyring

    async def report(self, request: Request) -> Response:
        """GET the report as JSON, or DELETE the evidence that it is drawn from."""
        if request.method == "DELETE":
            await within(self._control.clear_evidence(author=author(request), origin=origin(request)))
            return Response(status_code=204)
        return json_answer(await within(self._control.report()))

    async def page(self, request: Request) -> Response:
        """The live page, narrowed by ``?q=`` (words) and ``?verdict=``."""
        search = read_search(request.query_params.get("q", ""), request.query_params.get("verdict", ""))
        revision = self._control.revision()  # before the report, lest a change in between be missed
        report = await within(self._control.report())
        notice = OPEN if self._keyring.is_open else ""
        # In a thread: a page of megabytes takes longer than a probe may wait.
        text = await asyncio.to_thread(
            render_live_html,
            report,
            search=search,
            revision=revision,
            notice=notice,
            may_kill=role_of(request).may(Role.OPERATOR),
        )
        return _page(text, LIVE_POLICY)

    async def file(self, _: Request) -> Response:
        """The same as one file, for download."""
        report = await within(self._control.report())
        text = await asyncio.to_thread(render_html, report)
        answer = _page(text, f"{file_policy()}; frame-ancestors 'none'; sandbox")
        answer.headers["Content-Disposition"] = 'attachment; filename="understudy-report.html"'
        return answer

    async def static(self, request: Request) -> Response:
        """A style sheet, a script or an icon of the live page."""
        name = request.path_params["name"]
        if name not in STATIC:
            raise Refusal(404, "there is nothing at this path")
        return Response(static_file(name), media_type=STATIC[name])


def _page(text: str, policy: str) -> Response:
    return Response(text.encode(), media_type="text/html", headers={"Content-Security-Policy": policy})
