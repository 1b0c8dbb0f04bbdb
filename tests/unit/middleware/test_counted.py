"""When a request that the application answers is counted, at the ASGI interface."""

from typing import Any

import pytest
from middleware_world import configured, rules

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.middleware.request import Message

START: Message = {"type": "http.response.start", "status": 206, "headers": []}
PIECE: Message = {"type": "http.response.body", "body": b"a", "more_body": True}
BODY: Message = {"type": "http.response.body", "body": b"b"}
SENT_FILE: Message = {"type": "http.response.pathsend", "path": "/nowhere"}
PART: Message = {"type": "http.response.zerocopysend", "file": 0, "more_body": True}
REST: Message = {"type": "http.response.zerocopysend", "file": 0}
TRAILERS: Message = {"type": "http.response.trailers", "headers": []}


@pytest.mark.parametrize("variant", [{}, {"mirror": ["v2"]}], ids=["decided", "dark"])
@pytest.mark.parametrize(
    ("before", "last", "after"),
    [
        ([START, PIECE], BODY, []),
        ([START], SENT_FILE, []),
        ([START, PART], REST, []),
        ([{**START, "trailers": True}, PIECE], BODY, [TRAILERS]),
    ],
    ids=["body", "pathsend", "zerocopysend", "trailers"],
)
async def test_a_request_counts_when_its_answer_is_whole(
    variant: dict[str, Any], before: list[Message], last: Message, after: list[Message]
) -> None:
    """Once, however its body is sent; what the application does after that is no part of it."""
    counts: list[int] = []
    understudy = Understudy(configured({"v2": "http://127.0.0.1:9"}, **rules({"on": variant}, serves="on")))

    def counted() -> int:
        assert understudy.stage is not None
        return sum(sum(row.codes) for row in understudy.stage.metrics.requests.values())

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        for messages in (before, [last], after):
            for message in messages:
                await send(message)
            counts.append(counted())

    async def send(message: Message) -> None:
        """A server that takes all."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a")]}
    await UnderstudyMiddleware(application, understudy=understudy)(scope, receive, send)
    counts.append(counted())
    await understudy.stop()

    assert counts == [0, 1, 1, 1]
