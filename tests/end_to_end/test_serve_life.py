"""Birth, death and replacement of the processes of ``understudy serve``."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serve_world import (
    PATIENCE_SECONDS,
    Asked,
    Load,
    Says,
    ThreadedOrigin,
    always,
    answer_on,
    ask,
    children_of,
    config_text,
    end_by_force,
    is_alive,
    wait_until,
    workers_of,
)
from servers import UnderstudyServe

LISTENS = re.compile(r"understudy serves (?P<listeners>\S.*) from .*, admin at http://\S+:(?P<admin>\d+)")


@contextmanager
def command(folder: Path, config: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """``understudy serve`` on *config*, as a person runs it."""
    (folder / "understudy.yaml").write_text(config)
    process = subprocess.Popen(
        [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"],
        cwd=folder,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
            assert process.stderr is not None
            process.stderr.read()


def announced(process: subprocess.Popen[str]) -> tuple[list[str], int]:
    """The addresses that it says it listens on, and the admin port."""
    assert process.stderr is not None
    for line in process.stderr:
        found = LISTENS.search(line)
        if found:
            return re.findall(r"http://(\S+?)(?:,|$)", found["listeners"]), int(found["admin"])
    raise AssertionError("it never said where it listens")


def test_sigterm_drains_without_a_failed_request(understudy_serve: UnderstudyServe) -> None:
    """Requests under way are finished, none is cut or refused an answer, exit 0, all children are gone."""

    def slowly(asked: Asked) -> Says:
        time.sleep(0.05)
        return Says()

    with ThreadedOrigin(answer=slowly).listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        supervisor = serving.server.process.pid
        children = children_of(supervisor)
        with Load(serving.proxy_port, clients=12) as load:
            load.until_answered(50)
            serving.server.process.terminate()
            assert serving.server.process.wait(PATIENCE_SECONDS) == 0
            tally = load.stop()
        assert tally.failed == []
        assert not any(is_alive(pid) for pid in children)
        assert len(children) == 3


def test_sigterm_answers_everybody_who_had_connected(understudy_serve: UnderstudyServe) -> None:
    """A connection for each request: one that was accepted, even if only by the kernel, is answered."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        with Load(serving.proxy_port, clients=20, keeps_alive=False) as load:
            load.until_answered(200)
            serving.server.process.terminate()
            assert serving.server.process.wait(PATIENCE_SECONDS) == 0
            wait_until(lambda: load.tally.refused > 0, "a connection that is refused")
            tally = load.stop()
        assert tally.failed == []


