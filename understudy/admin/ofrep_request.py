"""What an OFREP request says: the context, the selector, and which answer it already has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from understudy.admin.ofrep_answers import coded, coding_of
from understudy.admin.payload import JSON, json_bytes, read_body
from understudy.admin.refusal import Refusal
from understudy.admin.request import caller_of

MOST_CONTEXT_BYTES: Final = 256 * 1024
"""A context is some attributes of one user; a list of a thousand ids has 40 KiB."""
_SELECTOR: Final = re.compile(r"(?:flagSetId=)?(?P<set>[^=,]*)")
_TAG: Final = re.compile(r'(?:W/)?"([^"]*)"')
_CODED: Final = "-gzip"


class Unanswerable(Exception):
    """A request that OFREP has an error code for."""

    def __init__(
        self, code: str, details: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        self.headers = headers
        self.code = code
        self.details = details
        self.status = status
        super().__init__(details)

    def answer(self, key: str = "") -> Response:
        """As OFREP says it; *key* is the flag that was asked for."""
        body = {"key": key} if key else {}
        body |= {"errorCode": self.code, "errorDetails": self.details}
        return Response(json_bytes(body), status_code=self.status, media_type=JSON, headers=self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks: ``context``, the same in canonical form, and the flag set ``selector`` (empty: all)."""

    context: Mapping[str, Any]
    canonical: bytes
    selector: str


async def asked(request: Request) -> Asked:
    """What *request* says. A missing body or context is an empty context.

    Raises: Unanswerable; Refusal where the body cannot be read.
    """
    context = _context(await read_body(request, most_bytes=MOST_CONTEXT_BYTES))
    try:
        canonical = orjson.dumps(context, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Unanswerable("INVALID_CONTEXT", f"the context cannot be used: {error}") from None
    wanted = selector(request.headers.get("flagd-selector", ""))
    only = caller_of(request).flag_set
    if only and wanted not in ("", only):
        raise Unanswerable("GENERAL", f"this token is for the flag set {only!r} alone", status=403)
    return Asked(context=context, canonical=canonical, selector=wanted or only)


def _context(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unanswerable("PARSE_ERROR", f"the body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise Unanswerable("PARSE_ERROR", 'the body must be an object: {"context": {"targetingKey": "…"}}')
    context = given.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise Unanswerable("INVALID_CONTEXT", 'context must be an object: {"targetingKey": "…"}')
    if not isinstance(context.get("targetingKey", ""), str | None):
        raise Unanswerable("INVALID_CONTEXT", "context.targetingKey must be text")
    return context


def selector(field: str) -> str:
    """The flag set that flagd's selector *field* names: ``flagSetId=web``, or ``web``; empty for all.

    Raises: Unanswerable.
    """
    found = _SELECTOR.fullmatch(field.strip())
    if found is None:
        raise Unanswerable("GENERAL", "Flagd-Selector is flagSetId=NAME and nothing else")
    return found["set"].strip()


def tagged(request: Request, body: bytes, opaque: str, *, headers: Mapping[str, str]) -> Response:
    """*body*, JSON, under the entity tag *opaque*: 304 when *request* has it already, gzip where it may be.

    Only If-None-Match counts. ``flagConfigEtag`` is what an event told of, and answering it with 304 would
    suppress the very answer that the event announced (OFREP decision 8).
    """
    coding = coding_of(body, accepted=request.headers.get("accept-encoding", ""))
    fields = {**headers, "ETag": f'"{opaque}{_CODED if coding else ""}"'}
    if _knows(request.headers.get("if-none-match", ""), opaque):
        return Response(status_code=304, headers=fields)
    if coding:
        fields["Content-Encoding"] = coding
    return Response(coded(body, coding), media_type=JSON, headers=fields)


def _knows(field: str, opaque: str) -> bool:
    """Whether an If-None-Match *field* names *opaque*; each coding has its own tag (RFC 9110, 8.8.3)."""
    return field.strip() == "*" or any(tag.removesuffix(_CODED) == opaque for tag in _TAG.findall(field))


def answered(error: Unanswerable | Refusal | ClientDisconnect) -> Unanswerable:
    """*error* as OFREP says it."""
    if isinstance(error, Unanswerable):
        return error
    if isinstance(error, ClientDisconnect):
        return Unanswerable("PARSE_ERROR", "the request ended before its body did")
    code = "PARSE_ERROR" if error.status == 400 else "GENERAL"
    return Unanswerable(code, error.detail, status=error.status, headers=error.headers)
