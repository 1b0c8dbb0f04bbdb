"""The request, the client that sends it, and the upstreams that answer it."""

import http.client
import json
import secrets
import socket
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from processes import BenchError, Processes, free_ports, listens

CLIENT = Path(__file__).with_name("client.lua")
HEADERS = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0 Safari/537.36",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-US,en;q=0.9",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://shop.example.com/products/123",
    "Cookie": "session=abcdef0123456789abcdef; uid=user-123456; theme=dark",
    "X-Request-Id": "8f14e45f-ceea-467f-a0e6-1c1d1f1e1a1b",
    "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "Cache-Control": "no-cache",
}
BODY = json.dumps(
    {
        "id": 123,
        "user": {"name": "alice", "tags": ["a", "b", "c"]},
        "items": [{"sku": f"sku-{i}", "qty": i, "price": 9.99} for i in range(18)],
    }
).encode()
MARK = "X-Bench-Check"
HEADS_KEPT = 100
GRACE_SECONDS = 15.0
"""What the client gets beyond the time it was told to run for."""


class Headers(StrEnum):
    """What the client varies from request to request."""

    CONSTANT = "constant"
    CHANGING = "changing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one run of the client got back. Latencies in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    timeouts: int


def send(
    processes: Processes, port: int, headers: Headers, *, seconds: int, connections: int, core: int
) -> Answers:
    """Send as many requests as are answered, over *connections* keep-alive connections.

    Raises:
        BenchError: the client failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(CLIENT)]
    for name, value in HEADERS.items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{port}/", "--", headers.value, secrets.token_hex(8)]
    output = processes.finish(processes.start("wrk", command, core=core), seconds=seconds + GRACE_SECONDS)
    for line in output.splitlines():
        if line.startswith("RESULT "):
            n = [int(word) for word in line.split()[1:]]
            return Answers(
                requests=n[0],
                seconds=n[1] / 1e6,
                p50_ms=n[2] / 1e3,
                p99_ms=n[3] / 1e3,
                errors=sum(n[4:8]),
                timeouts=n[8],
            )
    raise BenchError(f"wrk printed no result:\n{output}")


def ask(port: int, path: str = "/", *, times: int = 1, is_marked: bool = False) -> list[tuple[int, bytes]]:
    """Status and body of *times* requests with the client's header fields, over one connection.

    With *is_marked* they also carry `MARK`, by which the shadow counts them.

    Raises:
        BenchError: an answer did not come.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    got: list[tuple[int, bytes]] = []
    fields = HEADERS | ({MARK: "1"} if is_marked else {})
    try:
        for _ in range(times):
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            got.append((answer.status, answer.read()))
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"GET http://127.0.0.1:{port}{path}: {error!r}") from None
    finally:
        connection.close()
    return got


def check_client(processes: Processes, *, core: int) -> None:
    """Let the client talk to a script and look at what it sends.

    Raises:
        BenchError: the header fields are not the intended ones, or change when they should not.
    """
    for headers in Headers:
        seen = _listen_to_client(processes, headers, core)
        wanted = {name.lower() for name in HEADERS} | {"host"}
        if any({line.partition(":")[0].lower() for line in head[1:]} != wanted for head in seen):
            raise BenchError(f"wrk sent other header fields than intended: {seen[0]}")
        if len({sum(map(len, head)) for head in seen}) != 1:
            raise BenchError(f"the requests with {headers} headers differ in length")
        different = len({tuple(sorted(head)) for head in seen})
        if different != (1 if headers is Headers.CONSTANT else len(seen)):
            raise BenchError(f"{different} of {len(seen)} requests with {headers} headers were different")


def _listen_to_client(processes: Processes, headers: Headers, core: int) -> list[list[str]]:
    heads: list[list[str]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(GRACE_SECONDS)
        listener = threading.Thread(target=_answer, args=(server, heads), daemon=True)
        listener.start()
        send(processes, server.getsockname()[1], headers, seconds=1, connections=1, core=core)
        listener.join(GRACE_SECONDS)
    if len(heads) < 2:
        raise BenchError("wrk sent fewer than two requests to the script that listens to it")
    return heads


def _answer(server: socket.socket, heads: list[list[str]]) -> None:
    """Answer until a connection that asked something closes; keep its first heads in *heads*."""
    try:
        # wrk first opens a connection only to see whether anybody is there.
        while not heads:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                _converse(connection, lines, heads)
    except OSError:
        pass


def _converse(connection: socket.socket, lines: BinaryIO, heads: list[list[str]]) -> None:
    head: list[str] = []
    for line in lines:
        if line != b"\r\n":
            head.append(line.decode("latin-1").strip())
            continue
        if len(heads) < HEADS_KEPT:
            heads.append(head)
        head = []
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@dataclass(slots=True, kw_only=True)
class Upstreams:
    """One NGINX on two ports that answers every request with `BODY` from memory, and counts."""

    primary: int
    shadow: int
    copies_log: Path
    _questions: int = 0

    @classmethod
    def start(cls, *, processes: Processes, core: int) -> "Upstreams":
        """Start it and wait until it answers. Raises `BenchError`."""
        folder = processes.folder
        primary, shadow = free_ports(2)
        log = folder / "copies.log"
        (folder / "body.json").write_bytes(BODY)
        config = folder / "upstreams.conf"
        inside = (
            "open_file_cache max=100;\n"
            + _server(primary, folder, "location = /requests-so-far { stub_status; }")
            + _server(shadow, folder, f"access_log {log} combined if=$http_{MARK.lower().replace('-', '_')};")
        )
        config.write_text(nginx_config(folder, "upstreams", inside))
        process = processes.start("upstreams", ["nginx", "-e", "stderr", "-c", str(config)], core=core)
        process.wait_until(lambda: listens(primary) and listens(shadow))
        return cls(primary=primary, shadow=shadow, copies_log=log)

    def requests(self) -> int:
        """Requests to both so far, without these questions. Raises `BenchError`."""
        self._questions += 1
        status, text = ask(self.primary, "/requests-so-far")[0]
        if status != 200:
            raise BenchError(f"the upstream's stub_status answered {status}")
        # "server accepts handled requests" and below it the three numbers.
        return int(text.splitlines()[2].split()[2]) - self._questions

    def copies(self) -> int:
        """Requests with the field `MARK` that reached the shadow so far."""
        return len(self.copies_log.read_bytes().splitlines())


def _server(port: int, folder: Path, more: str) -> str:
    return (
        f"server {{ listen 127.0.0.1:{port} backlog=4096; {more}\n"
        f"location / {{ root {folder}; try_files /body.json =404; default_type application/json; }} }}\n"
    )


def nginx_config(folder: Path, name: str, inside: str) -> str:
    """An NGINX configuration around *inside*: one worker, no access log, eternal connections."""
    paths = " ".join(
        f"{kind}_temp_path {folder}/{name}-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log stderr error;\n"
        "events { worker_connections 8192; }\n"
        "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n"
        f"{paths}\n{inside}\n}}\n"
    )