def test_a_long_request_is_finished_within_the_drain_time(understudy_serve: UnderstudyServe) -> None:
    """The answer that began before SIGTERM comes whole, and its connection is closed after it."""
    asked_for, go_on = threading.Event(), threading.Event()

    def late(asked: Asked) -> Says:
        if asked.path == "/late":
            asked_for.set()
            go_on.wait(PATIENCE_SECONDS)
        return Says(body=b"late but whole")

    with ThreadedOrigin(answer=late).listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port))
        address = ("127.0.0.1", serving.proxy_port)
        with (
            socket.create_connection(address, timeout=PATIENCE_SECONDS) as idle,
            socket.create_connection(address, timeout=PATIENCE_SECONDS) as client,
        ):
            idle.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert answer_on(idle)[0] == 200
            client.sendall(b"GET /late HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert asked_for.wait(PATIENCE_SECONDS)
            serving.server.process.terminate()
            try:
                assert idle.recv(1) == b"", "the drain has not begun"
            finally:
                go_on.set()
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        assert answer.endswith(b"late but whole")
        assert b"\r\nConnection: close\r\n" in answer
        assert serving.server.process.wait(PATIENCE_SECONDS) == 0


def test_new_connections_are_refused_while_it_drains(understudy_serve: UnderstudyServe) -> None:
    """They do not wait in a queue that nobody will ever take from."""
    asked_for, go_on = threading.Event(), threading.Event()

    def held(asked: Asked) -> Says:
        asked_for.set()
        go_on.wait(PATIENCE_SECONDS)
        return Says()

    with ThreadedOrigin(answer=held).listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        with socket.create_connection(("127.0.0.1", serving.proxy_port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert asked_for.wait(PATIENCE_SECONDS)
            serving.server.process.terminate()
            try:
                wait_until(lambda: not accepts(serving.proxy_port), "a refused connection")
            finally:
                go_on.set()
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert serving.server.process.wait(PATIENCE_SECONDS) == 0


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_children_end_when_the_supervisor_is_killed(understudy_serve: UnderstudyServe) -> None:
    """The pipe that only it held open ends: they drain and go, and leave no folder behind."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        supervisor = serving.server.process.pid
        children = children_of(supervisor)
        assert len(children) == 3
        os.kill(supervisor, signal.SIGKILL)
        serving.server.process.wait(PATIENCE_SECONDS)
        wait_until(lambda: not any(is_alive(pid) for pid in children), "the end of all children")
        log = serving.server.log.read_text()
        assert "the supervisor is gone: draining" in log
        assert "Traceback" not in log


def test_a_killed_worker_is_replaced_and_nobody_is_refused(understudy_serve: UnderstudyServe) -> None:
    """Its listener is kept by the supervisor; only requests that were inside it are lost."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        supervisor = serving.server.process.pid
        victim = workers_of(supervisor, serving.admin_port)[0]
        with Load(serving.proxy_port, clients=6) as load:
            load.until_answered(100)
            end_by_force(victim)
            load.until_answered(300)
            wait_until(lambda: len(workers_of(supervisor, serving.admin_port)) == 2, "two workers again")
            wait_until(serving.is_ready, "two workers that serve")
            tally = load.stop()
        assert tally.refused == 0
        assert len(tally.failed) <= 6  # one for each connection that the dead worker may have held
        after = workers_of(supervisor, serving.admin_port)
        assert len(after) == 2
        assert victim not in after
        assert "ended by signal 9 (Killed); starting it again" in serving.server.log.read_text()


def test_two_workers_share_the_load(understudy_serve: UnderstudyServe) -> None:
    """Connections are spread by the system; both workers answer."""
    with always().listening() as primary, always().listening() as shadow:
        serving = understudy_serve(config_text(primary.port, shadow.port, workers=2))
        workers = workers_of(serving.server.process.pid, serving.admin_port)

        def both_answered() -> bool:
            for _ in range(20):
                ask(serving.proxy_port)
            used = [cpu_ticks(pid) for pid in workers]
            return all(now > then for now, then in zip(used, before, strict=True))

        before = [cpu_ticks(pid) for pid in workers]
        wait_until(both_answered, "work of both workers")
        ready = serving.admin("/readyz").json()
        assert ready["checks"]["workers"]["detail"] == "2 of 2 workers have version 1"


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_port_in_use_is_a_clear_error(which: str, tmp_path: Path) -> None:
    """Exit 1 at once, one line that names the address and the mend, no trace."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = address if which == "listen" else "127.0.0.1:0"
        admin = address if which == "admin" else "127.0.0.1:0"
        config = config_text(1, 2, listen=listen, admin={"listen": admin}, workers=2)
        (tmp_path / "understudy.yaml").write_text(config)
        done = subprocess.run(
            [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"listen {address}: the port is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "understudy.db").exists()


def test_port_0_takes_a_free_port_and_says_which(tmp_path: Path) -> None:
    """For the proxy and for the admin API; two workers share the port that was chosen."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(
            primary.port, shadow.port, listen="127.0.0.1:0", admin={"listen": "127.0.0.1:0"}, workers=2
        )
        with command(tmp_path, config) as process:
            (address,), admin = announced(process)
            port = int(address.rpartition(":")[2])
            assert port
            assert admin
            wait_until(lambda: ask(port)[0] == 200, "an answer")
            assert all(ask(port)[0] == 200 for _ in range(10))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_it_listens_on_ipv6_and_ipv4(tmp_path: Path) -> None:
    """A list of addresses; the client's IPv6 address is what the upstream is told."""
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(
            primary.port, shadow.port, listen=["[::1]:0", "127.0.0.1:0"], admin={"listen": "[::1]:0"}
        )
        with command(tmp_path, config) as process:
            addresses, _ = announced(process)
            ports = [int(address.rpartition(":")[2]) for address in addresses]
            wait_until(lambda: ask(ports[0], host="::1")[0] == 200, "an answer over IPv6")
            assert ask(ports[1])[0] == 200
        forwarded = [asked.fields["x-forwarded-for"] for asked in primary.requests()]
        assert forwarded == ["::1", "127.0.0.1"]


def test_a_long_folder_for_temporary_files_does_no_harm(tmp_path: Path) -> None:
    """A Unix socket's path is short; the folder of the system may not be."""
    folder = tmp_path / ("long-" * 20)
    folder.mkdir()
    with always().listening() as primary, always().listening() as shadow:
        config = config_text(primary.port, shadow.port, listen="127.0.0.1:0", admin={"listen": "127.0.0.1:0"})
        with command(tmp_path, config, TMPDIR=str(folder)) as process:
            (address,), _ = announced(process)
            wait_until(lambda: ask(int(address.rpartition(":")[2]))[0] == 200, "an answer")
        assert list(folder.iterdir()) == []
