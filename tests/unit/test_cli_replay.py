"""What `understudy replay` shows while it runs."""

import io

import pytest
from rich.console import Console

from understudy.cli.replay_bar import ReplayBar
from understudy.replay import Progress


def progress(played: int, failing: int = 0) -> Progress:
    return Progress(total=200, played=played, differing=3, failing=failing, verdict="undecided")


def test_a_terminal_gets_a_bar() -> None:
    """How far, how fast, what differs, what fails, and the verdict so far."""
    file = io.StringIO()
    with ReplayBar(200, Console(file=file, force_terminal=True, width=120)) as bar:
        bar.show(progress(50, failing=2))
    shown = file.getvalue()
    assert "50/200" in shown
    assert "3 differing, 2 failing, undecided so far" in shown


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, however often progress is told; nothing is drawn over."""
    times = iter([0.0, 1.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr("understudy.cli.replay_bar.time.monotonic", lambda: next(times))
    file = io.StringIO()
    with ReplayBar(200, Console(file=file, force_terminal=False, width=120)) as bar:
        for played in (10, 110, 120, 200):
            bar.show(progress(played))
    assert file.getvalue().splitlines() == [
        "replay: 110 of 200, 10/s, 3 differing, undecided so far",
        "replay: 200 of 200, 9/s, 3 differing, undecided so far",
    ]
