"""Nobody who asks at a thousand requests a second feels a drain, a rolling restart or a handover."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from serve_world import (
    PATIENCE_SECONDS,
    all_gone,
    ask,
    children_of,
    config_text,
    control_of,
    end_by_force,
    flag,
    wait_until,
    workers_of,
)
from servers import Server, Serving, UnderstudyServe
from store_servers import free_port

from understudy.testing import LoadTally, SteadyLoad

ORIGIN = """
import asyncio
class Origin(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.rest = transport, b""
    def data_received(self, data):
        *whole, self.rest = (self.rest + data).split(b"\\r\\n\\r\\n")
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok" * len(whole))
async def main():
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", %d, backlog=1024)
    await server.serve_forever()
asyncio.run(main())
"""
RATE = 1000.0
AROUND = 500
"""Answers before and after: half a second each."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A service that is never the bottleneck; its port."""
    port = free_port()
    folder = tmp_path_factory.mktemp("origin")
    server = Server.start([sys.executable, "-c", ORIGIN % port], port=port, folder=folder)
    yield port
    server.stop()


def configured(origin: int, **more: object) -> str:
    """Two workers in front of *origin*; nothing is mirrored."""
    return config_text(origin, origin, workers=2, flags={"shop": flag("stable")}, **more)


def loaded(serving: Serving) -> SteadyLoad:
    return SteadyLoad(("127.0.0.1", serving.proxy_port), rate=RATE)


def nobody_failed(tally: LoadTally, *, refused: int | None = 0) -> bool:
    assert dict(tally.failed) == {}, tally.failed
    assert refused is None or tally.refused == refused
    return True


def restarts(serving: Serving, process: str, reason: str) -> float:
    """``understudy_restarts_total``."""
    text = serving.admin("/metrics").body.decode()
    label = f'understudy_restarts_total{{process="{process}",reason="{reason}"}}'
    found = re.search(rf"^{re.escape(label)} (\S+)$", text, re.MULTILINE)
    if found is None:  # a control process that has just begun knows no tokens yet, and says 503
        raise KeyError(text)
    return float(found[1])


def asked_for(serving: Serving, workers: int) -> None:
    """Wait until so many workers have been replaced."""
    wait_until(lambda: restarts(serving, "worker", "asked") == workers, "new workers")


@pytest.mark.parametrize("_time", range(3))
def test_sigterm_fails_no_request(_time: int, origin: int, understudy_serve: UnderstudyServe) -> None:
    """Connects are refused in the end, and nothing else; exit 0."""
    serving = understudy_serve(configured(origin))
    with loaded(serving) as load:
        load.until_answered(AROUND)
        serving.server.process.terminate()
        assert serving.server.process.wait(PATIENCE_SECONDS) == 0
        assert nobody_failed(load.stop(), refused=None)


def test_a_rolling_restart_fails_no_request(origin: int, understudy_serve: UnderstudyServe) -> None:
    """By SIGUSR1 and by the admin API; every worker is another one after it, and it is counted."""
    serving = understudy_serve(configured(origin))
    supervisor = serving.server.process.pid
    with loaded(serving) as load:
        load.until_answered(AROUND)
        for times in (1, 2, 3):
            before = workers_of(supervisor, serving.admin_port)
            if times == 1:
                serving.server.process.send_signal(signal.SIGUSR1)
            else:
                assert serving.admin("/api/v1/restart", method="POST").status == 202
            asked_for(serving, 2 * times)
            all_gone(before)
            assert len(workers_of(supervisor, serving.admin_port)) == 2
        load.until_answered(AROUND)
        assert nobody_failed(load.stop())
    assert serving.is_ready()
    assert restarts(serving, "worker", "died") == 0


def test_a_handover_fails_no_request(origin: int, understudy_serve: UnderstudyServe) -> None:
    """SIGUSR2: the same pid, another generation, twice; listeners, admin API and rules go on."""
    serving = understudy_serve(configured(origin))
    supervisor = serving.server.process.pid
    with loaded(serving) as load:
        load.until_answered(AROUND)
        for _ in range(2):
            before = children_of(supervisor)
            serving.server.process.send_signal(signal.SIGUSR2)
            all_gone(before)
            wait_until(serving.is_ready, "the new generation")
        load.until_answered(AROUND)
        assert nobody_failed(load.stop())
    assert serving.server.process.poll() is None
    assert len(children_of(supervisor)) == 3
    serving.server.process.terminate()
    assert serving.server.process.wait(PATIENCE_SECONDS) == 0


def test_a_handover_takes_a_new_configuration(origin: int, understudy_serve: UnderstudyServe) -> None:
    """What a reload cannot change: more workers, fewer workers, another address, one address less."""
    serving = understudy_serve(configured(origin))
    file = serving.folder / "understudy.yaml"
    first, second = file.read_text(), free_port()
    listen = f"listen: 127.0.0.1:{serving.proxy_port}\n"
    both = f"listen: ['127.0.0.1:{serving.proxy_port}', '127.0.0.1:{second}']\n"
    supervisor = serving.server.process.pid

    def hand_over(text: str, workers: int) -> None:
        file.write_text(text)
        before = children_of(supervisor)
        serving.server.process.send_signal(signal.SIGUSR2)
        all_gone(before)
        wait_until(serving.is_ready, "the new generation")
        assert len(workers_of(supervisor, serving.admin_port)) == workers

    with loaded(serving) as load:
        load.until_answered(AROUND)
        hand_over(first.replace(listen, both).replace("workers: 2", "workers: 3"), 3)
        assert ask(second)[0] == 200
        hand_over(first.replace(listen, both).replace("workers: 2", "workers: 1"), 1)
        assert all(ask(second)[0] == 200 for _ in range(10))
        hand_over(first, 2)
        # No process of the new generation holds it open, to drop who connects.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", second), timeout=PATIENCE_SECONDS)
        assert nobody_failed(load.stop())


@pytest.mark.parametrize("broken", ["configuration", "address", "code"])
def test_a_broken_handover_changes_nothing(
    broken: str, origin: int, tmp_path: Path, understudy_serve: UnderstudyServe
) -> None:
    """The rehearsal says why, and the old generation serves on."""
    serving = understudy_serve(configured(origin), folder=tmp_path)
    supervisor = serving.server.process.pid
    file = tmp_path / "understudy.yaml"
    text = file.read_text()
    before = children_of(supervisor)
    with socket.create_server(("127.0.0.1", 0)) as taken, loaded(serving) as load:
        load.until_answered(AROUND)
        reasons = {
            "configuration": ("workers: 2", "workrs: 2", "workrs: unknown key"),
            "address": (
                f"listen: 127.0.0.1:{serving.proxy_port}",
                f"listen: ['127.0.0.1:{serving.proxy_port}', '127.0.0.1:{taken.getsockname()[1]}']",
                "the port is in use",
            ),
            "code": ("", "", "ModuleNotFoundError"),
        }
        found, put, why = reasons[broken]
        file.write_text(text.replace(found, put))
        if broken == "code":
            # The interpreter finds another package of that name first, as after a broken upgrade.
            (tmp_path / "understudy").mkdir()
            (tmp_path / "understudy" / "__init__.py").write_text("import a_module_that_is_gone\n")
        serving.server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "handover refused" in serving.server.log.read_text(), "the refusal")
        load.until_answered(AROUND)
        assert nobody_failed(load.stop())
    assert why in serving.server.log.read_text()
    wait_until(lambda: children_of(supervisor) == before, "the end of the rehearsal")
    assert serving.is_ready()


