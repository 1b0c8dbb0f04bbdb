"""What `understudy replay` shows while it runs, and what its options mean together."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from understudy.cli import app
from understudy.cli.replay_bar import ReplayBar
from understudy.cli.replayed import read_replay
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


def test_a_rules_document_leaves_the_redaction_of_the_configuration(tmp_path: Path) -> None:
    """`--rules` replaces compare rules; what is private stays private."""
    config = tmp_path / "understudy.yaml"
    config.write_text(
        "services: {v1: {url: 'http://127.0.0.1:9001'}}\n"
        "routes: [{path: /, serve: v1}]\n"
        "redact: {paths: [/body/name]}\n"
        "compare: [{endpoint: GET /a, ignore: [/body/x]}]\n"
    )
    rules = tmp_path / "rules.yaml"
    rules.write_text("compare: [{endpoint: GET /b, ignore: [/body/y]}]\n")
    har = tmp_path / "traffic.har"
    har.write_text('{"log": {"entries": [{"request": {"method": "GET", "url": "http://h/"}}]}}')
    asked: list[Any] = []

    def keep(arguments: Any, **_: Any) -> int:
        asked.append(read_replay(arguments))
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("understudy.cli.replayed.run", keep)
        sides = ["--primary", "http://127.0.0.1:9001", "--candidate", "http://127.0.0.1:9002"]
        result = CliRunner().invoke(
            app, ["replay", str(har), *sides, "-c", str(config), "--rules", str(rules)]
        )
    assert result.exit_code == 0, result.output
    assert asked[0].redact.paths == ("/body/name",)
    assert [rule.endpoint for rule in asked[0].compare] == ["GET /b"]
