"""Real servers in child processes: started on free ports, waited for, always ended."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from store_servers import free_port

POLL_SECONDS = 0.02
READY_SECONDS = 60.0
STOP_SECONDS = 45.0
ANSWER_SECONDS = 60.0
"""Nothing that works takes any of these: they are what a busy machine may make of it. How soon things happen
is for the benchmarks. A stop takes 30 s to drain, and 5 s more before children are ended by force."""


@dataclass(slots=True, kw_only=True)
class Server:
    """One child process in its own process group, with its output in ``log``."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @classmethod
    def start(
        cls, arguments: Sequence[str], *, port: int, folder: Path, environ: Mapping[str, str] | None = None
    ) -> "Server":
        """Run *arguments* in *folder* and wait until *port* accepts a connection."""
        log = folder / f"{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(arguments),
                cwd=folder,
                env={**os.environ, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = cls(process=process, port=port, log=log)
        try:
            server.wait_until_listening()
        except BaseException:
            server.stop()
            raise
        return server

    def wait_until_listening(self) -> None:
        """Poll with connections, within a deadline."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                self.fail_if(time.monotonic() > deadline, "does not listen")
            time.sleep(POLL_SECONDS)

    def fail_if(self, is_late: bool, what: str) -> None:
        """Fail with the log when the process has ended, or *is_late*."""
        if is_late or self.process.poll() is not None:
            command = " ".join(map(str, self.process.args)) if isinstance(self.process.args, list) else ""
            raise AssertionError(
                f"{what} (status {self.process.poll()}): {command}\n{self.log.read_text(errors='replace')}"
            )

    def stop(self) -> int:
        """SIGTERM, then SIGKILL for the whole group. Returns the exit status; safe to call again."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.process.wait()


@dataclass(slots=True, kw_only=True)
class AdminAnswer:
    """What the admin API answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Serving:
    """One running ``understudy serve``."""

    server: Server
    proxy_port: int
    admin_port: int
    folder: Path

    @classmethod
    def start(cls, config_text: str, *, folder: Path, files: int = 0, admin: str = "") -> "Serving":
        """Write *config_text* with ``listen`` and ``admin`` on free ports, serve it, wait until ready.

        *admin* is what else to say there: ``origins: ["*"]``.
        With *files*, each of its processes may open so many.
        """
        proxy_port, admin_port = free_port(), free_port()
        addresses = f"listen: 127.0.0.1:{proxy_port}\nadmin: {{listen: '127.0.0.1:{admin_port}', {admin}}}\n"
        config = folder / "understudy.yaml"
        config.write_text(addresses + config_text)
        command = [sys.executable, "-m", "understudy", "serve", "-c", str(config)]
        if files:
            command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(files), *command]
        server = Server.start(command, port=proxy_port, folder=folder)
        serving = cls(server=server, proxy_port=proxy_port, admin_port=admin_port, folder=folder)
        try:
            serving.wait_until_ready()
        except BaseException:
            server.stop()
            raise
        return serving

    def wait_until_ready(self) -> None:
        """Poll ``/readyz`` within a deadline."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            self.server.fail_if(time.monotonic() > deadline, "is not ready")
            time.sleep(POLL_SECONDS)

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        try:
            return self.admin("/readyz").status == 200
        except (OSError, http.client.HTTPException):  # its control process ends while it answers
            return False

    def admin(
        self, path: str, *, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AdminAnswer:
        """Ask the admin API; *body* is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=ANSWER_SECONDS)
        try:
            content = None if body is None else json.dumps(body).encode()
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body=content, headers={**kind, **(headers or {})})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return AdminAnswer(status=answer.status, headers=fields, body=answer.read())
        finally:
            connection.close()

    def report(self) -> dict[str, Any]:
        """The report as it stands. Raises ConnectionError from a control process that has just begun."""
        answer = self.admin("/api/v1/report")
        if answer.status == 503:
            raise ConnectionError(answer.body)
        assert answer.status == 200, answer.body
        report: dict[str, Any] = answer.json()
        return report

    def settled_report(self, *, eligible: int, seconds: float = READY_SECONDS) -> dict[str, Any]:
        """The report once *eligible* mirrored requests are accounted for: compared, or passed over."""
        deadline, last = time.monotonic() + seconds, "no report"
        while True:
            with contextlib.suppress(ConnectionError):
                report = self.report()
                if is_settled(report, eligible):
                    return report
                last = f"{report['exchanges']} exchanges, {report['mirror']}"
            assert time.monotonic() < deadline, f"not settled: {last}"
            time.sleep(POLL_SECONDS)

    def stop(self) -> int:
        """End it; the exit status."""
        return self.server.stop()


def is_settled(report: Mapping[str, Any], eligible: int) -> bool:
    """Whether so many mirrored requests are accounted for, and every answer was compared or passed over."""
    mirror = report["mirror"]
    gone = sum((*mirror["skipped"].values(), *mirror["dropped"].values(), *mirror["failed"].values()))
    is_complete: bool = mirror["eligible"] == eligible == mirror["answered"] + gone
    return is_complete and report["exchanges"] + report["passed_over"] == mirror["answered"]


class StartServer(Protocol):
    """Run a command that listens on *port* of 127.0.0.1; returns once it does."""

    def __call__(
        self, arguments: Sequence[str], *, port: int, environ: Mapping[str, str] | None = None
    ) -> Server:
        """Started, and ended with the module of the test."""


class UnderstudyServe(Protocol):
    """Run ``understudy serve`` on a configuration without ``listen`` and ``admin``; both get free ports."""

    def __call__(
        self, config_text: str, *, folder: Path | None = None, files: int = 0, admin: str = ""
    ) -> Serving:
        """Started and ready; ended with the module of the test."""


@contextmanager
def started_unready(config: str, folder: Path) -> Iterator[Serving]:
    """Serve as `Serving.start` does, without waiting until it is ready."""
    proxy_port, admin_port = free_port(), free_port()
    file = folder / "understudy.yaml"
    file.write_text(f"listen: 127.0.0.1:{proxy_port}\nadmin: {{listen: '127.0.0.1:{admin_port}'}}\n{config}")
    command = [sys.executable, "-m", "understudy", "serve", "-c", str(file)]
    process = Server.start(command, port=proxy_port, folder=folder)
    serving = Serving(server=process, proxy_port=proxy_port, admin_port=admin_port, folder=folder)
    try:
        yield serving
    finally:
        serving.stop()
