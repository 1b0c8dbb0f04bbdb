"""A shadow that answers without end: the application keeps its event loop, and the books balance."""

import asyncio
import contextlib
import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from middleware_world import configured, rules, served

from understudy.middleware import Understudy, UnderstudyMiddleware

FLOODING = """
import socket, sys, threading

piece = eval(sys.argv[1])

def flood(client):
    try:
        client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        while True:
            client.sendall(piece)
    except OSError:
        client.close()

with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=flood, args=(server.accept()[0],), daemon=True).start()
"""

REQUESTS = 600
EACH_SECONDS = 0.005
MOST_HELD_SECONDS = 0.020
MOST_SHARE = 0.5
"""Of the loop's time, with all else that runs here; without bounds small chunks take all of it."""


@contextlib.contextmanager
def flooding(piece: str) -> Iterator[str]:
    """A process of its own that answers everything with *piece*, an expression, for ever: its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", FLOODING, piece], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


class LoopHolds:
    """The processor time between two looks of a loop that looks every millisecond: a hold takes all of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._used = 0.0
        self._next: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Count from now on."""
        self._used = time.thread_time()
        self.look()

    def look(self) -> None:
        """Look now, and again for ever."""
        used = time.thread_time()
        self.seconds.append(used - self._used)
        self._used = used
        self._next = asyncio.get_running_loop().call_later(0.001, self.look)

    def end(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()


async def ok(_scope: Any, _receive: Any, send: Any) -> None:
    """The application."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask(url: str, times: int) -> None:
    """One client's requests, 200 a second."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for _ in range(times):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(EACH_SECONDS)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "piece",
    ["b'10000\\r\\n%b\\r\\n' % bytes(65536) * 4", "b'64\\r\\n%b\\r\\n' % bytes(100) * 600"],
    ids=["large", "small"],
)
async def test_a_flood_does_not_hold_the_loop(piece: str) -> None:
    """However much the shadow sends, what is read of it at once is little; every copy is accounted for."""
    told = rules({"dark": {"mirror": ["v2"]}}, serves="dark")
    holds = LoopHolds()
    with flooding(piece) as shadow:
        understudy = Understudy(configured({"v2": shadow}, **told, shadow={"control": 0}))
        async with served(UnderstudyMiddleware(ok, understudy=understudy)) as url:
            await ask(url, 1)
            gc.collect()
            gc.disable()  # it takes its time for whatever other tests have left
            began = time.monotonic()
            try:
                holds.begin()
                await ask(url, REQUESTS)
                holds.end()
            finally:
                gc.enable()
            took = time.monotonic() - began
            stage = understudy.stage
            assert stage is not None
            target = stage.mirror.targets["mirror", "v2"]
            stage.mirror.cancel_all()

    failed = sum(n for (outcome, _), n in target.reasons.items() if outcome == "failed")
    assert target.is_settled
    assert target.eligible == REQUESTS + 1
    assert target.sent == target.answers + failed
    assert stage.mirror.held == 0
    assert sorted(holds.seconds)[-len(holds.seconds) // 100] <= MOST_HELD_SECONDS
    assert sum(holds.seconds) <= MOST_SHARE * took
