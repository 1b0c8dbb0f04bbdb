"""A WSGI application asked once more in this process: the control of what it answers clients."""

import io
from collections.abc import Callable
from typing import Any, Final

from understudy.middleware.environ import GIVEN, KEY, Environ
from understudy.middleware.native import Hands
from understudy.middleware.request import Message, Receive, Scope, Send
from understudy.middleware.work import in_thread
from understudy.middleware.wsgi_tee import App, Pieces, status_of

MOST_AT_ONCE: Final = 4
"""Threads for controls. An application that hangs costs so many, then their calls time out in the queue."""


class Again:
    """*app* as an ASGI application that reads a whole body and answers in one piece, at most *cap* bytes.

    It answers where *start* lets it.
    """

    def __init__(self, app: App, cap: int, start: Callable[[Callable[[], None]], None]) -> None:
        self._app = app
        self._cap = cap
        self._hands = Hands(MOST_AT_ONCE, start)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        environ = again(scope, (await receive())["body"])
        start, body = await in_thread(self._hands, lambda: self._ask(environ))
        await send(start)
        await send({"type": "http.response.body", "body": body})

    def _ask(self, environ: Environ) -> tuple[Message, bytes]:
        """The whole answer."""
        pieces = Pieces(self._cap)
        start: Message = {"type": "http.response.start", "status": 0, "headers": []}

        def start_response(line: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            del exc_info  # nothing was sent yet, so an answer may always be replaced
            start["status"] = status_of(line)
            start["headers"] = [
                (name.lower().encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
                for name, value in headers
            ]
            return pieces.add

        answer = self._app(environ, start_response)
        try:
            for piece in answer:
                pieces.add(piece)
                if pieces.length > self._cap:
                    break
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return start, b"".join(pieces.kept)


def again(scope: Scope, body: bytes) -> Environ:
    """What the application is given the second time: marked, with a body of its own."""
    given = {key: value for key, value in scope[GIVEN].items() if key != "HTTP_TRANSFER_ENCODING"}
    return {
        **given,
        KEY: scope[KEY],
        "HTTP_X_UNDERSTUDY_SHADOW": "control",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "wsgi.input": io.BytesIO(body),
    }
