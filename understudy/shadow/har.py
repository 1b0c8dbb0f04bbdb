"""A recorded request as an entry of a HAR (1.2), redacted: no credential leaves, and what cannot be searched
for secrets (bytes, uploads) is left out."""

from datetime import UTC, datetime
from typing import Final

import orjson

from understudy.comparators.content import FORM, beginning, content_type, text_of
from understudy.comparators.difference import printable
from understudy.comparators.json_tree import ABSENT, load
from understudy.messages import Answer, Headers, Taken
from understudy.shadow.redaction import Redaction

UNKNOWN: Final = -1
"""What HAR calls a size that nobody knows."""


def har_entry(taken: Taken, hide: Redaction) -> bytes:
    """*taken* as JSON. Never raises, on any content."""
    hide = hide.of_unit(taken.unit, taken.unit_at)
    milliseconds = round(taken.seconds * 1000, 3)
    entry = {
        "startedDateTime": datetime.fromtimestamp(taken.at, UTC).isoformat(),
        "time": milliseconds,
        "request": _request(taken, hide),
        "response": _response(taken.answer, hide),
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds, "receive": 0},
    }
    return orjson.dumps(entry)


def _request(taken: Taken, hide: Redaction) -> dict[str, object]:
    request: dict[str, object] = {
        "method": taken.method,
        "url": f"http://{taken.host or 'localhost'}{hide.target(taken.path, taken.query)}",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _fields(taken.headers, hide),
        "queryString": [],
        "headersSize": UNKNOWN,
        "bodySize": taken.body_bytes,
    }
    field = _value(taken.headers, b"content-type")
    is_coded = bool(_value(taken.headers, b"content-encoding"))
    text = None if is_coded else shown_text(taken.body, field, hide)
    if text:
        request["postData"] = {"mimeType": field.decode("latin-1"), "text": text, "params": []}
    return request


def _response(answer: Answer, hide: Redaction) -> dict[str, object]:
    field = answer.header(b"content-type")
    content: dict[str, object] = {"size": answer.length_bytes, "mimeType": field.decode("latin-1")}
    body = None if answer.is_truncated else beginning(answer)
    text = shown_text(body, field, hide) if body else None
    if text:
        content["text"] = text
    return {
        "status": answer.status,
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _fields(answer.headers, hide),
        "content": content,
        "redirectURL": "",
        "headersSize": UNKNOWN,
        "bodySize": UNKNOWN,
    }


def _fields(headers: Headers, hide: Redaction) -> list[dict[str, str]]:
    shown = []
    for raw, value in headers:
        name = printable(raw.decode("latin-1"))
        hidden = hide.value(f"/headers/{name}", printable(value.decode("latin-1")))
        shown.append({"name": name, "value": str(hidden)})
    return shown


def _value(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"")


def shown_text(body: bytes, field: bytes, hide: Redaction) -> str | None:
    """*body* of the Content-Type *field* as redacted text; None when it cannot be searched."""
    kind = content_type(field)
    if not body or kind.media.startswith("multipart/"):
        return None
    tree = load(body) if body.lstrip()[:1] in (b"{", b"[") else ABSENT
    if tree is not ABSENT:
        return _shown_tree(tree, body, hide)
    text = text_of(body, kind.charset)
    if text is None or "\0" in text:
        return None
    if kind.reading == FORM:
        return printable(hide.target("", text).removeprefix("?"))
    return printable(hide.text(text))


def _shown_tree(tree: object, body: bytes, hide: Redaction) -> str | None:
    """JSON as it came where nothing in it is hidden, else written anew."""
    try:
        shown = hide.value("/body", tree)
        if shown == tree:
            return body.decode("utf-8")
        return orjson.dumps(shown, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):
        return None
