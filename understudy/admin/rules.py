"""The rules document over HTTP: read, replace as a whole, look back."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import Change
from understudy.admin.dry_run import DryRun, read_dry_run
from understudy.admin.entity_tags import ANY, etag, matching
from understudy.admin.payload import JSON, MOST_RULES_BYTES, YAML, json_bytes, parse_body, read_body
from understudy.admin.preview import preview
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, moment, origin, read_reason, whole_number, within
from understudy.admin.rules_plane import RulesPlane
from understudy.errors import VersionConflict
from understudy.store import StoredRules
from understudy.store.condition import HISTORY_FIELD

_MOST_VERSIONS = 200
_USUAL_VERSIONS = 50


class RulesEndpoints:
    """``/api/v1/rules`` and ``/api/v1/rules/history``."""

    def __init__(self, control: RulesPlane) -> None:
        self._control = control

    async def document(self, request: Request) -> Response:
        """GET the document (`?at=`: as it was then), or PUT its next version.

        `?dry_run=true` shows the change and who moves. X-Understudy-History, where `memory://` or a file is
        the store, is another one once versions may have begun anew.
        """
        return await (self._put(request) if request.method == "PUT" else self._get(request))

    async def history(self, request: Request) -> Response:
        """GET who changed the document when and why, newest first; ``?at=``: the version of that time."""
        if (at := moment(request, "at")) is not None:
            return json_answer({"versions": [about(await self._then(at))]})
        limit = whole_number(request, "limit", usual=_USUAL_VERSIONS, least=1, most=_MOST_VERSIONS)
        found = await within(self._control.history(limit=limit))
        return json_answer({"versions": [about(rules) for rules in found]})

    async def _get(self, request: Request) -> Response:
        at = moment(request, "at")
        rules = await (within(self._control.rules()) if at is None else self._then(at))
        headers = {"ETag": etag(rules.version)}
        succession = self._control.succession
        if at is None and succession is not None and succession.history:
            headers[HISTORY_FIELD] = succession.history
        known = request.headers.get("if-none-match")
        if known is not None and (known.strip() == ANY or rules.version in matching(known, weak=True)):
            return Response(status_code=304, headers=headers)
        return Response(json_bytes(rules.document), media_type=JSON, headers=headers)

    async def _then(self, at: float) -> StoredRules:
        """The rules as they were at *at*. Raises: Refusal 404."""
        found = await within(self._control.rules_at(at))
        if found is None:
            raise Refusal(404, "there were no rules at that time, or they are not kept any more")
        return found

    async def _put(self, request: Request) -> Response:
        dry = read_dry_run(request)
        is_named = dry is None or "if-match" in request.headers
        expected = await expected_version(request, self._control) if is_named else None
        reason = read_reason(request)
        body = await read_body(request, most_bytes=MOST_RULES_BYTES)
        document = await parse_body(request, body, kinds=(JSON, YAML))
        if dry is not None:
            return await self._preview(dry, document, expected)
        change = await within(
            self._control.put_rules(
                document, expected=expected, author=author(request), origin=origin(request), reason=reason
            )
        )
        return change_answer(change)

    async def _preview(self, dry: DryRun, document: Any, expected: int | None) -> Response:
        stored = await within(self._control.rules())
        if expected not in (None, stored.version):
            raise VersionConflict(expected=expected or 0, actual=stored.version)
        return await preview(self._control, dry, stored, document)


async def expected_version(request: Request, rules: RulesPlane) -> int | None:
    """The version that *request* says it replaces; 0 when there shall be none yet, None for any.

    Raises: Refusal 428 when it does not say, 400, 412.
    """
    field = request.headers.get("if-match")
    if field is None and request.headers.get("if-none-match", "").strip() == ANY:
        return 0
    if field is None:
        detail = 'say which version this replaces: If-Match: "12", or * for whatever is there'
        raise Refusal(428, detail)
    if field.strip() == ANY:
        return None
    versions = matching(field, weak=False)
    if len(versions) == 1:
        return versions[0]
    current = (await within(rules.rules())).version
    if current not in versions:
        raise Refusal(412, f"the rules document is at version {current}", headers={"ETag": etag(current)})
    return current


def change_answer(change: Change, **more: Any) -> Response:
    """What was stored, and how many workers already follow it; *more* stands beside that."""
    body = {**more, **about(change.rules), "workers": change.workers, "applied": change.applied}
    return json_answer(body, headers={"ETag": etag(change.rules.version)})


def about(rules: StoredRules) -> dict[str, Any]:
    """Who stored *rules*, when and why."""
    return {
        "version": rules.version,
        "sha256": rules.sha256,
        "author": rules.author,
        "reason": rules.reason,
        "at": rules.at,
    }
