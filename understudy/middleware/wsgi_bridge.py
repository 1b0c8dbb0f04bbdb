"""A request between the thread that has its connection and the loop that carries it to a service.

The thread reads when the loop asks for more, and writes what the loop sends; so both bodies stream, and each
side waits for the other. While the thread reads it writes nothing, which is WSGI's way.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import Any, Final

from understudy.middleware.environ import Environ, has_body, length_of
from understudy.middleware.mailbox import mailbox
from understudy.middleware.native import new_lock
from understudy.middleware.request import Message

READ_BYTES: Final = 16 * 1024
"""Some servers return nothing until so many have come."""

HELD_BYTES: Final = 64 * 1024
"""Of an answer that the thread has not written yet; then the service is not read."""

Told = tuple[str, Any]


class Bridge:
    """Both ends. *loop* is the carrying one; `receive` and `send` are for it, the rest for the thread."""

    def __init__(self, environ: Environ, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._input = environ.get("wsgi.input")
        length = length_of(environ)
        self._left = -1 if length is None else length
        self._is_read = not has_body(environ)
        self._mail = mailbox()
        self._lock = new_lock()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._room = asyncio.Event()
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
        if message["type"] != "http.response.body":
            self._mail.put((message["type"], message))
            return
        is_full = self._hold(message.get("body", b""))
        if not message.get("more_body", False):
            self._mail.put(("end", None))
        elif is_full and not self._gone.is_set():  # nobody makes room once it is
            self._room.clear()
            await self._room.wait()
        if self._gone.is_set():
            raise OSError("the client is gone")

    def _hold(self, data: bytes) -> bool:
        """Keep *data* for the thread, in one piece with what it has not taken yet; whether that is enough."""
        with self._lock:
            is_first = not self._held_bytes
            if data:
                self._held.append(data)
                self._held_bytes += len(data)
            is_full = self._held_bytes > HELD_BYTES
        if is_first and data:
            self._mail.put(("body", None))
        return is_full

    def over(self, carried: "concurrent.futures.Future[Any]") -> None:
        """The loop is done with the request. May be called in any thread."""
        self._mail.put(("over", carried))

    # -- in the request's thread -------------------------------------------------------------------------

    def next(self) -> Told:
        """What there is to write, after what there was to read."""
        while True:
            kind, value = self._mail.get()
            if kind == "body":
                return kind, self._take()
            if kind != "read":
                return kind, value
            self._read(value)

    def _take(self) -> bytes:
        """What is held, and room for more."""
        with self._lock:
            held, self._held = self._held, []
            size, self._held_bytes = self._held_bytes, 0
        if size > HELD_BYTES:
            self._tell(self._room.set)
        return b"".join(held)

    def leave(self) -> None:
        """The client is gone, or has everything."""
        self._tell(self._leave)

    def _leave(self) -> None:
        self._gone.set()
        self._room.set()

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
