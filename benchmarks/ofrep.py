"""How many flags a second a core evaluates over OFREP, end to end, and how soon a listener hears of a change.

`python benchmarks/ofrep.py` starts `understudy serve`, asks it over keep-alive connections on 127.0.0.1, and
prints a table; `--json FILE` keeps the figures. A core is what all its processes together spent (`/proc`),
HTTP included, the client's not. Ends with status 1 when a goal is missed.
"""

import argparse
import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from processes import Process, Processes, cpu_seconds, free_ports, listens, tree

FLAGS = 100
CONNECTIONS = 4
SECONDS = 2.0
CHANGES = 100
AT_LEAST_EVALUATIONS = 100_000
AT_MOST_SECONDS = 0.2
CONTEXT = {"targetingKey": "user-4711", "country": "NL", "age": 33, "email": "ann@example.com"}
TARGETING: Mapping[str, Any] = {
    "static": None,
    "targeting": {
        "if": [
            {"and": [{"in": [{"var": "country"}, ["NL", "BE"]]}, {">=": [{"var": "age"}, 18]}]},
            "on",
            "off",
        ]
    },
    "fractional": {"fractional": [["on", 50], ["off", 50]]},
}
ALL = "/ofrep/v1/evaluate/flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one way to ask came to: requests and evaluations for each second of a core's time."""

    title: str
    requests_per_core: float
    evaluations_per_core: float
    answer_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The program that is asked, and where."""

    process: Process
    port: int

    def post(
        self, path: str, body: Any = None, fields: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """One answer, unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        content = json.dumps({} if body is None else body)
        connection.request("POST", path, content, {"Content-Type": "application/json", **(fields or {})})
        return connection.getresponse()


@contextmanager
def serving(kinds: tuple[str, ...]) -> Iterator[Serving]:
    """`understudy serve` with `FLAGS` flags, of *kinds* in turns."""
    proxy, admin = free_ports(2)
    flags = {}
    for n in range(FLAGS):
        flag: dict[str, Any] = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
        rule = TARGETING[kinds[n % len(kinds)]]
        flags[f"flag-{n}"] = flag if rule is None else {**flag, "targeting": rule}
    config = {
        "listen": f"127.0.0.1:{proxy}",
        "admin": {"listen": f"127.0.0.1:{admin}"},
        "store": "memory://",
        "services": {"shop": {"url": "http://127.0.0.1:9"}},
        "flags": flags,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "understudy.yaml"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", "understudy", "serve", "-c", str(path)]
        processes = Processes(folder=Path(folder))
        try:
            process = processes.start("understudy", command, cores=tuple(sorted(os.sched_getaffinity(0))))
            process.wait_until(lambda: listens(admin) and _is_ready(admin))
            yield Serving(process=process, port=admin)
        finally:
            processes.stop()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/readyz")
    return connection.getresponse().status == 200


def asked(served: Serving, title: str, path: str, *, evaluations: int, **fields: str) -> Figure:
    """Ask *path* for `SECONDS` over `CONNECTIONS` connections."""
    body = json.dumps({"context": CONTEXT}).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{lines}\r\n"
    )
    request = head.encode() + body
    size = _ask_once(served.port, request)
    counts = [0] * CONNECTIONS
    pids = tree(served.process.popen.pid)
    before, until = cpu_seconds(pids), time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=_ask, args=(served.port, request, size, until, counts, n))
        for n in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(counts) / (cpu_seconds(pids) - before)
    return Figure(
        title=title, requests_per_core=rate, evaluations_per_core=rate * evaluations, answer_bytes=size
    )


def _ask_once(port: int, request: bytes) -> int:
    """The bytes of one whole answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    # Without the field that only the last answer of a connection has.
    return len(answer.replace(b"connection: close\r\n", b""))


def _ask(port: int, request: bytes, size: int, until: float, counts: list[int], place: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        while time.monotonic() < until:
            connection.sendall(request)
            got = 0
            while got < size:
                got += len(connection.recv(65536))
            counts[place] += 1


def figures() -> Iterator[Figure]:
    """Every way to ask."""
    for kind in TARGETING:
        with serving((kind,)) as served:
            yield asked(served, f"{FLAGS} flags at once, {kind}", ALL, evaluations=FLAGS)
    with serving(tuple(TARGETING)) as served:
        yield asked(served, f"{FLAGS} flags at once, mixed", ALL, evaluations=FLAGS)
        yield asked(served, "the same, gzip", ALL, evaluations=FLAGS, Accept_Encoding="gzip")
        tag = served.post(ALL, {"context": CONTEXT}).headers["ETag"]
        yield asked(served, "the same, known (304)", ALL, evaluations=FLAGS, If_None_Match=tag)
        yield asked(served, "one flag", f"{ALL}/flag-1", evaluations=1)


def delays() -> list[float]:
    """Seconds from the request for a kill or revive to its event, for each of `CHANGES`."""
    found = []
    with serving(("static",)) as served:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        connection.request("GET", "/ofrep/v1/sse")
        events = connection.getresponse()
        _until(events, lambda line: line.startswith(b"data: "))  # the turn that began it is told a newcomer
        for n in range(CHANGES):
            began = time.perf_counter()
            change = threading.Thread(
                target=served.post, args=(f"/api/v1/flags/flag-1/{('kill', 'revive')[n % 2]}",)
            )
            change.start()
            _until(events, lambda line: line.startswith(b"data: "))
            found.append(time.perf_counter() - began)
            change.join()
        connection.close()
    return sorted(found)


def _until(events: http.client.HTTPResponse, is_it: Callable[[bytes], bool]) -> None:
    while not is_it(events.readline()):
        pass


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    options = parser.parse_args()
    print(
        "| asked for | requests/s per core | evaluations/s per core | bytes of an answer |\n|---|---|---|---|"
    )
    found = []
    for figure in figures():
        found.append(figure)
        print(
            f"| {figure.title} | {figure.requests_per_core:,.0f} | {figure.evaluations_per_core:,.0f} |"
            f" {figure.answer_bytes:,} |",
            flush=True,
        )
    told = delays()
    middle, late = told[len(told) // 2], told[int(len(told) * 0.99) - 1]
    heard = f"{middle * 1000:.1f} ms (median), {late * 1000:.1f} ms (p99)"
    print(f"\nA change is heard by a listener after {heard}.")
    if options.json:
        rows = {
            "cpus": os.cpu_count(),
            "figures": [asdict(figure) for figure in found],
            "delays_seconds": told,
        }
        options.json.write_text(json.dumps(rows, indent=1))
    slowest = min(
        figure.evaluations_per_core for figure in found if figure.title.startswith(f"{FLAGS} flags")
    )
    return 0 if slowest >= AT_LEAST_EVALUATIONS and late <= AT_MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
