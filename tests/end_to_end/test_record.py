"""``understudy record`` against a running proxy, and what it gives to ``understudy replay``."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from serve_world import PATIENCE_SECONDS
from servers import (
    Serving,
    UnderstudyServe,
)
from test_replay import released, replay, serving, wrong

SECRETS = ("s3cr3t-session", "hunter2hunter2")


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The service behind the proxy."""
    with serving(released) as url:
        yield url


@pytest.fixture(scope="module")
def proxy(service: str, understudy_serve: UnderstudyServe) -> Serving:
    """A proxy that mirrors nothing, with two workers."""
    return understudy_serve(
        "store: memory://\nworkers: 2\n"
        f"services: {{v1: {{url: '{service}'}}}}\n"
        "routes: [{path: /, serve: v1}]\n"
    )


@contextmanager
def traffic(port: int) -> Iterator[None]:
    """Somebody asks for orders all the time, with a session and a secret in the URL."""
    over = threading.Event()

    def ask() -> None:
        number = 0
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
            for _ in range(5):
                number += 1
                path = f"/orders/{number}?api_key={SECRETS[1]}"
                connection.request("GET", path, headers={"Cookie": f"sid={SECRETS[0]}", "X-A": "1"})
                connection.getresponse().read()
            connection.close()
            over.wait(0.01)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join(PATIENCE_SECONDS)


def start(proxy: Serving, output: Path, *options: str) -> subprocess.Popen[str]:
    admin = f"http://127.0.0.1:{proxy.admin_port}"
    command = [sys.executable, "-m", "understudy", "record", "--admin", admin, "-o", str(output), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert out == ""
    assert "Traceback" not in err
    return process.returncode, err


def log_of(path: Path) -> dict[str, Any]:
    log = json.loads(path.read_text())["log"]
    assert isinstance(log, dict)
    return log


def test_a_recording_is_replayed(proxy: Serving, tmp_path: Path) -> None:
    """What passed is in the file, without a secret, and finds the fault of a candidate."""
    har = tmp_path / "traffic.har"
    with traffic(proxy.proxy_port):
        code, err = ended(start(proxy, har, "--requests", "60"))
    assert code == 0, err
    assert "60 of" in err
    log = log_of(har)
    assert len(log["entries"]) == 60
    assert log["_understudy"]["ended"] == "requests"
    assert [secret for secret in SECRETS if secret in har.read_text()] == []
    with serving(released) as first, serving(wrong) as second:
        done = replay(
            har, "--primary", first, "--candidate", second, "--control-share", "1", "--format", "json"
        )
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], report["exchanges"]) == (1, "regression", 60)


def test_ctrl_c_ends_a_recording_with_a_whole_file(proxy: Serving, tmp_path: Path) -> None:
    """The proxy completes it."""
    har = tmp_path / "traffic.har"
    with traffic(proxy.proxy_port):
        process = start(proxy, har, "--requests", "1000000")
        part = tmp_path / "traffic.har.part"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (part.exists() and part.stat().st_size > 2000):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        code, err = ended(process)
    assert code == 0, err
    log = log_of(har)
    assert log["_understudy"]["ended"] == "asked"
    assert len(log["entries"]) == log["_understudy"]["requests"] > 0
    assert not part.exists()


def test_a_reader_that_leaves_ends_the_recording(proxy: Serving, tmp_path: Path) -> None:
    """Killed outright; soon there may be another one."""
    process = start(proxy, tmp_path / "one.har", "--seconds", "600")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "one.har.part").exists() or not (tmp_path / "one.har.part").stat().st_size:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    code, err = ended(start(proxy, tmp_path / "two.har", "--seconds", "0.2"))
    assert code == 1
    assert "there is a recording already" in err
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    while True:
        code, err = ended(start(proxy, tmp_path / "two.har", "--seconds", "0.2"))
        if "there is a recording already" not in err:
            break
        assert time.monotonic() < deadline, err
    assert code == 1
    assert "nothing passed that the recording asked for" in err


def test_nobody_at_home_is_told(tmp_path: Path) -> None:
    """With the address, and nothing is left behind."""
    admin = "http://127.0.0.1:1"
    command = [sys.executable, "-m", "understudy", "record", "--admin", admin, "-o", "x.har"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert f"no answer from {admin}" in done.stderr
    assert list(tmp_path.iterdir()) == []
