"""The OpenFeature Remote Evaluation Protocol: flags for the SDKs of every language."""

from http import HTTPStatus
from time import perf_counter

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from understudy.admin.decider import Decider
from understudy.admin.exposures import ExposurePlane
from understudy.admin.ofrep_answers import bulk, bulk_tag, failure
from understudy.admin.ofrep_counts import OfrepCounts
from understudy.admin.ofrep_request import Asked, Unanswerable, answered, asked, tagged
from understudy.admin.payload import JSON
from understudy.admin.refusal import Refusal

EVENTS_PATH = "/ofrep/v1/sse"
_STREAMS = ({"type": "sse", "endpoint": {"requestUri": EVENTS_PATH}, "inactivityDelaySec": 120},)
"""Where changes are told of: no origin, so at the address the client already knows (decision 8)."""
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Flagd-Selector, Origin"}
_STATUS = {"FLAG_NOT_FOUND": 404}


class OfrepEndpoints:
    """``POST /ofrep/v1/evaluate/flags`` and ``/ofrep/v1/evaluate/flags/{key}``.

    Both answer from the rules in force, with the store away too.
    """

    def __init__(
        self,
        decider: Decider,
        exposures: ExposurePlane | None = None,
        counts: OfrepCounts | None = None,
    ) -> None:
        """*exposures* is told of each flag that was asked for by itself: to ask for all is to meet none."""
        self._decider = decider
        self._exposures = exposures
        self._counts = counts or OfrepCounts()

    async def flag(self, request: Request) -> Response:
        """One flag for one context. Its key is the rest of the path, percent-decoded once."""
        key, began = request.path_params["key"], perf_counter()
        try:
            who = await asked(request)
            return await self._flag(key, who, began)
        except (Unanswerable, Refusal, ClientDisconnect) as error:
            answer = answered(error)
            self._counts.evaluated("", answer.code, began)
            return answer.answer(key)

    async def _flag(self, key: str, who: Asked, began: float) -> Response:
        deciding = await self._decider.deciding()
        found = deciding.evaluate(key, who.context, selector=who.selector)
        is_known = found.error_code != "FLAG_NOT_FOUND"
        self._counts.evaluated(key if is_known else "", found.error_code or found.reason, began)
        if found.error_code:
            return Response(
                failure(key, found), status_code=_STATUS.get(found.error_code, 400), media_type=JSON
            )
        if self._exposures is not None and found.variant:
            self._exposures.see(key, found.variant, str(who.context.get("targetingKey") or ""))
        return Response(deciding.written(key, found), media_type=JSON)

    async def flags(self, request: Request) -> Response:
        """All flags for one context; 304 when If-None-Match names that very answer."""
        began = perf_counter()
        try:
            who = await asked(request)
            answer = await self._flags(request, who)
        except (Unanswerable, Refusal, ClientDisconnect) as error:
            self._counts.answered_all("refused", began)
            return answered(error).answer()
        self._counts.answered_all(
            "not_modified" if answer.status_code == HTTPStatus.NOT_MODIFIED else "answered", began
        )
        return answer

    async def _flags(self, request: Request, who: Asked) -> Response:
        deciding = await self._decider.deciding()
        entries = await deciding.answers(who.context, selector=who.selector)
        body = bulk(entries, metadata=deciding.evaluator.metadata, streams=_STREAMS)
        tag = bulk_tag(
            version=deciding.in_force.version, selector=who.selector, context=who.canonical, body=body
        )
        return tagged(request, body, tag, headers=_CACHING)
