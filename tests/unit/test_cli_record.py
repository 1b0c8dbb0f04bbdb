"""`understudy record` when something goes wrong: what has come is kept, and the exit code is honest."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEAD = b'{"log":{"version":"1.2","entries":['
ENTRY = json.dumps(
    {"startedDateTime": "2026-01-01T00:00:00Z", "request": {"method": "GET", "url": "http://h/"}},
    separators=(",", ":"),
).encode()


class Stage:
    """A scripted admin API: *deleted* answers DELETE, *went* is set once the first entry is on its way."""

    def __init__(self, deleted: int) -> None:
        self.went = threading.Event()
        self.over = threading.Event()
        stage = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(HEAD + b"\n" + ENTRY)
                self.wfile.flush()
                stage.went.set()
                stage.over.wait(60)

            def do_DELETE(self) -> None:
                self.send_error(deleted)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def playing(deleted: int = 502) -> Iterator[Stage]:
    stage = Stage(deleted)
    thread = threading.Thread(target=stage.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stage
    finally:
        stage.over.set()
        stage.server.shutdown()
        stage.server.server_close()


def record(stage: Stage, output: Path, then: Callable[["subprocess.Popen[str]"], None]) -> tuple[int, str]:
    """How `understudy record` into *output* ends when *then* is done once something came."""
    command = [sys.executable, "-m", "understudy", "record", "--admin", stage.url, "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert stage.went.wait(60)
        part = output.with_name(output.name + ".part")
        while process.poll() is None and not (part.exists() and part.read_bytes().endswith(ENTRY)):
            time.sleep(0.01)
        then(process)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, err


def test_ctrl_c_that_nobody_hears_keeps_what_came(tmp_path: Path) -> None:
    """The control process may be gone or in trouble; the requests are still worth having."""
    output = tmp_path / "traffic.har"
    with playing(deleted=502) as stage:
        code, err = record(stage, output, lambda process: process.send_signal(signal.SIGINT))
    assert code == 130
    assert "breaks off: interrupted" in err
    assert output.read_bytes().endswith(ENTRY)
    assert list(tmp_path.iterdir()) == [output]


def test_a_proxy_that_leaves_keeps_what_came(tmp_path: Path) -> None:
    """As when the control process is killed."""
    output = tmp_path / "traffic.har"
    with playing() as stage:
        code, err = record(stage, output, lambda _process: stage.over.set())
    assert code == 3
    assert "breaks off" in err
    assert output.read_bytes().endswith(ENTRY)


def test_a_full_disk_is_no_empty_recording(tmp_path: Path) -> None:
    """Exit 1 would say that nothing passed. Nothing is left in the way."""
    command = 'ulimit -f 0; exec "$0" -m understudy record --admin "$1" -o x.har'
    with playing() as stage:
        stage.over.set()
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, stage.url],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (73, "error: nothing was recorded: File too large\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    """With its name, and not as an empty recording."""
    with playing() as stage:
        stage.over.set()
        command = [sys.executable, "-m", "understudy", "record", "--admin", stage.url, "-o"]
        output = tmp_path / "nowhere" / "x.har"
        done = subprocess.run(
            [*command, str(output)], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (73, f"error: {output}.part: No such file or directory\n")


def test_a_refusal_does_not_touch_the_file_of_another(tmp_path: Path) -> None:
    """The second of two recordings into one file is refused; the first goes on writing."""
    part = tmp_path / "traffic.har.part"
    part.write_bytes(HEAD)

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b'{"title": "busy", "detail": "there is a recording already"}'
            self.send_response(409)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.handle_request, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, "-m", "understudy", "record", "--admin", url, "-o", "traffic.har"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    server.server_close()
    assert (done.returncode, done.stderr) == (1, "error: there is a recording already\n")
    assert part.read_bytes() == HEAD
