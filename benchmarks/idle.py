"""5,000 idle keep-alive connections, each with one mirrored request behind it: the memory of the worker."""

import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from goals import Goal
from processes import BenchError
from serving import config_of, serving, warm
from soak import Soak, Terms, main
from traffic import Load

CONNECTIONS = 5_000
AT_MOST_MIB = 120.0


def idle(terms: Terms) -> Sequence[Soak]:
    """Raises:
    BenchError: a connection was refused, or its request not answered.
    """
    upstreams = terms.stage.upstreams
    with (
        serving(
            terms.stage,
            config_of(limits={"keep_alive_timeout": "10m"}),
            primary=upstreams.primary,
            shadow=upstreams.shadow,
            is_pure=terms.is_pure,
        ) as served,
        ExitStack() as held,
        terms.console.status(f"opening {CONNECTIONS:,} connections"),
    ):
        warm(served, Load())
        base = served.memory()
        request = Load().raw(served.port)
        for _ in range(CONNECTIONS):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", served.port), 10.0))
            connection.sendall(request)
            _read_answer(connection)
        now = served.memory()
        served.check()
    each_kib = (now.rss - base.rss) * 1024 / CONNECTIONS
    return [
        Soak(
            title=f"{CONNECTIONS:,} idle keep-alive connections",
            goals=[
                Goal(what="resident memory of the worker", value=now.rss, at_most=AT_MOST_MIB, unit=" MiB")
            ],
            facts=[
                ("proportional set size of the worker", f"{now.pss:.1f} MiB"),
                ("resident before the first of them", f"{base.rss:.1f} MiB"),
                ("resident for each connection", f"{each_kib:.1f} KiB"),
            ],
        )
    ]


def _read_answer(connection: socket.socket) -> None:
    """One whole answer with a Content-Length. Raises `BenchError` unless its status is 200."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65_536)
        if not piece:
            raise BenchError("the proxy closed a connection instead of answering")
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    fields = {line.split(b":")[0].lower(): line.split(b":", 1)[1] for line in head.split(b"\r\n")[1:]}
    left = int(fields[b"content-length"]) - len(body)
    while left > 0:
        left -= len(connection.recv(65_536))
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the proxy answered {head[:100]!r}")


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", idle))
