"""1 GiB up and 1 GiB down, mirrored and not: how the worker's memory grows, and if every byte arrives."""

import hashlib
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from giant import PIECE_BYTES, pieces
from goals import Goal
from processes import BenchError, free_ports, listens
from serving import Served, config_of, serving
from soak import Soak, Terms, main
from stage import Stage

GIB = 1 << 30
AT_MOST_MIB = 8.0
SETTLE_SECONDS = 0.5
"""For a mirror that goes on after the client has its answer."""

BLOCKED_SECONDS = 30.0


def large(terms: Terms) -> Sequence[Soak]:
    """Raises:
    BenchError: a transfer broke off.
    """
    stage = terms.stage
    primary, shadow = (_giant(stage, name) for name in ("primary", "shadow"))
    with (
        terms.console.status("1 GiB each way") as status,
        serving(stage, _config(), primary=primary, shadow=shadow, is_pure=terms.is_pure) as served,
    ):
        expected = hashlib.sha256()
        for piece in pieces(GIB):
            expected.update(piece)
        wanted = expected.hexdigest()
        for path in ("/plain", "/mirrored"):
            # What every first request allocates is not the body's doing.
            _upload(served, path, 1 << 10)
            _download(served, path, 1 << 10)
        found = []
        for path in ("/plain", "/mirrored"):
            for what, transfer in (("upload", _upload), ("download", _download)):
                status.update(f"1 GiB {what}, {path.strip('/')}")
                found.append(_measure(served, f"1 GiB {what}, {path.strip('/')}", transfer, path, wanted))
        facts = [fact for _, some in found for fact in some]
        flow = served.report()["mirror"]
        facts.append(("copies sent and answered", f"{flow['sent']:,} and {flow['answered']:,}"))
        facts += [(f"copies skipped: {why}", f"{n:,}") for why, n in flow["skipped"].items()]
    return [Soak(title="Giant bodies", goals=[goal for some, _ in found for goal in some], facts=facts)]


def _config() -> dict[str, object]:
    config = config_of(mirror_methods=("GET", "POST"))
    config["flags"]["plain"] = {
        "state": "ENABLED",
        "variants": {"stable": {"serve": "shop-v1"}},
        "defaultVariant": "stable",
    }
    config["routes"].insert(0, {"path": "/plain", "flag": "plain", "unit": "cookie:uid"})
    return config


def _giant(stage: Stage, name: str) -> int:
    (port,) = free_ports(1)
    program = Path(__file__).with_name("giant.py")
    process = stage.processes.start(name, [sys.executable, str(program), str(port)], cores=stage.client_cores)
    process.wait_until(lambda: listens(port))
    return port


def _measure(
    served: Served, title: str, transfer: "Transfer", path: str, wanted: str
) -> tuple[list[Goal], list[tuple[str, str]]]:
    before = served.reset_peak().rss
    started = time.monotonic()
    digest = transfer(served, path, GIB)
    seconds = time.monotonic() - started
    time.sleep(SETTLE_SECONDS)
    served.check()
    grown = max(0.0, served.memory().peak - before)
    goals = [
        Goal(what=f"{title}: the worker's memory grows by", value=grown, at_most=AT_MOST_MIB, unit=" MiB"),
        Goal(what=f"{title}: bodies that are not equal", value=float(digest != wanted), at_most=0.0),
    ]
    return goals, [(f"{title}: speed", f"{GIB / seconds / 2**20:,.0f} MiB/s")]


def _upload(served: Served, path: str, size: int) -> str:
    """The digest of what the service got."""
    with socket.create_connection(("127.0.0.1", served.port), BLOCKED_SECONDS) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        for piece in pieces(size):
            connection.sendall(piece)
        with connection.makefile("rb") as answer:
            return answer.read(_length(answer.readline(), iter(answer.readline, b"\r\n"))).decode()


def _download(served: Served, path: str, size: int) -> str:
    """The digest of what came."""
    digest = hashlib.sha256()
    with socket.create_connection(("127.0.0.1", served.port), BLOCKED_SECONDS) as connection:
        connection.sendall(f"GET {path}?{size} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        with connection.makefile("rb", PIECE_BYTES) as answer:
            left = _length(answer.readline(), iter(answer.readline, b"\r\n"))
            while left:
                piece = answer.read(min(left, PIECE_BYTES))
                if not piece:
                    raise BenchError(f"a download ended {left:,} bytes early")
                digest.update(piece)
                left -= len(piece)
    return digest.hexdigest()


def _length(status: bytes, fields: Iterator[bytes]) -> int:
    if not status.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the proxy answered {status!r}")
    lengths = [line.split(b":")[1] for line in fields if line.lower().startswith(b"content-length:")]
    return int(lengths[0])


Transfer = Callable[[Served, str, int], str]

if __name__ == "__main__":
    sys.exit(main(__doc__ or "", large))
