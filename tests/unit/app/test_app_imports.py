"""What a start waits for: modules that it may never need are read when they are needed."""

import subprocess
import sys

import pytest

LATE = {"httpx", "jwt", "cryptography", "jinja2", "sqlalchemy", "alembic", "asyncpg", "redis", "deepdiff"}
CONTROL_ALONE = {"starlette", "uvicorn", "understudy.admin", "understudy.store", "understudy.report"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("understudy.app.control", LATE), ("understudy.app.worker", LATE | CONTROL_ALONE)],
)
def test_a_process_starts_without_what_it_may_never_need(module: str, unwanted: set[str]) -> None:
    """New workers wait for the control process, and requests for them, also with all stores away."""
    program = f"import sys, {module}; print(*sorted(set({sorted(unwanted)}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
