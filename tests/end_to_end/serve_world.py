"""The world around one ``understudy serve``: origins in threads, clients under load, its processes."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from servers import AdminAnswer

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
"""What a busy machine may make of anything that happens at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as an origin saw it."""

    method: str
    path: str
    fields: Mapping[str, str]
    body: bytes
    raw_fields: bytes

    @property
    def variant(self) -> str:
        return self.fields.get("x-understudy-variant", "")

    @property
    def mark(self) -> str:
        """``1`` on a copy, ``control`` on a control copy, empty on a request."""
        return self.fields.get("x-understudy-shadow", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What an origin answers."""

    body: bytes = b'{"ok": true}'
    status: int = 200
    fields: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


def says_json(value: Any) -> Says:
    return Says(body=json.dumps(value).encode())


@dataclass(slots=True, kw_only=True)
class ThreadedOrigin:
    """A service in threads of the test's own process: keeps what it was asked."""

    answer: Callable[[Asked], Says]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    def requests(self, mark: str = "") -> list[Asked]:
        """The requests with that mark."""
        return [asked for asked in self.asked if asked.mark == mark]

    @contextmanager
    def listening(self) -> Iterator["ThreadedOrigin"]:
        """Listen on a free port of 127.0.0.1."""
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def respond(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    method=self.command,
                    path=self.path,
                    fields={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(size),
                    raw_fields=bytes(self.headers),
                )
                origin.asked.append(asked)
                said = origin.answer(asked)
                self.send_response(said.status)
                for name, value in said.fields:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = respond  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request: object, client_address: object) -> None:
                """A peer that vanishes is what these tests are about."""

        with Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


def always(said: Says | None = None) -> ThreadedOrigin:
    """An origin that answers all requests alike."""
    known = said or Says()
    return ThreadedOrigin(answer=lambda asked: known)


def config_text(primary: int, shadow: int, /, **more: Any) -> str:
    """Everything is answered by *primary*; flag ``shop`` mirrors all to *shadow* unless told otherwise.

    Copies have all the time of a busy machine: one that is late would be missing in the figures.
    """
    patient = {"timeout": f"{PATIENCE_SECONDS:g}s"}
    document = {
        "store": "sqlite:///understudy.db",
        "services": {
            "v1": {"url": f"http://127.0.0.1:{primary}"},
            "v2": {"url": f"http://127.0.0.1:{shadow}"},
        },
        "flags": {"shop": flag()},
        "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}],
        **more,
        "shadow": patient | more.get("shadow", {}),
    }
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items())


def flag(default: str = "dark", **more: Any) -> dict[str, Any]:
    """A routing flag with a stable, a canary and a dark variant."""
    return {
        "state": "ENABLED",
        "variants": {
            "stable": {"serve": "v1"},
            "canary": {"serve": "v2"},
            "dark": {"serve": "v1", "mirror": ["v2"]},
        },
        "defaultVariant": default,
        **more,
    }


def rules(default: str = "dark", **more: Any) -> dict[str, Any]:
    """A whole rules document around `flag`."""
    return {
        "flags": {"shop": flag(default)},
        "routes": [{"path": "/", "flag": "shop", "unit": "cookie:uid"}],
        "compare": [],
        "killed": [],
        **more,
    }


