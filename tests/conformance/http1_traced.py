"""What the suites of tracing and of the access log share: numbered request ids, one mirrored request."""

from typing import Any

from http1_harness import Peer, Stage, ok

from understudy.tracing import RequestIds


def numbered() -> dict[str, Any]:
    """Ids 1, 2, 3, … in X-Request-Id."""
    made = iter(range(1, 1000))
    return {"request_ids": RequestIds(b"x-request-id", lambda bits: next(made))}


def request_id(number: int) -> bytes:
    return b"%032x" % number


async def mirrored(s: Stage, request: bytes) -> tuple[Peer, Any, Any]:
    """The client, what the primary and what the shadow got, both answered."""
    client, upstream, primary = await s.asked(request)
    shadow = await s.shadow.accepted()
    copy = await shadow.message()
    upstream.send(ok())
    shadow.send(ok())
    await client.message()
    await s.turn()
    return client, primary, copy