def test_a_worker_that_dies_is_counted(origin: int, understudy_serve: UnderstudyServe) -> None:
    """So is a control process, which comes back with the counts."""
    serving = understudy_serve(configured(origin))
    supervisor = serving.server.process.pid
    victim = workers_of(supervisor, serving.admin_port)[0]
    end_by_force(victim)
    wait_until(lambda: restarts(serving, "worker", "died") == 1, "the count")
    wait_until(serving.is_ready, "two workers again")
    end_by_force(control_of(supervisor, serving.admin_port))
    wait_until(lambda: restarts(serving, "control", "died") == 1, "the count")
    assert restarts(serving, "worker", "died") == 1
    assert restarts(serving, "worker", "asked") == 0


# -- a manager that holds the sockets, as systemd does


@dataclass(slots=True, kw_only=True)
class Manager:
    """Holds the proxy's and the admin's socket, starts and stops the service, hears its notifications."""

    folder: Path
    proxy: socket.socket
    admin: socket.socket
    notified: socket.socket
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As ExecStart of a unit with sockets and Type=notify; returns at READY=1."""
        # Copies above 3 and 4, where they belong in the child, and where nothing of this process is.
        first, second = (fcntl.fcntl(held, fcntl.F_DUPFD, 20) for held in (self.proxy, self.admin))
        shell = (
            f"exec 3<&{first} 4<&{second} {first}<&- {second}<&-; "
            'export LISTEN_FDS=2 LISTEN_PID=$$; exec "$@"'
        )
        command = [sys.executable, "-m", "understudy", "serve", "-c", "understudy.yaml"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", shell, "bash", *command],
                cwd=self.folder,
                env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")},
                pass_fds=(first, second),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(first)
        os.close(second)
        self.until("READY=1")

    def stop(self) -> int:
        """As `systemctl stop`."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def until(self, state: str) -> None:
        """Wait until it says *state*."""
        self.notified.settimeout(PATIENCE_SECONDS)
        while state not in self.notified.recv(4096).decode().splitlines():
            pass


