"""One path into a compare rule, or out of it again, over HTTP: the buttons of the live page."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.amendment import FIELDS, Amendment, Rule, add, read_amendment, remove
from understudy.admin.control import ControlPlane
from understudy.admin.entity_tags import ANY, etag, matching
from understudy.admin.payload import JSON, parse_body, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, origin, within
from understudy.config import write_yaml
from understudy.report.visible import visible
from understudy.store import StoredRules

_MOST_BYTES = 64 * 1024
_MOST_REASON_CHARACTERS = 500


class CompareEndpoints:
    """``/api/v1/compare``: POST adds ``{"endpoint", "action", "path"}``, DELETE (the same as query) removes.

    ``?dry_run=true`` shows what would be written, and stores nothing. If-Match is heeded when it is given.
    """

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def change(self, request: Request) -> Response:
        """The rule that holds the path now (null: it is gone), and the version of the rules document."""
        is_dry = _is_dry(request)
        amendment = await self._amendment(request)
        stored = await within(self._control.rules())
        _check_version(request, stored)
        before = _section(stored)
        compare, rule = (remove if request.method == "DELETE" else add)(before, amendment)
        if is_dry or compare == before:
            return _answer(stored, rule, _preview(compare, rule) if is_dry else {})
        change = await within(
            self._control.put_rules(
                {**stored.document, "compare": compare},
                expected=stored.version,
                author=author(request),
                origin=origin(request),
                reason=_reason(amendment, is_undo=request.method == "DELETE"),
            )
        )
        return _answer(change.rules, rule, {"workers": change.workers, "applied": change.applied})

    async def _amendment(self, request: Request) -> Amendment:
        if request.method == "DELETE":
            given = request.query_params
            return read_amendment({name: given[name] for name in FIELDS if name in given})
        body = await read_body(request, most_bytes=_MOST_BYTES)
        return read_amendment(await parse_body(request, body, kinds=(JSON,)))


def _is_dry(request: Request) -> bool:
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise Refusal(400, "dry_run is true or false")
    return text == "true"


def _check_version(request: Request, stored: StoredRules) -> None:
    field = request.headers.get("if-match")
    if field is None or field.strip() == ANY or stored.version in matching(field, weak=False):
        return
    detail = f"the rules document is at version {stored.version} by now; nothing was changed"
    raise Refusal(412, detail, headers={"ETag": etag(stored.version)}, actual=stored.version)


def _section(stored: StoredRules) -> list[Any]:
    section = stored.document.get("compare", [])
    if not isinstance(section, list):
        raise Refusal(
            422, f"compare of rules version {stored.version} is no list; replace the document first"
        )
    return section


def _preview(compare: list[Any], rule: Rule | None) -> dict[str, Any]:
    text = write_yaml({"compare": [rule]}) if rule is not None else ""
    return {"compare": compare, "yaml": visible(text, keep="\n")}


def _answer(stored: StoredRules, rule: Rule | None, more: Mapping[str, Any]) -> Response:
    return json_answer(
        {"rule": rule, "version": stored.version, **more}, headers={"ETag": etag(stored.version)}
    )


def _reason(amendment: Amendment, *, is_undo: bool) -> str:
    words = visible(("no longer " if is_undo else "") + amendment.words)
    return words[:_MOST_REASON_CHARACTERS]
