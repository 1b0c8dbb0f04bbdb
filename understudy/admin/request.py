"""What every endpoint needs to know of a request, and how it answers in JSON."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from understudy.access import Caller, Role
from understudy.admin.payload import JSON, json_bytes
from understudy.admin.refusal import Refusal

ANSWER_SECONDS = 10.0
"""Store and workers have their own, shorter deadlines; this one ends a wait that should not be."""
_MOST_REASON_CHARACTERS = 500

CALLER: Final = "understudy.caller"
"""The key of the ASGI scope under which the gate leaves the caller."""

HELD: Final = "understudy.role"
"""The key under which the gate leaves the role that the caller holds where it asks."""

Result = TypeVar("Result")


async def within(work: Awaitable[Result]) -> Result:
    """The result of *work*. Raises: TimeoutError after ``ANSWER_SECONDS``."""
    async with asyncio.timeout(ANSWER_SECONDS):
        return await work


def author(request: Request) -> str:
    """Who changes something, for the history: the name of a token; an address while there is none."""
    return caller_of(request).name


def origin(request: Request) -> str:
    """From where, for the audit: the address of the peer."""
    return caller_of(request).origin


def caller_of(request: Request) -> Caller:
    """Whom the gate has let through."""
    caller: Caller = request.scope[CALLER]
    return caller


def role_of(request: Request) -> Role:
    """What the caller holds in the environment that it asks for."""
    return Role(request.scope[HELD])


def whole_number(request: Request, name: str, *, usual: int, least: int, most: int) -> int:
    """The query parameter *name*, *usual* when it is not given. Raises: Refusal 400."""
    text = request.query_params.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 17 and least <= int(text) <= most):
        raise Refusal(400, f"{name} is a number from {least} to {most}")
    return int(text)


def moment(request: Request, name: str) -> float | None:
    """The time (Unix seconds) that the query parameter *name* says, ISO 8601 with its zone, or seconds.

    None when it is not given. Raises: Refusal 400.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        return _read_moment(text)
    except (ValueError, OverflowError):
        raise Refusal(400, f"{name} is a time with its zone: 2026-11-26T04:00:00Z") from None


def _read_moment(text: str) -> float:
    """Raises: ValueError, OverflowError."""
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return float(text)
    # A + that nobody escaped has become a space.
    found = datetime.fromisoformat(text[:10] + text[10:].replace(" ", "+"))
    if found.tzinfo is None:
        raise ValueError("no zone")
    return found.timestamp()


def check_reason(reason: object) -> str:
    """*reason* as it may be stored and printed: one line of text. Raises: Refusal 422."""
    if not isinstance(reason, str) or not reason.isprintable():
        raise _bad_reason("must be one line of text")
    if len(reason) > _MOST_REASON_CHARACTERS:
        raise _bad_reason(f"must be at most {_MOST_REASON_CHARACTERS} characters long")
    return reason


def read_reason(request: Request) -> str:
    """Why something is changed: the query parameter ``reason``, else the field X-Reason, in UTF-8."""
    given = request.query_params.get("reason") or request.headers.get("x-reason", "")
    try:
        given = given.encode("latin-1").decode() if "reason" not in request.query_params else given
    except UnicodeError:
        pass
    return check_reason(given)


def json_answer(value: Any, *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """*value* as a JSON answer."""
    return Response(json_bytes(value), status_code=status_code, media_type=JSON, headers=headers)


def _bad_reason(message: str) -> Refusal:
    error = {"path": "reason", "message": message, "hint": ""}
    return Refusal(422, f"reason {message}", errors=[error])
