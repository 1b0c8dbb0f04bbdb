"""A Flask application with the middleware under gunicorn: processes, threads, forks, faults, exits."""

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from serve_world import PATIENCE_SECONDS
from servers import Server
from store_servers import free_port

from understudy.middleware import Understudy

HERE = Path(__file__).parent

CONFIG = """
store: sqlite:///{folder}/understudy.db
services:
  v2: {{url: 'http://127.0.0.1:{v2}'}}
flags:
  shop:
    state: ENABLED
    variants: {{stable: {{}}, canary: {{serve: v2}}, dark: {{mirror: [v2]}}}}
    defaultVariant: {variant}
routes: [{{path: /, flag: shop, mirror_methods: [GET, POST]}}]
shadow: {{control: 0, confirm: false, timeout: {timeout}}}
limits: {{drain_timeout: 30s}}
"""


SERVICES = {"v2": {"url": "http://127.0.0.1:9"}}


@contextmanager
def shop(
    folder: Path,
    v2: int,
    *,
    variant: str = "dark",
    timeout: str = "60s",
    options: tuple[str, ...] = (),
    **environ: str,
) -> Iterator[Server]:
    """The shop under gunicorn."""
    config = folder / f"{variant}.yaml"
    config.write_text(CONFIG.format(folder=folder, v2=v2, variant=variant, timeout=timeout))
    port = free_port()
    server = Server.start(
        [
            *(sys.executable, "-m", "gunicorn", "--pythonpath", str(HERE), "--no-control-socket"),
            *("-b", f"127.0.0.1:{port}", "--graceful-timeout", "40", *options, "wsgi_shop:application"),
        ],
        port=port,
        folder=folder,
        environ={
            "UNDERSTUDY_CONFIG": str(config),
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]),
            **environ,
        },
    )
    try:
        yield server
    finally:
        server.stop()


class Other(WSGIRequestHandler):
    """Answers as the shop does, at another price."""

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512


