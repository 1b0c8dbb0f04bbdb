"""The client at saturation: wrk, which sends as many requests as are answered."""

import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from processes import BenchError, Cores, Processes
from traffic import HEADERS, Load

CLIENT = Path(__file__).with_name("client.lua")
HEADS_KEPT = 100
GRACE_SECONDS = 15.0
"""What the client gets beyond the time it was told to run for."""


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
    processes: Processes, port: int, load: Load, *, seconds: int, connections: int, cores: Cores
) -> Answers:
    """Send as many requests as are answered, over *connections* keep-alive connections.

    Raises:
        BenchError: the client failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(CLIENT)]
    for name, value in load.fields.items():
        command += ["-H", f"{name}: {value}"]
    kind = "changing" if load.is_changing else "constant"
    command += [f"http://127.0.0.1:{port}{load.path}", "--", kind, secrets.token_hex(8)]
    command += [load.method, str(load.body_bytes)]
    output = processes.finish(processes.start("wrk", command, cores=cores), seconds=seconds + GRACE_SECONDS)
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


def check_client(processes: Processes, *, cores: Cores) -> None:
    """Let the client talk to a script and look at what it sends.

    Raises:
        BenchError: the header fields are not the intended ones, or change when they should not.
    """
    for load in (Load(), Load(is_changing=True)):
        seen = _listen_to_client(processes, load, cores)
        wanted = {name.lower() for name in HEADERS} | {"host"}
        if any({line.partition(":")[0].lower() for line in head[1:]} != wanted for head in seen):
            raise BenchError(f"wrk sent other header fields than intended: {seen[0]}")
        if len({sum(map(len, head)) for head in seen}) != 1:
            raise BenchError(f"wrk's requests of {load} differ in length")
        different = len({tuple(sorted(head)) for head in seen})
        if different != (len(seen) if load.is_changing else 1):
            raise BenchError(f"{different} of {len(seen)} requests of {load} were different")


def _listen_to_client(processes: Processes, load: Load, cores: Cores) -> list[list[str]]:
    heads: list[list[str]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(GRACE_SECONDS)
        listener = threading.Thread(target=_answer, args=(server, heads), daemon=True)
        listener.start()
        send(processes, server.getsockname()[1], load, seconds=1, connections=1, cores=cores)
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
