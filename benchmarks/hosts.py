"""Several ``understudy serve`` with one store, the services behind them and the visitors before them.

Services and visitors live on one event loop in a thread of its own, so that one clock has seen both ends.
Redis and PostgreSQL are real servers from wheels (tests/conformance/store_servers.py).
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from processes import free_ports

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE_SECONDS: Final = 60.0
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as a service saw it: when (monotonic), through which host, for which unit."""

    at: float
    host: str
    path: str
    variant: str
    unit: str


class World:
    """The loop's thread: what services saw in ``arrivals``, and what visitors met in ``failed``."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.failed: Counter[str] = Counter()
        self.answered = 0
        self.slowest_seconds = 0.0
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> "World":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def service(self) -> int:
        """Begin to answer everything; the port."""
        server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        return int(server.sockets[0].getsockname()[1])

    async def _listen(self) -> asyncio.Server:
        return await self.loop.create_server(lambda: _Service(self), "127.0.0.1", 0, backlog=1024)

    @contextmanager
    def visitors(
        self, host: str, port: int, *, connections: int, rate: float, paths: Sequence[str], units: int
    ) -> Iterator[None]:
        """*rate* requests a second in all on so many connections; *units* take turns, and so do *paths*."""
        ended = threading.Event()

        async def visit() -> None:
            pause = connections / rate
            turns = [_Turns(paths, units, first, connections) for first in range(connections)]
            every = (
                self._visit(host, port, turn, pause, pause * place / connections, ended)
                for place, turn in enumerate(turns)
            )
            await asyncio.gather(*every)

        visiting = asyncio.run_coroutine_threadsafe(visit(), self.loop)
        try:
            yield
        finally:
            ended.set()
            visiting.result(PATIENCE_SECONDS)

    async def _visit(
        self, host: str, port: int, turn: "_Turns", pause: float, late: float, ended: threading.Event
    ) -> None:
        """Ask on one connection, a request each *pause*; a connection closed while idle is opened again."""
        await asyncio.sleep(late)
        due = time.monotonic()
        writer: asyncio.StreamWriter | None = None
        while not ended.is_set():
            path, unit = turn.next()
            asked = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                fields = f"Host: shop\r\nX-Host: {host}\r\nCookie: uid={unit}\r\n"
                writer.write(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
                await reader.readexactly(_length(head))
                self._met(head, time.monotonic() - asked)
                if b"\r\nconnection: close\r\n" in head.lower():
                    writer.close()
                    writer = None
            except (OSError, EOFError, TimeoutError) as error:
                self.failed[type(error).__name__] += 1
                writer = None
            due = max(due + pause, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if writer is not None:
            writer.close()

    def _met(self, head: bytes, seconds: float) -> None:
        status = head.split(b" ", 2)[1].decode()
        self.answered += 1
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if status != "200":
            self.failed[status] += 1

    def last(self, since: float, host: str, path: str, variant: str) -> float:
        """When the last request for *path* reached *variant* through *host* (empty: any) after *since*; at
        the least *since*."""
        for arrival in reversed(self.arrivals):
            if arrival.at <= since:
                break
            if arrival.path == path and arrival.variant == variant and host in ("", arrival.host):
                return arrival.at
        return since


class _Turns:
    """Whose turn it is on one connection, of so many that share paths and units."""

    def __init__(self, paths: Sequence[str], units: int, first: int, step: int) -> None:
        self._paths, self._units = paths, units
        self._at, self._step, self._count = first, step, first

    def next(self) -> tuple[str, str]:
        self._count += 1
        self._at = (self._at + self._step) % self._units
        return self._paths[self._count % len(self._paths)], f"unit-{self._at}"


class _Service(asyncio.Protocol):
    """Notes each request head, and answers 200."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *whole, self._read = (self._read + data).split(b"\r\n\r\n")
        for head in whole:
            line, *fields = head.decode("latin-1").split("\r\n")
            named = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in fields)}
            self._world.arrivals.append(
                Arrival(
                    time.monotonic(),
                    named.get("x-host", ""),
                    line.split(" ")[1],
                    named.get("x-understudy-variant", ""),
                    named.get("cookie", "").removeprefix("uid="),
                )
            )
            self._transport.write(ANSWER)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


@dataclass(slots=True, kw_only=True)
class Host:
    """One ``understudy serve`` in a folder of its own."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    port: int = field(default_factory=lambda: free_ports(1)[0])
    admin: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = None

    @property
    def kill_file(self) -> Path:
        return self.folder / "understudy.kill"

    @property
    def log(self) -> Path:
        return self.folder / "understudy.log"

    def start(self) -> None:
        """Begin; not waited for."""
        addresses = {"listen": f"127.0.0.1:{self.port}", "admin": {"listen": f"127.0.0.1:{self.admin}"}}
        config = self.folder / "understudy.yaml"
        config.write_text(json.dumps({**addresses, **self.settings}))
        command = [sys.executable, "-m", "understudy", "serve", "-c", str(config)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environ, start_new_session=True
            )

    def stop(self) -> None:
        """SIGTERM, and what is left after a while goes by SIGKILL."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def ask(
        self, method: str, path: str, body: Any = None, **fields: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The admin API's answer: status, fields (lower case), body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=PATIENCE_SECONDS)
        try:
            content = None if body is None else json.dumps(body)
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, content, {**kind, **fields})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def must(self, method: str, path: str, body: Any = None, **fields: str) -> Any:
        """The body of an answer that has to be a success."""
        status, _, content = self.ask(method, path, body, **fields)
        if status >= 300:
            raise SystemExit(f"host {self.name}: {method} {path}: {status} {content!r}")
        return json.loads(content) if content else None

    def is_ready(self) -> bool:
        return self.ask("GET", "/readyz")[0] == 200

    def version(self) -> int:
        """The rules that are in force there."""
        return int(self.ask("GET", "/api/v1/rules")[1]["etag"].strip('"'))

    def alarms(self) -> list[str]:
        """The parts of the store that are away or wrong."""
        lines = self.ask("GET", "/metrics")[2].decode().splitlines()
        return [
            line.split('"')[1]
            for line in lines
            if line.startswith("understudy_store_alarm{") and line.endswith(" 1.0")
        ]


def wait_until(is_so: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> float:
    """Poll *is_so*; how long it took. Ends the program when it never comes."""
    started = time.monotonic()
    while True:
        with contextlib.suppress(OSError, KeyError, http.client.HTTPException):
            if is_so():
                return time.monotonic() - started
        if time.monotonic() - started > seconds:
            raise SystemExit(f"never came, in {seconds:g} s: {what}")
        time.sleep(0.01)


@contextmanager
def hosts(settings: Mapping[str, Any], *, folder: Path, count: int) -> Iterator[list[Host]]:
    """So many hosts with the same *settings*, ready; ended with the block."""
    made = [
        Host(name=f"{number}", folder=folder / f"host-{number}", settings=settings) for number in range(count)
    ]
    try:
        for host in made:
            host.folder.mkdir()
            host.start()
        for host in made:
            wait_until(host.is_ready, f"host {host.name}, ready: {host.log.read_text()[-2000:]}")
        yield made
    finally:
        for host in made:
            host.stop()
