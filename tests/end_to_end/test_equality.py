"""The same requests through proxy, ASGI and WSGI: the run of ``benchmarks/equality.py``, shorter."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

REQUESTS = 1000


def test_three_front_doors_are_one() -> None:
    """The same variants and answers, the same bytes in each copy, the same findings, counts and books."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "equality.py"), "--requests", str(REQUESTS)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    told = json.loads(run.stdout)

    assert told["copies"] == dict.fromkeys(("proxy", "asgi", "wsgi"), told["variants"]["dark"])
    assert told["books"]["answered"] == told["variants"]["dark"] > 400
    assert told["findings"] > 5
    assert told["differing"] == {
        door: dict.fromkeys(("variants", "answers", "copies", "findings", "endpoints", "books"), 0)
        for door in ("asgi", "wsgi")
    }
