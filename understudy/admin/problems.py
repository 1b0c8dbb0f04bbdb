"""Every error as problem+json (RFC 9457): what is wrong in words, never how it came about."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from understudy.admin.entity_tags import etag
from understudy.admin.payload import json_bytes
from understudy.admin.refusal import Refusal
from understudy.admin.safety import SAFE_HEADERS
from understudy.errors import ConfigError, FlagNotFound, StoreError, VersionConflict

_RETRY_SECONDS = "1"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """One problem+json answer; *members* stand beside ``title``, ``status`` and ``detail``."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return Response(
        json_bytes(body),
        status_code=status,
        media_type="application/problem+json",
        headers={**SAFE_HEADERS, **(headers or {})},
    )


def answer(_: Request, error: Exception) -> Response:
    """The answer to *error*, for Starlette's table of exception handlers."""
    match error:
        case Refusal():
            return problem(error.status, error.detail, headers=error.headers, **error.members)
        case HTTPException():
            return problem(error.status_code, _detail(error), headers=error.headers)
        case VersionConflict():
            members = {"expected": error.expected, "actual": error.actual}
            return problem(412, str(error), headers={"ETag": etag(error.actual)}, **members)
        case ConfigError():
            return _invalid(error)
        case FlagNotFound():
            return problem(404, f"there is no flag {error.key!r}", known=list(error.known))
        case StoreError():
            return problem(503, str(error), headers={"Retry-After": _RETRY_SECONDS})
        case TimeoutError():
            detail = "no answer in time; a change may or may not have been made"
            return problem(503, detail, headers={"Retry-After": _RETRY_SECONDS})
        case ClientDisconnect():
            return problem(400, "the request ended before its body did")
        case _:
            return problem(500, "something went wrong in the server; its log says what")


HANDLED = (
    Refusal,
    HTTPException,
    ConfigError,
    FlagNotFound,
    StoreError,
    TimeoutError,
    ClientDisconnect,
    Exception,
)
"""Exceptions that ``answer`` has an answer for."""


def _invalid(error: ConfigError) -> Response:
    errors = [{"path": item.path, "message": item.message, "hint": item.hint} for item in error.problems]
    count = len(errors)
    mistakes = "1 mistake" if count == 1 else f"{count} mistakes"
    return problem(422, f"the rules document has {mistakes}; nothing was changed", errors=errors)


def _detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return "there is nothing at this path"
    if error.status_code == 405:
        return "this path does not know the method; Allow lists those it knows"
    return error.detail
