"""The middleware where threads are greenlets: in a process of its own, for it patches all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FACTS = ("a_hung_canary", "a_busy_loop", "wakers", "busy_greenlets", "a_function", "controls", "an_end")


@pytest.mark.parametrize("fact", FACTS)
def test_greenlets_and_what_mirrors_leave_each_other_alone(fact: str) -> None:
    """As the docstring of each fact says; the process ends in order, and nothing failed in a greenlet."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "gevent_facts.py"), fact],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
