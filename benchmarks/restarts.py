"""What a restart costs those who ask: SIGTERM, a rolling restart and a handover under steady load, ten times.

`python benchmarks/restarts.py` prints one line for each scenario, and ends with 1 when a request failed.
Everything runs on loopback: an origin, one `understudy serve`, and clients that count every request that
was sent and not answered.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from understudy.testing import LoadTally, SteadyLoad

LEAD_SECONDS = 1.0
"""Load before and after what is done to the proxy."""

PATIENCE_SECONDS = 30.0
BODY = b'{"ok": true, "items": [1, 2, 3]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


class Origin(asyncio.Protocol):
    """Answers every request head with the same 200."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._read = b""

    def data_received(self, data: bytes) -> None:
        *whole, self._read = (self._read + data).split(b"\r\n\r\n")
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            ANSWER
        )
        self._transport.write((answer + ANSWER) * len(whole))


async def serve_origin(port: int) -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if is_so():
                return
        except (OSError, AssertionError):
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"never came: {what}")
        time.sleep(0.02)


def listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


@contextmanager
def running(arguments: list[str], *, log: Path, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, ended with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where everything listens and what is started there."""

    folder: Path
    workers: int
    origin: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    @property
    def log(self) -> Path:
        return self.folder / "understudy.log"

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "understudy", "serve", "-c", str(self.folder / "understudy.yaml")]

    def write(self) -> None:
        document = {
            "listen": f"127.0.0.1:{self.port}",
            "admin": {"listen": f"127.0.0.1:{self.admin}"},
            "workers": self.workers,
            "store": "memory://",
            "services": {"shop": {"url": f"http://127.0.0.1:{self.origin}"}},
            "routes": [{"path": "/", "serve": "shop"}],
        }
        (self.folder / "understudy.yaml").write_text(json.dumps(document))

    def is_ready(self) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)

    def restarts(self) -> int:
        """How many workers a rolling restart has replaced so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=2) as answer:
            text = answer.read().decode()
        found = re.search(r'^understudy_restarts_total\{process="worker",reason="asked"\} (\S+)', text, re.M)
        return int(float(found[1])) if found else 0

    def children(self, pid: int) -> set[int]:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

    def load(self, rate: float) -> SteadyLoad:
        return SteadyLoad(("127.0.0.1", self.port), rate=rate)


def terminated(stage: Stage, rate: float) -> LoadTally:
    """SIGTERM ends it; connects are refused after that, and nothing else."""
    with running(stage.command, log=stage.log) as process:
        wait_until(stage.is_ready, "a proxy that is ready")
        with stage.load(rate) as load:
            time.sleep(LEAD_SECONDS)
            process.terminate()
            if process.wait(PATIENCE_SECONDS):
                raise SystemExit(f"it ended with status {process.returncode}")
            tally = load.stop()
    tally.refused = 0
    return tally


def rolled(stage: Stage, rate: float) -> LoadTally:
    """SIGUSR1 replaces every worker."""
    with running(stage.command, log=stage.log) as process:
        wait_until(stage.is_ready, "a proxy that is ready")
        with stage.load(rate) as load:
            time.sleep(LEAD_SECONDS)
            before = stage.children(process.pid)
            process.send_signal(signal.SIGUSR1)
            wait_until(lambda: stage.restarts() == stage.workers, "new workers")
            wait_until(lambda: len(stage.children(process.pid) & before) == 1, "the end of the old ones")
            time.sleep(LEAD_SECONDS)
            return load.stop()


def handed_over(stage: Stage, rate: float) -> LoadTally:
    """SIGUSR2 replaces the supervisor's image and every process under it."""
    with running(stage.command, log=stage.log) as process:
        wait_until(stage.is_ready, "a proxy that is ready")
        with stage.load(rate) as load:
            time.sleep(LEAD_SECONDS)
            before = stage.children(process.pid)
            process.send_signal(signal.SIGUSR2)
            wait_until(lambda: not stage.children(process.pid) & before, "the end of the old generation")
            wait_until(stage.is_ready, "the new generation")
            time.sleep(LEAD_SECONDS)
            return load.stop()


def restarted(stage: Stage, rate: float) -> LoadTally:
    """Stopped and started again by somebody who holds the socket, as systemd does."""
    with socket.create_server(("127.0.0.1", stage.port), backlog=4096) as held, stage.load(rate) as load:
        for _ in range(2):
            with running(activated(stage, held), log=stage.log, pass_fds=[held.fileno()]):
                wait_until(stage.is_ready, "a proxy that is ready")
                time.sleep(LEAD_SECONDS)
            # It drains while the next one is not there yet: connects wait in the queue.
        with running(activated(stage, held), log=stage.log, pass_fds=[held.fileno()]):
            wait_until(stage.is_ready, "a proxy that is ready")
            time.sleep(LEAD_SECONDS)
            return load.stop()


def activated(stage: Stage, held: socket.socket) -> list[str]:
    """The command with *held* as systemd would hand it over."""
    fd = held.fileno()
    shell = f'exec 3<&{fd}; [ {fd} = 3 ] || exec {fd}<&-; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
    return ["/bin/bash", "-c", shell, "bash", *stage.command]


SCENARIOS = {"sigterm": terminated, "rolling": rolled, "handover": handed_over, "systemd": restarted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}; all when none"
    )
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--origin", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.origin:
        asyncio.run(serve_origin(given.origin))
        return
    if unknown := [name for name in given.scenario if name not in SCENARIOS]:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    failed = 0
    for name in given.scenario or SCENARIOS:
        failed += run(name, times=given.times, rate=given.rate, workers=given.workers)
    sys.exit(1 if failed else 0)


def run(name: str, *, times: int, rate: float, workers: int) -> int:
    """Play one scenario *times* times; the number of failures."""
    total, failures = LoadTally(), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="understudy-restarts-") as folder:
        stage = Stage(folder=Path(folder), workers=workers)
        stage.write()
        origin = [sys.executable, __file__, "--origin", str(stage.origin)]
        with running(origin, log=stage.folder / "origin.log", env=os.environ):
            wait_until(lambda: listens(stage.origin), "an origin")
            for _ in range(times):
                tally = SCENARIOS[name](stage, rate)
                failures.update(tally.failed)
                if tally.refused:
                    failures["connect refused"] += tally.refused
                total.answered += tally.answered
                total.connects += tally.connects
                total.seconds += tally.seconds
        if failures:
            sys.stderr.write(stage.log.read_text(errors="replace")[-4000:])
    print(
        f"{name:9} {times} times at {rate:g} requests/s, {workers} workers: {total.answered} answered on"
        f" {total.connects} connections, {sum(failures.values())} failed {dict(failures) or ''}"
        f" p50 {total.quantile(0.5) * 1000:.1f} ms, p99 {total.quantile(0.99) * 1000:.1f} ms,"
        f" slowest {total.quantile(1.0) * 1000:.0f} ms",
        flush=True,
    )
    return sum(failures.values())


if __name__ == "__main__":
    main()
