"""Which variant a unit gets, and why: for people with curl."""

from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response

from understudy.access import Role
from understudy.admin.decider import Decider
from understudy.admin.exposures import ExposurePlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import caller_of, json_answer, role_of
from understudy.errors import FlagNotFound

_PREFIX = b"/api/v1/decide/"


class DecideEndpoints:
    """``GET /api/v1/decide/{flag}/{unit}``."""

    def __init__(self, decider: Decider, exposures: ExposurePlane | None = None) -> None:
        self._decider = decider
        self._exposures = exposures

    async def decide(self, request: Request) -> Response:
        """What *flag* answers *unit*. Query parameters are the rest of the context, dotted ones inside.

        `rule` says in words why; `bucket`, `key` and `hash` are of the percentage that decided, if one did.
        An evaluator is not told them.
        The flag is one segment of the path, percent-decoded; the unit is all that follows.
        """
        flag, unit = _named(request)
        deciding = await self._decider.deciding()
        if flag not in deciding.in_force.rules.flags:
            is_public = role_of(request) is Role.EVALUATOR
            raise FlagNotFound(flag, () if is_public else tuple(deciding.evaluator.keys))
        context = {**_attributes(request), "targetingKey": unit}
        found = deciding.evaluate(flag, context, selector=caller_of(request).flag_set)
        if found.error_code == "FLAG_NOT_FOUND":
            raise FlagNotFound(flag, ())
        if self._exposures is not None and found.variant:
            self._exposures.see(flag, found.variant, unit)
        body: dict[str, Any] = {
            "flag": flag,
            "unit": unit,
            "variant": found.variant,
            "value": found.value,
            "reason": found.reason,
        }
        if role_of(request) is not Role.EVALUATOR:
            reasons = deciding.why(flag, context)
            body |= {"rule": reasons.rule, "bucket": reasons.bucket, "key": reasons.key, "hash": reasons.hash}
        if found.error_code:
            body |= {"errorCode": found.error_code, "errorDetails": found.error_details}
        body["version"] = deciding.in_force.version
        return json_answer(body)


def _named(request: Request) -> tuple[str, str]:
    """The flag and the unit; told apart before anything is decoded."""
    raw = request.scope["raw_path"]
    flag, _, unit = raw.removeprefix(_PREFIX).partition(b"/")
    return unquote_to_bytes(flag).decode("utf-8", "replace"), unquote_to_bytes(unit).decode(
        "utf-8", "replace"
    )


def _attributes(request: Request) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        *branches, leaf = name.split(".")
        place = context
        for branch in branches:
            inner = place.setdefault(branch, {})
            if not isinstance(inner, dict):
                raise Refusal(400, f"{name}: {branch} has a value of its own already")
            place = inner
        if leaf in place:
            raise Refusal(400, f"{name} stands in the query twice")
        place[leaf] = value
    return context
