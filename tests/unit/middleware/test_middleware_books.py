"""Whatever an application, its client and a shadow do: its answer passes, and the books balance."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from middleware_world import configured, rules

from understudy.middleware import Understudy, UnderstudyMiddleware
from understudy.testing import End, Receive, Script, ScriptedServer, answer

OK: Script = [Receive(), answer(200, b"ok", [("Content-Type", "text/plain")])]
SHADOWS: list[Script] = [
    OK,
    [Receive(), End.HANG],
    [Receive(), answer(500, b"x" * 100_000, [])],
    [Receive(), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal"],
    [End.RESET],
]

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
DOES = st.lists(
    st.sampled_from(["read", "read", "head", "more", "large", "last", "wait", "file", "hint", "trailers"]),
    max_size=8,
)
ENDS = st.sampled_from(["return", "raise", "cancel"])
SENDS = st.lists(st.sampled_from([b"", b"a", b"b" * 40_000]), max_size=4)
FIELDS = st.sampled_from([[], [(b"content-length", b"7")], [(b"transfer-encoding", b"chunked")]])
MESSAGES: dict[str, dict[str, Any]] = {
    "head": HEAD,
    "more": {"type": "http.response.body", "body": b"o", "more_body": True},
    "large": {"type": "http.response.body", "body": b"o" * 60_000, "more_body": True},
    "last": {"type": "http.response.body", "body": b"k"},
    "file": {"type": "http.response.pathsend", "path": "/nowhere"},
    "hint": {"type": "http.response.early_hint", "links": [b"</a.css>"]},
    "trailers": {"type": "http.response.trailers", "headers": []},
}


class Mine(Exception):
    """The application's own."""


class Scripted:
    """An application that *does* one thing after another, and *ends*."""

    def __init__(self, does: list[str], ends: str) -> None:
        self._does = does
        self._ends = ends
        self.raised: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (b"x-understudy-shadow", b"control") in scope["headers"]:
            await send(HEAD)
            raise Mine("the control")
        for what in self._does:
            if what == "read":
                await receive()
            elif what == "wait":
                await asyncio.sleep(0)
            else:
                await send(dict(MESSAGES[what]))
        if self._ends != "return":
            self.raised = Mine() if self._ends == "raise" else asyncio.CancelledError()
            raise self.raised


@settings(max_examples=50, deadline=None)
@given(
    does=DOES,
    ends=ENDS,
    sends=SENDS,
    leaves=st.booleans(),
    fields=FIELDS,
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    shadow=st.sampled_from(SHADOWS),
    budget=st.sampled_from(["64MiB", "70KiB"]),
)
def test_the_books_balance(
    does: list[str],
    ends: str,
    sends: list[bytes],
    leaves: bool,
    fields: list[tuple[bytes, bytes]],
    method: str,
    shadow: Script,
    budget: str,
) -> None:
    """Every message and exception passes as it is; each copy is counted once; nothing is held in the end."""

    async def run() -> None:
        told = rules({"dark": {"mirror": ["v2"]}}, serves="dark", mirror_methods=["GET", "HEAD", "POST"])
        limits = {"control": 1, "timeout": "0.2s", "budget": budget, "body_cap": "64KiB"}
        async with ScriptedServer(shadow) as service:
            understudy = Understudy(configured({"v2": service.url}, **told, shadow=limits))
            app = Scripted(does, ends)
            middleware = UnderstudyMiddleware(app, understudy=understudy)
            waiting: list[dict[str, Any]] = [
                {"type": "http.request", "body": piece, "more_body": leaves or at + 1 < len(sends)}
                for at, piece in enumerate(sends)
            ]
            sent: list[dict[str, Any]] = []

            async def receive() -> Any:
                return waiting.pop(0) if waiting else {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http",
                "http_version": "1.1",
                "method": method,
                "path": "/",
                "raw_path": b"/",
                "query_string": b"",
                "headers": [(b"host", b"a"), *fields],
            }
            raised: BaseException | None = None
            try:
                await middleware(scope, receive, send)
            except (Mine, asyncio.CancelledError) as error:
                raised = error
            stage = understudy.stage
            assert stage is not None
            async with asyncio.timeout(60):
                while stage.mirror.running:  # it is told by nobody
                    await asyncio.sleep(0.01)
            await understudy.stop()

        assert raised is app.raised
        assert sent == [MESSAGES[what] for what in does if what in MESSAGES]
        assert stage.mirror.held == 0
        assert stage.metrics.mirror_errors == 0
        assert all(target.is_settled for target in stage.mirror.targets.values())
        assert stage.mirror.targets["mirror", "v2"].eligible == 1

    asyncio.run(run())
