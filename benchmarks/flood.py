"""A service that answers every request with a body that never ends, as fast as it is read.

Arguments: its port on 127.0.0.1, the size of the chunks in bytes.
"""

import asyncio
import os
import sys
from functools import partial
from typing import cast

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
WRITE_BYTES = 64 * 1024
"""Given to the socket at once."""


class Flood(asyncio.Protocol):
    """Writes whenever there is room, and leaves when the peer does."""

    def __init__(self, chunks: bytes) -> None:
        self._chunks = chunks
        self._transport: asyncio.Transport | None = None
        self._is_asked = self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _data: bytes) -> None:
        if not self._is_asked and self._transport is not None:
            self._is_asked = True
            self._transport.write(HEAD)
            self._pour()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._pour()

    def _pour(self) -> None:
        # One that is closing takes whatever is written, and is never full.
        while self._transport is not None and not (self._is_full or self._transport.is_closing()):
            self._transport.write(self._chunks)


def chunked(size: int) -> bytes:
    """About `WRITE_BYTES` of chunks of *size* bytes."""
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * max(1, WRITE_BYTES // size)


async def main() -> None:
    """Listen until the process is ended."""
    # The client of the application, on the same core, is measured: it must never wait for this.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    loop = asyncio.get_running_loop()
    chunks = chunked(int(sys.argv[2]))
    server = await loop.create_server(partial(Flood, chunks), "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
