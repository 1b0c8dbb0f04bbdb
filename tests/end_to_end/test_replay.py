"""``understudy replay`` as a pipeline runs it: real processes, real services, exit codes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.config import read_file

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "ci").glob("*.yml"))
DEADLINE_SECONDS = 200.0

Answer = Callable[[str], dict[str, Any] | None]
TICKS = count()


def released(path: str) -> dict[str, Any] | None:
    """A shop whose answers carry a counter that nobody can predict."""
    return {"path": path, "price": 9.5, "tick": next(TICKS)}


def wrong(path: str) -> dict[str, Any] | None:
    """The same shop with a price that became text."""
    return {"path": path, "price": "9.5", "tick": next(TICKS)}


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A service that answers each GET with JSON; None hangs up. The URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one segment

        def do_GET(self) -> None:
            document = answer(self.path)
            if document is None:
                self.close_connection = True
                return
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def har(folder: Path, *, requests: int, gap_seconds: float = 0.01) -> Path:
    """A recording of *requests* orders."""
    entries = [
        {
            "startedDateTime": f"2025-03-01T10:{int(n * gap_seconds) // 60:02}:{n * gap_seconds % 60:09.6f}Z",
            "request": {
                "method": "GET",
                "url": f"https://shop.example/orders/{n}?page=1",
                "headers": [{"name": "Accept", "value": "application/json"}],
            },
            "response": {"status": 200, "content": {"text": "x" * 100}},
        }
        for n in range(requests)
    ]
    path = folder / "traffic.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def replay(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "understudy", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)


@pytest.mark.parametrize(
    ("candidate", "requests", "options", "code", "verdict"),
    [
        (released, 450, ["--control-share", "1"], 0, "clean"),
        (wrong, 100, ["--control-share", "1"], 1, "regression"),
        (released, 60, ["--control-share", "1"], 2, "undecided"),
        (released, 60, ["--fail-on", "undecided"], 1, "undecided"),
    ],
)
def test_the_exit_code_is_the_verdict(
    candidate: Answer, requests: int, options: list[str], code: int, verdict: str, tmp_path: Path
) -> None:
    """Standard output is the report alone, and can be read by a program."""
    with serving(released) as first, serving(candidate) as second:
        sides = ["--primary", first, "--candidate", second]
        done = replay(har(tmp_path, requests=requests), *sides, "--format", "json", *options)
    assert done.returncode == code, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == verdict
    assert report["mirror"]["eligible"] == report["mirror"]["answered"] == requests
    assert "Traceback" not in done.stderr


def test_a_candidate_that_dies_half_way_does_not_stop_the_replay(tmp_path: Path) -> None:
    """The rest is counted as failed, and the verdict is undecided."""
    alive = threading.Semaphore(450)

    def mortal(path: str) -> dict[str, Any] | None:
        return released(path) if alive.acquire(blocking=False) else None

    with serving(released) as first, serving(mortal) as second:
        done = replay(
            har(tmp_path, requests=900), "--primary", first, "--candidate", second, "--format", "json"
        )
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (2, "undecided")
    assert report["mirror"]["answered"] == 450
    assert sum(report["mirror"]["failed"].values()) == 450


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    """What is whole is replayed; the text says where the file breaks off."""
    path = har(tmp_path, requests=40)
    path.write_bytes(path.read_bytes()[:-500])
    with serving(released) as first, serving(wrong) as second:
        done = replay(path, "--primary", first, "--candidate", second)
    assert done.returncode in (1, 2)
    told = " ".join(done.stdout.split())
    assert "traffic.har breaks off: it ends inside the value at character" in told


def test_ctrl_c_ends_with_the_report_so_far(tmp_path: Path) -> None:
    """Status 130, whatever the verdict so far is."""
    asked = threading.Semaphore(0)

    def telling(path: str) -> dict[str, Any] | None:
        asked.release()
        return released(path)

    with serving(released) as first, serving(telling) as second:
        sides = ["--primary", first, "--candidate", second]
        command = ["replay", str(har(tmp_path, requests=1000)), *sides, "--rate", "20", "--format", "json"]
        command += ["--concurrency", "1"]  # so that the first is over once the second is asked
        process = subprocess.Popen(
            [sys.executable, "-m", "understudy", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert all(asked.acquire(timeout=DEADLINE_SECONDS) for _ in range(2))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, err
    report = json.loads(out)
    assert report["replay"]["ended"] == "interrupted"
    assert 0 < report["replay"]["played"] < 1000


def test_the_recorded_pace_is_kept(tmp_path: Path) -> None:
    """100 requests that came in a second take half of it at twice the speed, and no less."""
    with serving(released) as first, serving(released) as second:
        began_at = time.monotonic()
        sides = ["--primary", first, "--candidate", second]
        done = replay(
            har(tmp_path, requests=100), *sides, "--as-recorded", "--speed", "2", "--format", "json"
        )
        took = time.monotonic() - began_at
    assert json.loads(done.stdout)["replay"]["seconds"] >= 0.49
    assert took > 0.49


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["none.har"], 1, "error: none.har: there is no such file"),
        (["other.json"], 1, "error: other.json: is no HAR: it has no 'log'"),
        (["post.har"], 1, "--methods GET,POST or --all-methods asks more than GET, HEAD and OPTIONS"),
        (["post.har", "--all-methods", "--from", "nobody"], 1, "there are shop.example"),
        (["post.har", "--candidate", "shop:80"], 64, 'error: --candidate: "shop:80" has no scheme'),
        (
            ["post.har", "--candidate", "http://h:1/v2"],
            64,
            "has a path; requests keep the path they came with",
        ),
        (["post.har", "--candidate", "http://127.0.0.1:1/"], 64, "--candidate is the primary itself"),
        (["post.har", "--rate", "5", "--as-recorded"], 64, "--rate and --as-recorded are two paces"),
        (["post.har", "--timeout", "5 parsecs"], 64, 'error: --timeout: "5 parsecs" is not a duration'),
        (["post.har", "--header", "x"], 64, "--header 'x' is not a field"),
        (["post.har", "--insecure"], 64, "no service is https://"),
        (["post.har", "--candidate", "https://h", "--ca", "no.pem"], 64, "no.pem cannot be read"),
        (["post.har", "--rules", "other.json"], 1, "other.json: has no compare rules"),
        (["post.har", "--rules", "wrong.yaml"], 1, "compare[0].ignor: unknown key"),
        (["post.har", "--control-share", "2"], 64, "'--control-share'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(
    arguments: list[str], code: int, error: str, tmp_path: Path
) -> None:
    """With the place and the mend, and no traceback."""
    post = {"request": {"method": "POST", "url": "http://shop.example/x"}}
    (tmp_path / "post.har").write_text(json.dumps({"log": {"entries": [post]}}))
    (tmp_path / "other.json").write_text('{"openapi": "3.1"}')
    (tmp_path / "wrong.yaml").write_text('compare: [{endpoint: "*", ignor: [/body/x]}]')
    sides = ["--primary", "http://127.0.0.1:1", "--candidate", "http://127.0.0.1:2"]
    done = subprocess.run(
        [sys.executable, "-m", "understudy", "replay", *sides, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert error in " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def commands(document: object) -> Iterator[str]:
    """Every shell command with ``understudy replay`` in a pipeline."""
    if isinstance(document, str):
        if document.startswith("understudy replay"):
            yield document
    elif isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from commands(value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_the_commands_of_the_pipelines_work(path: Path, tmp_path: Path) -> None:
    """As they stand in the examples, but for the addresses; the files they promise are there."""
    found = list(commands(yaml.safe_load(path.read_text())))
    assert len(found) == 1
    (tmp_path / "tests").mkdir()
    har(tmp_path / "tests", requests=150)
    (tmp_path / "tests" / "compare.yaml").write_text('compare: [{endpoint: "*", ignore: [/body/tick]}]')
    with serving(released) as first, serving(released) as second:
        command = re.sub(r"--primary \S+", f"--primary {first}", found[0])
        command = re.sub(r"--candidate \S+", f"--candidate {second}", command)
        words = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    for file in re.findall(r"--output (\S+)", command):
        assert (tmp_path / file).stat().st_size > 100


def test_the_rules_in_the_page_are_valid(tmp_path: Path) -> None:
    """What a reader copies works."""
    text = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    found = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    (tmp_path / "compare.yaml").write_text(found[0])
    assert isinstance(read_file(tmp_path / "compare.yaml"), dict)
    with serving(released) as first, serving(released) as second:
        sides = ["--primary", first, "--candidate", second]
        done = replay(har(tmp_path, requests=5), *sides, "--rules", tmp_path / "compare.yaml")
    assert done.returncode == 2


def test_every_option_in_the_page_exists() -> None:
    """Those that the page names are those that the two commands take."""
    text = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    environ = {**os.environ, "COLUMNS": "200"}
    helps = ""
    for name in ("record", "replay"):
        command = [sys.executable, "-m", "understudy", name, "--help"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environ, timeout=DEADLINE_SECONDS, check=True
        )
        helps += done.stdout
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert {option for option in named if option not in helps} == set()
