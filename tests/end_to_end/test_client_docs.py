"""Every example of docs/client.md works as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import Serving, UnderstudyServe

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def serving(understudy_serve: UnderstudyServe) -> Serving:
    """With the flags that the page shows."""
    (flags,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return understudy_serve(f'store: memory://\nservices: {{shop: {{url: "http://127.0.0.1:9"}}}}\n{flags}')


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(serving: Serving, number: int, tmp_path: Path) -> None:
    """In a process and a folder of its own, at this server."""
    text = EXAMPLES[number].replace("http://127.0.0.1:9090", f"http://127.0.0.1:{serving.admin_port}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_there_are_examples() -> None:
    """They were found."""
    assert len(EXAMPLES) >= 7
