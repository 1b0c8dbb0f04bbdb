"""Each command of docs/controller.md does, on a real serve, what the page shows."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import UnderstudyServe

PAGE = (Path(__file__).parents[2] / "docs" / "controller.md").read_text(encoding="utf-8")
COMMAND = re.compile(
    r"^\$ (?P<command>.*?)\n# (?P<status>\d{3})\n(?P<answer>.*?)(?=^\$ |\Z)", re.DOTALL | re.MULTILINE
)


def commands() -> Iterator[tuple[str, int, Any]]:
    """Each command with the status and the answer that stand below it."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        found = list(COMMAND.finditer(block))
        assert len(found) == block.count("$ curl"), f"not every command has a status below it: {block}"
        for one in found:
            yield one["command"], int(one["status"]), json.loads(one["answer"])


def differences(shown: Any, given: Any, path: str = "") -> Iterator[str]:
    """Where *given* is other than *shown*, which may leave out keys of objects."""
    if isinstance(shown, dict) and isinstance(given, dict):
        for key, value in shown.items():
            yield from differences(value, given.get(key, "nothing"), f"{path}/{key}")
    elif isinstance(shown, list) and isinstance(given, list) and len(shown) == len(given):
        for at, pair in enumerate(zip(shown, given, strict=True)):
            yield from differences(*pair, f"{path}/{at}")
    elif shown != given:
        yield f"{path}: the page shows {shown!r}, the server answered {given!r}"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page is about curl")
def test_every_command_of_the_page_answers_as_shown(understudy_serve: UnderstudyServe) -> None:
    """In the order of the page: statuses, and every value that is shown."""
    (settings,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    serving = understudy_serve(settings)
    asked = 0
    for command, status, shown in commands():
        here = command.replace("127.0.0.1:9090", f"127.0.0.1:{serving.admin_port}")
        done = subprocess.run(
            ["sh", "-c", f"{here} -w '\\n%{{http_code}}'"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        body, _, answered = done.stdout.rpartition("\n")
        assert answered == str(status), f"{command}\n{body}"
        assert list(differences(shown, json.loads(body))) == [], command
        asked += 1
    assert asked > 20
