"""Bodies in and out: read within bounds, parsed strictly, written so that nothing can stop it."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request

from understudy.admin.refusal import Refusal
from understudy.config import parse_json, parse_yaml
from understudy.errors import ConfigError

MOST_RULES_BYTES = 4 * 1024 * 1024
"""10,000 flags take about 3 MiB."""
MOST_REASON_BYTES = 16 * 1024
BODY_SECONDS = 30.0

JSON = "application/json"
YAML = "application/yaml"


def json_bytes(value: Any) -> bytes:
    """*value* as JSON. Text that is no Unicode and integers over 64 bits are written too."""
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError:
        return json.dumps(value, default=_plain).encode()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


async def read_body(request: Request, *, most_bytes: int) -> bytes:
    """The whole body, read no further than *most_bytes*. Raises: Refusal 400, 408, 413 or 415."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "a body must come without content coding", headers={"Accept-Encoding": "identity"})
    _check_declared(request.headers.get("content-length"), most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise _too_large(most_bytes)
    except TimeoutError:
        raise Refusal(408, f"the body did not come within {BODY_SECONDS:.0f} seconds") from None
    return bytes(body)


async def parse_body(request: Request, body: bytes, *, kinds: tuple[str, ...]) -> Any:
    """The plain value that *body* says in one of the media types *kinds*. Raises: Refusal 400 or 415."""
    kind = _media_type(request, kinds)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8 text, at byte {error.start}") from None
    try:
        # In a thread: a document of megabytes would hold up probes and evidence for seconds.
        return await asyncio.to_thread(parse_yaml if kind == YAML else parse_json, text)
    except ConfigError as error:
        raise Refusal(400, "; ".join(str(item) for item in error.problems)) from None


def _media_type(request: Request, kinds: tuple[str, ...]) -> str:
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    charset = parameters.strip().lower().replace('"', "")
    if kind not in kinds or charset not in ("", "charset=utf-8"):
        raise Refusal(
            415, f"the body must be {' or '.join(kinds)}, in UTF-8", headers={"Accept": ", ".join(kinds)}
        )
    return kind


def _check_declared(length: str | None, most_bytes: int) -> None:
    if length is None:
        return
    if not (length.isascii() and length.isdigit()):
        raise Refusal(400, "Content-Length is not a number")
    if len(length) > 18 or int(length) > most_bytes:
        raise _too_large(most_bytes)


def _too_large(most_bytes: int) -> Refusal:
    # The rest of the body is not read, so the connection cannot be used again.
    return Refusal(413, f"the body is larger than {most_bytes:,} bytes", headers={"Connection": "close"})
