"""Many changes of the rules document at once: all or nothing, one version, one entry of the audit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.edits import Edit, mistake
from understudy.admin.flag_edits import delete_flag, patch_flag, put_flag, switch_flag, weigh_flag
from understudy.admin.part_edits import (
    delete_route,
    delete_segment,
    patch_route,
    patch_segment,
    put_route,
    put_routes,
    put_segment,
)
from understudy.admin.refusal import Refusal
from understudy.admin.request import check_reason
from understudy.admin.routes import added_route
from understudy.admin.writing import Writer, read_json

MOST_OPERATIONS: Final = 1000
_KEYS: Final = {"method", "path", "body"}

Make = Callable[[str, Any], Edit]

_ONE: Final[Mapping[tuple[str, str], Make]] = {
    ("flags", "PUT"): put_flag,
    ("flags", "PATCH"): patch_flag,
    ("flags", "DELETE"): lambda key, _: delete_flag(key),
    ("segments", "PUT"): put_segment,
    ("segments", "PATCH"): patch_segment,
    ("segments", "DELETE"): lambda name, _: delete_segment(name),
    ("routes", "PUT"): put_route,
    ("routes", "PATCH"): patch_route,
    ("routes", "DELETE"): lambda place, _: delete_route(place),
}
_ACTIONS: Final[Mapping[str, Make]] = {
    "kill": lambda key, _: switch_flag(key, is_on=True),
    "revive": lambda key, _: switch_flag(key, is_on=False),
    "weights": lambda key, body: weigh_flag(key, body.get("weights") if isinstance(body, Mapping) else None),
}


class BulkEndpoints:
    """``POST /api/v1/bulk``."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def bulk(self, request: Request) -> Response:
        """POST `{"operations": [{"method": "PATCH", "path": "/flags/x", "body": …}, …], "reason": …}`: up to
        1,000 writes of flags (also `/kill`, `/revive`, `/weights`), segments and routes, in their order, all
        or none, as one version with one entry of the audit."""
        body = await read_json(request)
        if not isinstance(body, dict) or body.keys() - {"operations", "reason"}:
            raise mistake("", 'the body is {"operations": […]}, and perhaps a "reason"')
        reason = check_reason(body.get("reason", ""))
        return await self._writer.write(request, _edits(body.get("operations")), action="bulk", reason=reason)


def _edits(operations: Any) -> list[Edit]:
    if not isinstance(operations, list) or not 1 <= len(operations) <= MOST_OPERATIONS:
        raise mistake("operations", f"must be a list of 1 to {MOST_OPERATIONS:,} operations")
    return [
        _placed(edit_of(given, f"operations[{at}]"), f"operations[{at}]")
        for at, given in enumerate(operations)
    ]


def edit_of(given: Any, place: str) -> Edit:
    """The edit that the operation *given*, which stands at *place*, asks for. Raises: Refusal 422."""
    if not isinstance(given, Mapping) or given.keys() - _KEYS:
        raise mistake(place, "must be an object with method, path and, where one is needed, body")
    method, path, body = given.get("method"), given.get("path"), given.get("body")
    if not isinstance(method, str) or not isinstance(path, str):
        raise mistake(place, "must have a method and a path, both text")
    section, _, rest = path.removeprefix("/").partition("/")
    name, _, action = rest.partition("/")
    if section == "flags" and method == "POST" and action in _ACTIONS:
        return _ACTIONS[action](_decoded(name, place), body)
    if section == "routes" and not rest and method in ("PUT", "POST"):
        return put_routes(body) if method == "PUT" else added_route(body)
    make = _ONE.get((section, method)) if name and not action else None
    if make is None:
        hint = "a write of /flags/KEY, /segments/NAME or /routes/PLACE, without /api/v1, a / in a name as %2F"
        raise mistake(place, f"cannot be done here: {method[:20]} {path[:100]}", hint)
    if method != "DELETE" and "body" not in given:
        raise mistake(f"{place}.body", "is missing")
    return make(_decoded(name, place), body)


def _decoded(name: str, place: str) -> str:
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise mistake(f"{place}.path", "is not UTF-8 once it is percent-decoded") from None


def _placed(edit: Edit, place: str) -> Edit:
    """*edit*, whose refusals say which operation they are about."""

    def apply(document: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return edit.apply(document)
        except Refusal as refusal:
            raise Refusal(
                refusal.status, f"{place}: {refusal.detail}", headers=refusal.headers, **refusal.members
            ) from None

    return replace(edit, apply=apply)