@contextmanager
def other_shop() -> Iterator[int]:
    """Another version of the shop, in this process: its port."""

    def priced(environ: dict[str, Any], start: Any) -> Any:
        number = environ["PATH_INFO"].rpartition("/")[2]
        read = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"order": number, "read": read, "price": "2"}).encode()]

    with make_server("127.0.0.1", 0, priced, server_class=Threaded, handler_class=Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST" if body else "GET", path, body=body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def report(folder: Path) -> dict[str, Any]:
    """What stands in the store, read as any process would."""

    async def read() -> dict[str, Any]:
        understudy = Understudy({"store": f"sqlite:///{folder}/understudy.db", "services": SERVICES})
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (found := await understudy.report())["mirror"]["eligible"]:
                    await asyncio.sleep(0.02)  # the evidence is read after the rules
            return found
        finally:
            await understudy.stop()

    return asyncio.run(read())


def until(told: Callable[[], bool], what: str) -> None:
    """Wait for *told*. Fails with *what* after `PATIENCE_SECONDS`."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not told():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


WORKERS = [
    pytest.param(("-w", "2"), id="processes"),
    pytest.param(("-w", "1", "--threads", "4"), id="threads"),
    pytest.param(("-w", "2", "--preload"), id="preloaded"),
    pytest.param(("-w", "1", "-k", "gevent"), id="greenlets"),
    # One: to a second one, which has answered nothing, SIGTERM may come before gunicorn listens for it.
    pytest.param(("-w", "1", "-k", "gevent", "--preload"), id="preloaded-greenlets"),
]
MANY = [
    pytest.param(("-w", "2", "--threads", "4"), id="threads"),
    pytest.param(("-w", "1", "-k", "gevent"), id="greenlets"),
]
"""Workers that answer several requests at once."""


@pytest.mark.parametrize("options", WORKERS)
def test_all_that_was_answered_is_in_the_store_after_an_exit(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Every worker begins its own loop, one forked from a process with one too; all is told in the end."""
    before_fork = {"ASK_BEFORE_FORK": "1"} if "--preload" in options else {}
    with other_shop() as v2:
        with shop(tmp_path, v2, options=options, **before_fork) as server:
            with ThreadPoolExecutor(4) as users:
                answers = list(users.map(lambda n: ask(server.port, f"/orders/{n}", b"x" * n), range(40)))
            assert server.stop() == 0
        found = report(tmp_path)

    assert [status for status, _ in answers] == [200] * 40
    assert all(f'"read":{n}' in body.decode() for n, (_, body) in enumerate(answers))
    expected = 41 if before_fork else 40
    mirror = found["mirror"]
    assert mirror["eligible"] == mirror["sent"] == mirror["answered"] == expected, mirror
    paths = {f["path"] for endpoint in found["endpoints"] for f in endpoint["findings"]}
    assert paths == {"/body/price", "/headers/x-variant"}


def workers_of(server: Server) -> list[int]:
    """The processes that gunicorn has forked."""
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_workers_that_are_forked_later_store_what_they_count(tmp_path: Path) -> None:
    """By a process that mirrors itself and has its SQLite file open; none loses anything or is locked out."""
    with other_shop() as v2:
        with shop(tmp_path, v2, options=("-w", "1", "--preload"), ASK_BEFORE_FORK="1") as server:
            for turn in range(4):
                assert {ask(server.port, f"/orders/{turn}{n}")[0] for n in range(5)} == {200}
                before = workers_of(server)
                os.kill(before[0], signal.SIGTERM)
                until(lambda: len(now := workers_of(server)) == 1 and now != before, "another one")  # noqa: B023
            assert ask(server.port, "/orders/1")[0] == 200
            assert server.stop() == 0
        assert report(tmp_path)["mirror"]["answered"] == 1 + 4 * 5 + 1


class Listener:
    """A shadow that takes connections and does with each what *does* says."""

    def __init__(self, does: Callable[[socket.socket], None]) -> None:
        self._does = does
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.ends = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._does(connection)
        except OSError:
            pass  # it was left

    def close(self) -> None:
        self.ends.set()
        self.socket.close()


def hang(connection: socket.socket) -> None:
    """Take what comes and say nothing."""
    while connection.recv(65536):
        pass


def flood(connection: socket.socket) -> None:
    """Answer without an end."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def die(connection: socket.socket) -> None:
    """Leave at once."""


def is_booked(mirror: dict[str, Any]) -> bool:
    """Whether 101 requests were eligible, and it is known what became of every one."""
    books: dict[str, int] = {key: n if isinstance(n, int) else sum(n.values()) for key, n in mirror.items()}
    is_sent = books["eligible"] == books["sent"] + books["skipped"] + books["dropped"] == 101
    return is_sent and books["sent"] == books["answered"] + books["failed"]


@pytest.mark.parametrize("options", MANY)
@pytest.mark.parametrize("does", [hang, flood, die])
def test_a_bad_shadow_is_never_felt(
    tmp_path: Path, does: Callable[[socket.socket], None], options: tuple[str, ...]
) -> None:
    """Hung, flooding or dead: answers stay whole and quick, the exit is in time, every copy is booked."""
    shadow = Listener(does)
    try:
        with shop(tmp_path, shadow.port, timeout="2s", options=options) as server:
            ask(server.port, "/orders/0")
            took = []
            for number in range(100):
                begun = time.perf_counter()
                assert ask(server.port, f"/orders/{number}")[0] == 200
                took.append(time.perf_counter() - begun)
            # An exit waits two seconds for what is to be told yet; a busy machine may take longer.
            until(lambda: is_booked(report(tmp_path)["mirror"]), "every copy is booked")
            begun = time.monotonic()
            assert server.stop() == 0
            stopped_seconds = time.monotonic() - begun
        assert is_booked(report(tmp_path)["mirror"])
    finally:
        shadow.close()

    assert sorted(took)[50] < 1.0, "half of a copy's life"
    assert stopped_seconds < 35, "before gunicorn loses patience, on any machine"


@pytest.mark.parametrize("options", MANY)
def test_a_client_that_leaves_in_the_middle_is_counted(tmp_path: Path, options: tuple[str, ...]) -> None:
    """A streamed answer that nobody waits for any more ends, and says so: no comparison comes of it."""
    with other_shop() as v2:
        with shop(tmp_path, v2, options=options) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET /stream HTTP/1.1\r\nHost: shop\r\n\r\n")
                assert client.recv(10)
            assert ask(server.port, "/orders/1")[0] == 200
            until(lambda: report(tmp_path)["exchanges"] == 1, "the other request is compared")
            assert server.stop() == 0
        found = report(tmp_path)

    assert found["mirror"]["eligible"] == 2
    assert found["exchanges"] == 1


def break_off(connection: socket.socket) -> None:
    """Begin an answer, and leave, with nothing unread: that would be a reset, which overtakes the answer."""
    read = b""
    while b"\r\n\r\n" not in read and (piece := connection.recv(65536)):
        read += piece
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")


@pytest.mark.parametrize("options", WORKERS)
def test_a_canary_that_dies_in_the_middle_cuts_the_client(tmp_path: Path, options: tuple[str, ...]) -> None:
    """The client sees its connection end, and no end of the answer; nobody takes it for whole."""
    service = Listener(break_off)
    with (
        shop(tmp_path, service.port, variant="canary", options=options) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as client,
    ):
        client.sendall(b"GET /orders/1 HTTP/1.1\r\nHost: shop\r\n\r\n")
        got = b""
        while data := client.recv(65536):
            got += data
    service.close()

    assert got.startswith(b"HTTP/1.1 200 OK")
    assert b"hello" in got
    assert not got.endswith(b"0\r\n\r\n")
