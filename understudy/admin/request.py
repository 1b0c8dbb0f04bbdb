"""What every endpoint needs to know of a request, and how it answers in JSON."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from understudy.admin.payload import JSON, json_bytes
from understudy.admin.refusal import Refusal

ANSWER_SECONDS = 10.0
"""Store and workers have their own, shorter deadlines; this one ends a wait that should not be."""
_MOST_REASON_CHARACTERS = 500

Result = TypeVar("Result")


async def within(work: Awaitable[Result]) -> Result:
    """The result of *work*. Raises: TimeoutError after ``ANSWER_SECONDS``."""
    async with asyncio.timeout(ANSWER_SECONDS):
        return await work


def author(request: Request) -> str:
    """Who changes something. There are no accounts yet, so: from which address."""
    client = request.client
    return f"admin API ({client.host})" if client and client.host else "admin API"


def check_reason(reason: object) -> str:
    """*reason* as it may be stored and printed: one line of text. Raises: Refusal 422."""
    if not isinstance(reason, str) or not reason.isprintable():
        raise _bad_reason("must be one line of text")
    if len(reason) > _MOST_REASON_CHARACTERS:
        raise _bad_reason(f"must be at most {_MOST_REASON_CHARACTERS} characters long")
    return reason


def json_answer(value: Any, *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """*value* as a JSON answer."""
    return Response(json_bytes(value), status_code=status_code, media_type=JSON, headers=headers)


def _bad_reason(message: str) -> Refusal:
    error = {"path": "reason", "message": message, "hint": ""}
    return Refusal(422, f"reason {message}", errors=[error])
