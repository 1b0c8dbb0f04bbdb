"""A request between the thread that has its connection and the loop that carries it to a service.

The thread reads when the loop asks for more, and writes what the loop sends; so both bodies stream, and each
side waits for the other. While the thread reads it writes nothing, which is WSGI's way.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any, Final

from understudy.middleware.environ import Environ, has_body
from understudy.middleware.mailbox import mailbox
from understudy.middleware.request import Message

READ_BYTES: Final = 16 * 1024
"""Some servers return nothing until so many have come."""

AHEAD: Final = 4
"""Messages that may wait for the thread, of up to 64 KiB each: as many as wait for a client in the proxy."""

Told = tuple[str, Any]


class Bridge:
    """Both ends. *loop* is the carrying one; `receive` and `send` are for it, the rest for the thread."""

    def __init__(self, environ: Environ, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._input = environ.get("wsgi.input")
        length = environ.get("CONTENT_LENGTH") or ""
        self._left = int(length) if length.isdecimal() else -1
        self._is_read = not has_body(environ)
        self._mail = mailbox()
        self._room = asyncio.Semaphore(AHEAD)
        self._gone = asyncio.Event()

    # -- in the loop -------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next piece of the request's body; once it is whole, that the client is gone."""
        if not self._is_read and not self._gone.is_set():
            wanted: asyncio.Future[Message] = self._loop.create_future()
            self._mail.put(("read", wanted))
            return await wanted
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Let the thread write *message*. Raises OSError when the client is gone."""
        await self._room.acquire()
        if self._gone.is_set():
            raise OSError("the client is gone")
        self._mail.put((message["type"], message))

    def over(self, carried: "concurrent.futures.Future[Any]") -> None:
        """The loop is done with the request. May be called in any thread."""
        self._mail.put(("over", carried))

    # -- in the request's thread -------------------------------------------------------------------------

    def next(self) -> Told:
        """What there is to write, after what there was to read."""
        while True:
            kind, value = self._mail.get()
            if kind != "read":
                return kind, value
            self._read(value)

    def written(self) -> None:
        """There is room for one more message."""
        self._tell(self._room.release)

    def leave(self) -> None:
        """The client is gone, or has everything."""
        self._tell(self._leave)

    def _leave(self) -> None:
        self._gone.set()
        for _ in range(AHEAD):
            self._room.release()

    def _read(self, wanted: "asyncio.Future[Message]") -> None:
        """Read a piece, for as long as that takes."""
        try:
            size = READ_BYTES if self._left < 0 else min(READ_BYTES, self._left)
            data = self._input.read(size) if size and self._input is not None else b""
        except Exception:  # noqa: BLE001  whatever a server raises there, the rest of the body does not come
            self._is_read = True
            self._tell(lambda: deliver(wanted, {"type": "http.disconnect"}))
            return
        if self._left > 0:
            self._left -= len(data)
            is_short = not data
            self._is_read = self._left == 0 or is_short
            if is_short:
                self._tell(lambda: deliver(wanted, {"type": "http.disconnect"}))
                return
        else:
            self._is_read = not data
        message = {"type": "http.request", "body": data, "more_body": not self._is_read}
        self._tell(lambda: deliver(wanted, message))

    def _tell(self, work: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            pass  # the loop has ended, and so has whoever waited in it


def deliver(wanted: "asyncio.Future[Message]", message: Message) -> None:
    """Answer who waits, if anybody still does."""
    if not wanted.done():
        wanted.set_result(message)
