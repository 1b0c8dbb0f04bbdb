"""Segments, the shared rules of a document, over HTTP."""

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.edits import SEGMENTS, existing
from understudy.admin.entity_tags import etag
from understudy.admin.flag_resources import is_known, named
from understudy.admin.merge_patch import MERGE_PATCH
from understudy.admin.paging import page
from understudy.admin.part_edits import delete_segment, patch_segment, put_segment
from understudy.admin.payload import JSON, YAML, json_bytes
from understudy.admin.references import part
from understudy.admin.request import json_answer, within
from understudy.admin.safety import SAFE_METHODS
from understudy.admin.writing import Writer, read_json


class SegmentEndpoints:
    """``/api/v1/segments`` and ``/api/v1/segments/{name}``."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def segments(self, request: Request) -> Response:
        """GET the segments by name, a page at a time, each with its `rule`; `q` is looked for in the name."""
        stored = await within(self._writer.plane(request).rules())
        rules, words = part(stored.document, SEGMENTS), request.query_params.get("q", "").lower()
        found = page(request, [name for name in rules if words in name.lower()])
        body = {
            "version": stored.version,
            "segments": [{"name": name, "rule": rules[name]} for name in found.names],
            "next": found.next,
        }
        return json_answer(body, headers={"ETag": etag(stored.version)})

    async def segment(self, request: Request) -> Response:
        """GET the segment's rule; PUT creates or replaces it (`If-Match` needed to replace), PATCH changes
        what a merge patch (RFC 7396) names, DELETE takes it out unless a rule names it (409). `?dry_run=true`
        shows the change and who moves."""
        name = named(request, "name")
        if request.method in SAFE_METHODS:
            return await self._get(request, name)
        if request.method == "DELETE":
            return await self._writer.write(request, [delete_segment(name)])
        if request.method == "PATCH":
            patch = await read_json(request, kinds=(MERGE_PATCH, JSON))
            return await self._writer.write(request, [patch_segment(name, patch)])
        rule = await read_json(request, kinds=(JSON, YAML))
        return await self._writer.write(request, [put_segment(name, rule)])

    async def _get(self, request: Request, name: str) -> Response:
        stored = await within(self._writer.plane(request).rules())
        rule = existing(stored.document, SEGMENTS, name)
        headers = {"ETag": etag(stored.version)}
        if is_known(request, stored):
            return Response(status_code=304, headers=headers)
        return Response(json_bytes(rule), media_type=JSON, headers=headers)
