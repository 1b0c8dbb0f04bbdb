"""Versions of the rules document over HTTP: as one was, what two differ in, and back to one of them."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.changes import changes
from understudy.admin.dry_run import read_dry_run
from understudy.admin.entity_tags import etag
from understudy.admin.preview import preview
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, origin, read_reason, within
from understudy.admin.rules import change_answer
from understudy.admin.rules_plane import RulesPlane
from understudy.store import StoredRules

_MOST_DIGITS: Final = 9


class VersionEndpoints:
    """``/api/v1/rules/{version}``, ``/diff/{other}`` and ``/restore``."""

    def __init__(self, control: RulesPlane) -> None:
        self._control = control

    async def document(self, request: Request) -> Response:
        """GET the rules document as it was in a version."""
        found = await self._past(request.path_params["version"])
        return json_answer(dict(found.document), headers={"ETag": etag(found.version)})

    async def diff(self, request: Request) -> Response:
        """GET what changed from one version to another, by JSON Pointer."""
        before = await self._past(request.path_params["version"])
        after = await self._past(request.path_params["other"])
        found = list(changes(before.document, after.document))
        return json_answer({"from": before.version, "to": after.version, "changes": found})

    async def restore(self, request: Request) -> Response:
        """POST makes a version the newest again, as one of its own; flags that are killed now stay killed.
        `?dry_run=true` shows the change and who moves."""
        reason = read_reason(request)
        found = await self._past(request.path_params["version"])
        current = await within(self._control.rules())
        dry = read_dry_run(request)
        if dry is not None:
            return await preview(self._control, dry, current, _with_kills(found, current))
        words = f"restore version {found.version}"
        change = await within(
            self._control.put_rules(
                _with_kills(found, current),
                expected=current.version,
                author=author(request),
                origin=origin(request),
                reason=f"{words}: {reason}" if reason else words,
            )
        )
        return change_answer(change)

    async def _past(self, text: str) -> StoredRules:
        """Raises: Refusal 404."""
        is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
        found = await within(self._control.past(int(text))) if is_number else None
        if found is None:
            raise Refusal(404, f"there is no version {text!r}; GET /api/v1/rules/history lists them")
        return found


def _with_kills(found: StoredRules, current: StoredRules) -> dict[str, Any]:
    """The document of *found*; nobody shall revive a flag by going back to a time before its kill."""
    flags, killed = found.document.get("flags", {}), set(found.document.get("killed", ()))
    killed |= {flag for flag in current.document.get("killed", ()) if flag in flags}
    return {**found.document, "killed": sorted(killed)}