@contextmanager
def managed(folder: Path, origin: int) -> Iterator[Manager]:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=4096) as proxy,
        socket.create_server(("127.0.0.1", 0)) as admin,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
    ):
        notified.bind(str(folder / "notify"))
        listen, admin_listen = (f"127.0.0.1:{held.getsockname()[1]}" for held in (proxy, admin))
        (folder / "understudy.yaml").write_text(
            configured(origin, listen=listen, admin={"listen": admin_listen})
        )
        manager = Manager(folder=folder, proxy=proxy, admin=admin, notified=notified)
        try:
            yield manager
        finally:
            if manager.process is not None and manager.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(manager.process.pid, signal.SIGKILL)
                manager.process.wait()


def test_a_restart_under_systemd_fails_no_request(origin: int, tmp_path: Path) -> None:
    """Stopped and started again three times: who connects meanwhile waits in the queue of the socket."""
    with managed(tmp_path, origin) as manager:
        manager.start()
        with SteadyLoad(manager.proxy.getsockname(), rate=RATE) as load:
            for _ in range(3):
                load.until_answered(AROUND)
                assert manager.stop() == 0
                manager.until("STOPPING=1")
                manager.start()
            load.until_answered(AROUND)
            assert nobody_failed(load.stop())
        assert manager.stop() == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log


def test_systemd_hears_of_a_reload(origin: int, tmp_path: Path) -> None:
    """RELOADING=1 at SIGHUP, READY=1 when it is over, also when the file is wrong."""
    with managed(tmp_path, origin) as manager:
        manager.start()
        assert manager.process is not None
        manager.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        (tmp_path / "understudy.yaml").write_text("nonsense")
        manager.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        assert manager.stop() == 0


def test_a_handover_keeps_the_sockets_of_systemd(origin: int, tmp_path: Path) -> None:
    """After it they are still somebody else's: at the end they stay open."""
    with managed(tmp_path, origin) as manager:
        manager.start()
        assert manager.process is not None
        with SteadyLoad(manager.proxy.getsockname(), rate=RATE) as load:
            load.until_answered(AROUND)
            manager.process.send_signal(signal.SIGUSR2)
            manager.until("READY=1")
            load.until_answered(AROUND)
            assert nobody_failed(load.stop())
        assert manager.stop() == 0
        socket.create_connection(manager.proxy.getsockname(), timeout=PATIENCE_SECONDS).close()
