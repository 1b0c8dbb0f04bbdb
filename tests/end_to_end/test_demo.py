"""``understudy demo`` as a newcomer runs it, and as an impatient one ends it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_world import PATIENCE_SECONDS, wait_until

DEADLINE_SECONDS = 250.0


def demo(folder: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "understudy", "demo", "--folder", str(folder), *options]


def left_running(folder: Path) -> Iterator[str]:
    """Command lines of processes that name *folder*, or that have one of its files open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            files = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if str(folder) in command or any(name.startswith(str(folder)) for name in files):
            yield command


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One whole demo, to its end."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        demo(folder, "--once"), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    return done, folder


def test_the_demo_finds_what_was_planted(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """It ends with status 0, which it does only when every fault was found and no noise was blamed."""
    done, _ = finished
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "discount taken twice" in done.stdout


def test_the_demo_leaves_its_report_on_disk(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """The same report lies in the folder, as a page and as JSON."""
    _, folder = finished
    assert json.loads((folder / "report.json").read_bytes())["verdict"] == "regression"
    assert "GET /recommendations" in (folder / "report.html").read_text()


def test_the_demo_leaves_nothing_running(
    finished: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    """Shops, supervisor, workers and control process are gone when the demo is."""
    _, folder = finished
    wait_until(lambda: not list(left_running(folder)), "the end of everything")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(number: int, tmp_path: Path) -> None:
    """Ended in the middle of its traffic it says so in a line, and takes its children along."""
    with subprocess.Popen(
        demo(tmp_path, "--once", "--requests", "100000"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as running:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not serves(tmp_path) and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(number)
        said, _ = running.communicate(timeout=PATIENCE_SECONDS)
    assert (running.returncode, b"Traceback" in said) == (130, False), said.decode()
    assert b"Stopped." in said
    wait_until(lambda: not list(left_running(tmp_path)), "the end of everything")


def serves(folder: Path) -> bool:
    """Whether the demo's proxy has opened its store, so that every child is there."""
    return (folder / "understudy.db").exists()
