"""Routes over HTTP: all of them in their order, which has a meaning, or one by position or name."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.edits import Edit, mistake
from understudy.admin.entity_tags import etag
from understudy.admin.flag_resources import is_known, named
from understudy.admin.merge_patch import MERGE_PATCH
from understudy.admin.part_edits import (
    add_route,
    delete_route,
    find_route,
    patch_route,
    put_route,
    put_routes,
)
from understudy.admin.payload import JSON, YAML, json_bytes
from understudy.admin.references import routes_of
from understudy.admin.request import json_answer, within
from understudy.admin.safety import SAFE_METHODS
from understudy.admin.writing import Writer, read_json


class RouteEndpoints:
    """``/api/v1/routes`` and ``/api/v1/routes/{place}``."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def routes(self, request: Request) -> Response:
        """GET the routes in their order; PUT replaces all (`If-Match` needed); POST `{"route": …, "before":
        PLACE}` adds one, after all others when `before` is not given. `?dry_run=true` shows the change."""
        if request.method == "PUT":
            return await self._writer.write(
                request, [put_routes(await read_json(request, kinds=(JSON, YAML)))]
            )
        if request.method == "POST":
            return await self._writer.write(request, [added_route(await read_json(request))])
        stored = await within(self._writer.plane(request).rules())
        body = {"version": stored.version, "routes": routes_of(stored.document)}
        return json_answer(body, headers={"ETag": etag(stored.version)})

    async def route(self, request: Request) -> Response:
        """GET, PUT, PATCH (RFC 7396) or DELETE one route: the one with this `name`, else the one at this
        position from 0, and then a write needs `If-Match`, for routes change their positions."""
        place = named(request, "place")
        if request.method in SAFE_METHODS:
            return await self._get(request, place)
        if request.method == "DELETE":
            return await self._writer.write(request, [delete_route(place)])
        if request.method == "PATCH":
            patch = await read_json(request, kinds=(MERGE_PATCH, JSON))
            return await self._writer.write(request, [patch_route(place, patch)])
        route = await read_json(request, kinds=(JSON, YAML))
        return await self._writer.write(request, [put_route(place, route)])

    async def _get(self, request: Request, place: str) -> Response:
        stored = await within(self._writer.plane(request).rules())
        found = routes_of(stored.document)[find_route(stored.document, place)]
        headers = {"ETag": etag(stored.version)}
        if is_known(request, stored):
            return Response(status_code=304, headers=headers)
        return Response(json_bytes(found), media_type=JSON, headers=headers)


def added_route(given: Any) -> Edit:
    """The addition that *given* (a body) asks for. Raises: Refusal 422."""
    if not isinstance(given, dict) or "route" not in given or given.keys() - {"route", "before"}:
        raise mistake("", 'the body is {"route": …}, and perhaps "before": the place of another route')
    before = given.get("before")
    if isinstance(before, bool) or not isinstance(before, int | str | None):
        raise mistake("before", "must be the position of a route, or its name")
    return add_route(given["route"], before)
