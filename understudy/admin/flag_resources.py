"""Flags one by one over HTTP: list, read, write, weights, history, back to what one was."""

import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.changes import changes
from understudy.admin.edits import FLAGS, existing, mistake
from understudy.admin.entity_tags import ANY, etag, matching
from understudy.admin.flag_edits import (
    delete_flag,
    is_killed,
    patch_flag,
    put_flag,
    restore_flag,
    shown,
    weigh_flag,
)
from understudy.admin.merge_patch import MERGE_PATCH
from understudy.admin.paging import page
from understudy.admin.payload import JSON, YAML
from understudy.admin.references import Document, part
from understudy.admin.refusal import Refusal
from understudy.admin.request import check_reason, json_answer, whole_number, within
from understudy.admin.rules import about
from understudy.admin.safety import SAFE_METHODS
from understudy.admin.writing import Writer, read_json
from understudy.store import StoredRules

_MOST_LOOKED_AT: Final = 500
_LOOKING_SECONDS: Final = 2.0
"""Versions are read one by one; ``next`` says where to go on."""


class FlagResources:
    """``/api/v1/flags``, ``/api/v1/flags/{key}`` and what hangs below."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def flags(self, request: Request) -> Response:
        """GET the flags by key, a page at a time: `q` is looked for in key, description and owner; `tag`,
        `owner`, `state` (ENABLED, DISABLED or KILLED) and `archived` are matched whole. `next` is the `after`
        of the next page."""
        stored = await within(self._writer.plane(request).rules())
        fits = _filter(request)
        flags = part(stored.document, FLAGS)
        found = page(request, [key for key in flags if fits(stored.document, key)])
        body = {
            "version": stored.version,
            "flags": [shown(stored.document, key) for key in found.names],
            "next": found.next,
        }
        return json_answer(body, headers={"ETag": etag(stored.version)})

    async def flag(self, request: Request) -> Response:
        """GET the flag's definition, with `key` and `killed`; PUT creates or replaces it (`If-Match` needed
        to replace), PATCH changes what a merge patch (RFC 7396) names, DELETE takes it out unless a route,
        another flag or a layer names it (409). `?dry_run=true` shows the change and who moves."""
        key = named(request)
        if request.method in SAFE_METHODS:
            return await self._get(request, key)
        if request.method == "DELETE":
            return await self._writer.write(request, [delete_flag(key)])
        if request.method == "PATCH":
            patch = await read_json(request, kinds=(MERGE_PATCH, JSON))
            return await self._writer.write(request, [patch_flag(key, patch)])
        given = await read_json(request, kinds=(JSON, YAML))
        return await self._writer.write(request, [put_flag(key, given)])

    async def weights(self, request: Request) -> Response:
        """POST `{"weights": {"canary": 5, "stable": 95}}` changes the weights of the flag's one `fractional`,
        in its order, so that whom a variant gains at the cost of the default one it keeps."""
        body = _body(await read_json(request), {"weights", "reason"})
        edit = weigh_flag(named(request), body.get("weights"))
        return await self._writer.write(request, [edit], reason=check_reason(body.get("reason", "")))

    async def restore(self, request: Request) -> Response:
        """POST `{"version": 12}` makes this flag alone what it was then; it stays killed if it is."""
        body = _body(await read_json(request), {"version", "reason"})
        key, version = named(request), body.get("version")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 < version < 10**9:
            raise mistake("version", "must be the number of a version of the rules", "GET …/history has them")
        past = await within(self._writer.plane(request).past(version))
        if past is None:
            raise Refusal(404, f"there is no version {version}; GET /api/v1/rules/history lists them")
        edit = restore_flag(key, version, past.document)
        return await self._writer.write(request, [edit], reason=check_reason(body.get("reason", "")))

    async def history(self, request: Request) -> Response:
        """GET the versions in which this flag changed, newest first, each with what changed, who, when, why.
        `next` (null at the end) is the `before` of the next page."""
        key, plane = named(request), self._writer.plane(request)
        limit = whole_number(request, "limit", usual=50, least=1, most=200)
        current = await within(plane.rules())
        first = whole_number(request, "before", usual=current.version + 1, least=1, most=10**9)
        until = time.monotonic() + _LOOKING_SECONDS
        found: list[dict[str, Any]] = []
        at = min(first, current.version + 1) - 1
        after = await within(plane.past(at)) if at else None
        looked_at = 0
        while after is not None and len(found) < limit:
            if looked_at >= _MOST_LOOKED_AT or time.monotonic() > until:
                break
            looked_at += 1
            before = await within(plane.past(after.version - 1)) if after.version > 1 else None
            found += _changed(key, before, after)
            after = before
        if not found and after is None and at == current.version:
            existing(current.document, FLAGS, key)
        following = after.version + 1 if after is not None else None
        return json_answer({"flag": key, "versions": found, "next": following})

    async def _get(self, request: Request, key: str) -> Response:
        stored = await within(self._writer.plane(request).rules())
        existing(stored.document, FLAGS, key)
        headers = {"ETag": etag(stored.version)}
        if is_known(request, stored):
            return Response(status_code=304, headers=headers)
        return json_answer(shown(stored.document, key), headers=headers)


def is_known(request: Request, stored: StoredRules) -> bool:
    """Whether the request says that it has this version already."""
    known = request.headers.get("if-none-match")
    return known is not None and (known.strip() == ANY or stored.version in matching(known, weak=True))


def named(request: Request, name: str = "key") -> str:
    """The part that the path names. Raises: Refusal 404 when it names none."""
    key: str = request.path_params[name]
    if not key:
        raise Refusal(404, "there is nothing at this path")
    return key


def _changed(key: str, before: StoredRules | None, after: StoredRules) -> list[dict[str, Any]]:
    """What *after* changed of flag *key*: one entry, or none. Nothing is known of the first version that is
    kept, unless it is the first of all."""
    if before is None and after.version > 1:
        return []
    was = _of(before.document, key) if before is not None else None
    will = _of(after.document, key)
    if was is None or will is None:
        whole = {name: flag for name, flag in (("before", was), ("after", will)) if flag is not None}
        found = [{"path": "", **whole}] if whole else []
    else:
        found = list(changes(was, will))
    return [{**about(after), "changes": found}] if found else []


def _of(document: Document, key: str) -> dict[str, Any] | None:
    """All that *document* says of flag *key*; None when it says nothing."""
    return shown(document, key) if key in part(document, FLAGS) else None


def _body(given: Any, known: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise mistake("", f"the body is an object with {' and '.join(sorted(known, reverse=True))}")
    for name in given:
        if name not in known:
            raise mistake(str(name), "unknown key", f"one of {', '.join(sorted(known))}")
    return given


def _filter(request: Request) -> Any:
    """Whether a flag of a document is one that the query asks for. Raises: Refusal 400."""
    asked = request.query_params
    state, archived = asked.get("state"), asked.get("archived")
    if state not in (None, "ENABLED", "DISABLED", "KILLED"):
        raise Refusal(400, "state is ENABLED, DISABLED or KILLED")
    if archived not in (None, "true", "false"):
        raise Refusal(400, "archived is true or false")
    words, tag, owner = asked.get("q", "").lower(), asked.get("tag"), asked.get("owner")

    def fits(document: Document, key: str) -> bool:
        flag = part(document, FLAGS)[key]
        about_it = _metadata(flag)
        text = f"{key}\n{about_it.get('description', '')}\n{about_it.get('owner', '')}".lower()
        tags = [one.strip() for one in str(about_it.get("tags", "")).split(",")]
        return (
            words in text
            and (tag is None or tag in tags)
            and (owner is None or about_it.get("owner") == owner)
            and (archived is None or (about_it.get("archived") is True) == (archived == "true"))
            and (state is None or _state(document, key, flag) == state)
        )

    return fits


def _metadata(flag: Any) -> Mapping[str, Any]:
    found = flag.get("metadata") if isinstance(flag, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _state(document: Document, key: str, flag: Any) -> str:
    if is_killed(document, key):
        return "KILLED"
    return str(flag.get("state", "ENABLED")) if isinstance(flag, Mapping) else ""
