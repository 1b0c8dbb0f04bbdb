"""The short answers the proxy gives by itself (RFC 9457), and what it counts them by."""

from http import HTTPStatus
from typing import Final

import orjson

_TITLES: Final = {status.value: status.phrase for status in HTTPStatus}

STATUS_OF: Final = {
    # Why no answer came from the upstream → what the client is told.
    "connect_refused": 502,
    "connect_timeout": 504,
    "tls_failed": 502,
    "closed": 502,
    "reset": 502,
    "bad_answer": 502,
    "answer_head_too_large": 502,
    "unasked_upgrade": 502,
    "answer_timeout": 504,
    "pool_full": 503,
    "pool_closed": 503,
    "no_rules": 503,
    "no_files": 503,
    "internal": 500,
}

DETAIL_OF: Final = {
    "connect_refused": "the upstream service refuses connections",
    "connect_timeout": "the upstream service did not accept a connection in time",
    "tls_failed": "no trusted TLS connection to the upstream service could be made",
    "closed": "the upstream service closed the connection before it answered",
    "reset": "the upstream service reset the connection before it answered",
    "bad_answer": "the upstream service gave an answer that is not valid HTTP/1.1",
    "answer_head_too_large": "the upstream service gave an answer with too large a head",
    "unasked_upgrade": "the upstream service switched protocols unasked",
    "answer_timeout": "the upstream service did not answer in time",
    "pool_full": "too many requests are waiting for the upstream service",
    "pool_closed": "the proxy is shutting down",
    "no_rules": "the proxy has no rules yet",
    "no_files": "the proxy cannot open more connections for now",
    "internal": "the proxy failed to handle the answer",
}


RETRY_AFTER: Final = frozenset({"overload", "no_files"})
"""Reasons that pass by themselves, mostly within a second, which is what the client is told to wait."""

ALLOW: Final = "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
"""RFC 9110 15.5.6: a 405 says what is allowed; which of these a path knows is the service's affair."""


def problem_body(status: int, reason: str, detail: str) -> bytes:
    """The problem+json that says why there is no other answer."""
    title = _TITLES.get(status, "Error")
    return orjson.dumps(
        {"type": "about:blank", "title": title, "status": status, "detail": detail, "reason": reason}
    )


def problem(status: int, reason: str, detail: str, *, closes: bool, is_head: bool = False) -> bytes:
    """A whole answer with a problem+json body; *reason* is the counted label."""
    title = _TITLES.get(status, "Error")
    body = problem_body(status, reason, detail)
    head = (
        f"HTTP/1.1 {status} {title}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n{ALLOW if status == 405 else ''}"
        f"{'Retry-After: 1' + chr(13) + chr(10) if reason in RETRY_AFTER else ''}"
        f"{'Connection: close' + chr(13) + chr(10) if closes else ''}\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else body)
