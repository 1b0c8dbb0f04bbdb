"""The kill switch over HTTP."""

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.dry_run import DryRun, read_dry_run
from understudy.admin.edits import Edit, perform
from understudy.admin.flag_edits import switch_flag
from understudy.admin.payload import JSON, MOST_REASON_BYTES, parse_body, read_body
from understudy.admin.preview import preview
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, check_reason, origin, read_reason, within
from understudy.admin.rules import change_answer


class FlagEndpoints:
    """``POST /api/v1/flags/{key}/kill`` and ``/revive``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def kill(self, request: Request) -> Response:
        """Put a flag on its safe variant, everywhere, now. `?dry_run=true` shows who would move."""
        reason = await _reason(request)
        key = request.path_params["key"]
        dry = read_dry_run(request)
        if dry is not None:
            return await self._preview(dry, switch_flag(key, is_on=True))
        done = self._control.kill(key, author=author(request), origin=origin(request), reason=reason)
        return change_answer(await within(done))

    async def revive(self, request: Request) -> Response:
        """Let a killed flag follow its rules again. `?dry_run=true` shows who would move."""
        reason = await _reason(request)
        key = request.path_params["key"]
        dry = read_dry_run(request)
        if dry is not None:
            return await self._preview(dry, switch_flag(key, is_on=False))
        done = self._control.revive(key, author=author(request), origin=origin(request), reason=reason)
        return change_answer(await within(done))

    async def _preview(self, dry: DryRun, edit: Edit) -> Response:
        stored = await within(self._control.rules())
        return await preview(self._control, dry, stored, perform([edit], stored.document))


async def _reason(request: Request) -> str:
    """The reason in the optional body ``{"reason": "…"}``, else where every write may have it."""
    body = await read_body(request, most_bytes=MOST_REASON_BYTES)
    if not body.strip():
        return read_reason(request)
    document = await parse_body(request, body, kinds=(JSON,))
    if not isinstance(document, dict) or document.keys() - {"reason"}:
        raise Refusal(422, 'the body is empty, or {"reason": "…"} and nothing else')
    return check_reason(document.get("reason", "")) or read_reason(request)
