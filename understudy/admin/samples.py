"""Samples over HTTP: one of them whole and explained; the samples of a unit forgotten."""

import asyncio
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.control import ControlPlane
from understudy.admin.refusal import Refusal
from understudy.admin.request import author, json_answer, origin, within
from understudy.report import LIVE_POLICY, render_sample_html
from understudy.shadow.explanation import explain
from understudy.store import Sample

EXPLAINED_SECONDS = 5.0
"""An explanation of two answers of 16 KiB takes milliseconds, of hostile ones a second."""

_NAME = re.compile(r"[0-9a-f]{16}")
_KEYS = ("at", "request", "flag", "seen", "curl")


class SampleEndpoints:
    """``/api/v1/samples`` and ``/api/v1/samples/{id}``."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    async def sample(self, request: Request) -> Response:
        """GET one sample: both answers, redacted, and every place where they differ."""
        return json_answer(await self._document(request.path_params["id"]))

    async def page(self, request: Request) -> Response:
        """The same as a page, which the live page shows beside the finding."""
        document = await self._document(request.path_params["id"])
        text = await asyncio.to_thread(render_sample_html, document)
        headers = {"Content-Security-Policy": LIVE_POLICY}
        return Response(text.encode(), media_type="text/html", headers=headers)

    async def _document(self, name: str) -> dict[str, Any]:
        """The sample called *name* as the API tells it. Raises: Refusal 404."""
        found = await within(self._control.sample(name)) if _NAME.fullmatch(name) else None
        if found is None:
            raise Refusal(
                404, "there is no such sample, or it is not kept any more: the report names those that are"
            )
        return await _explained(found)

    async def forget(self, request: Request) -> Response:
        """DELETE the samples of one unit, or all of them; the counts stay, which name nobody."""
        unit = _unit(request)
        forgetting = self._control.forget_samples(unit=unit, author=author(request), origin=origin(request))
        return json_answer({"deleted": await within(forgetting)})


async def _explained(sample: Sample) -> dict[str, Any]:
    """*sample* as the API tells it; without an explanation when that takes too long."""
    whole = sample.whole or {}
    primary, shadow = whole.get("primary"), whole.get("shadow")
    explanation: list[dict[str, Any]] = []
    if primary and shadow:
        try:
            async with asyncio.timeout(EXPLAINED_SECONDS):
                explanation = await asyncio.to_thread(explain, primary, shadow)
        except TimeoutError:
            pass
    return {
        "id": sample.name,
        "service": sample.service,
        "endpoint": sample.endpoint,
        "path": sample.path,
        "kind": sample.kind,
        **{key: sample.body.get(key, "") for key in _KEYS},
        "primary": primary,
        "shadow": shadow,
        "explanation": explanation,
    }


def _unit(request: Request) -> str | None:
    """Whose samples are meant; None for everybody's. Raises: Refusal 400."""
    given = request.query_params
    if set(given) == {"unit"} and len(given.multi_items()) == 1 and given["unit"]:
        return given["unit"]
    if given.multi_items() == [("all", "true")]:
        return None
    raise Refusal(400, "whose samples? ?unit=TEXT deletes those of one unit, ?all=true all of them")