def wait_until(is_so: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll *is_so* within a deadline; whoever does not answer, or not in full, means "not yet"."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, KeyError, http.client.HTTPException):
            if is_so():
                return
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(POLL_SECONDS)


def followed(change: Callable[[], AdminAnswer]) -> AdminAnswer:
    """The answer to a *change* that all workers followed in time; it is made again while they did not.

    The API waits a second or two for the workers, and tells how many were in time: on a busy machine not all.
    """
    answers: list[AdminAnswer] = []

    def is_followed() -> bool:
        answers.append(change())
        assert answers[-1].status == 200, answers[-1].body
        told = answers[-1].json()
        return bool(told["applied"] == told["workers"])

    wait_until(is_followed, "a change that every worker has in time")
    return answers[-1]


# -- processes


def children_of(pid: int) -> list[int]:
    """The children of *pid*, oldest first; none when it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid: int) -> bool:
    """Whether *pid* runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_gone(pids: list[int]) -> None:
    """Wait until none of *pids* runs."""
    wait_until(lambda: not any(map(is_alive, pids)), "the end of the old processes")


def end_by_force(pid: int) -> None:
    """SIGKILL, and wait: a process that is told to die may run, listen and answer for a while yet."""
    os.kill(pid, signal.SIGKILL)
    all_gone([pid])


def listens_on(pid: int, port: int) -> bool:
    """Whether *pid* holds a socket that listens on *port* of IPv4."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    held = {f"socket:[{inode}]" for inode in inodes}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended
        for entry in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"/proc/{pid}/fd/{entry}") in held:
                    return True
    return False


def control_of(supervisor: int, admin_port: int) -> int:
    """The control process: the child that holds the admin listener, once there is one and only one."""
    found: list[int] = []

    def is_alone() -> bool:
        found[:] = [pid for pid in children_of(supervisor) if is_alive(pid) and listens_on(pid, admin_port)]
        return len(found) == 1

    wait_until(is_alone, "one control process")
    return found[0]


def workers_of(supervisor: int, admin_port: int) -> list[int]:
    """The workers, oldest first."""
    control = control_of(supervisor, admin_port)
    return [pid for pid in children_of(supervisor) if pid != control and is_alive(pid)]


# -- clients


@dataclass(slots=True)
class Tally:
    """What clients under load met."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    slowest_seconds: float = 0.0


class Load:
    """Clients on keep-alive connections, in a thread of their own; each sends one request after another.

    A connection that the proxy closed while it was idle is no failure: the client, as every client does,
    sends the request again on a new one. Everything else that is not a whole answer with status 200 is.
    """

    def __init__(
        self, port: int, *, clients: int = 4, pause_seconds: float = 0.0, keeps_alive: bool = True
    ) -> None:
        self.tally = Tally()
        self._answers = [0] * clients
        self._port = port
        self._clients = clients
        self._pause_seconds = pause_seconds
        ending = "" if keeps_alive else "Connection: close\r\n"
        self._request = f"GET /orders/1 HTTP/1.1\r\nHost: shop\r\n{ending}\r\n".encode()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Tally:
        """End all clients after their present request."""
        self._is_over.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        return self.tally

    def until_answered(self, more: int) -> None:
        """Wait for *more* answers from now on."""
        goal = self.tally.answered + more
        wait_until(lambda: self.tally.answered >= goal, f"{more} more answers; {self.tally.failed[:3]}")

    def until_each_answered(self, more: int) -> None:
        """Wait until each client has *more* answers from now on, from whichever worker serves it."""
        goals = [count + more for count in self._answers]

        def are_met() -> bool:
            return all(count >= goal for count, goal in zip(self._answers, goals, strict=True))

        wait_until(are_met, f"{more} more answers for each client; {self.tally.failed[:3]}")

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._clients)))

    async def _client(self, number: int) -> None:
        while not self._is_over.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.tally.refused += 1
                await asyncio.sleep(0.01)
                continue
            try:
                await self._talk(number, reader, writer)
            except (OSError, EOFError, ValueError) as error:
                self.tally.failed.append(repr(error))
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _talk(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_first = True
        while not self._is_over.is_set():
            started = time.monotonic()
            try:
                writer.write(self._request)
                status = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
            except OSError:
                status = b""
            if not status:
                if is_first:
                    self.tally.failed.append("closed before the first answer")
                return
            is_last = await self._rest(reader, status)
            self.tally.answered += 1
            self._answers[number] += 1
            self.tally.slowest_seconds = max(self.tally.slowest_seconds, time.monotonic() - started)
            if is_last:
                return
            is_first = False
            if self._pause_seconds:
                await asyncio.sleep(self._pause_seconds)

    async def _rest(self, reader: asyncio.StreamReader, status: bytes) -> bool:
        """Read on to the end of the answer; whether it is the connection's last."""
        head = await reader.readuntil(b"\r\n\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
        }
        body = await reader.readexactly(int(fields[b"content-length"]))
        if not status.startswith(b"HTTP/1.1 200"):
            self.tally.failed.append(f"{status!r} {body[:200]!r}")
        return fields.get(b"connection") == b"close"


def ask(port: int, path: str = "/orders/1", *fields: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """One GET on a connection of its own: (status, body)."""
    lines = "".join(f"{line}\r\n" for line in fields)
    request = f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{lines}\r\n".encode()
    with socket.create_connection((host, port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        raise ConnectionError(f"the connection ended before an answer: {answer!r}")
    return int(head.split(b" ", 2)[1]), body


def answer_on(client: socket.socket) -> tuple[int, bytes]:
    """The next answer on *client*, to its last byte: (status, body)."""
    answer = http.client.HTTPResponse(client)
    answer.begin()
    return answer.status, answer.read()
