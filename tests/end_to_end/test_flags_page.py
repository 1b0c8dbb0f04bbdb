"""What docs/flags.md says is what happens: its configuration, its commands and their answers."""

import http.client
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from servers import Serving, UnderstudyServe

PAGE = (Path(__file__).parents[2] / "docs" / "flags.md").read_text(encoding="utf-8")
SERVICES = 'services: {shop: {url: "http://127.0.0.1:9"}}\nstore: memory://\n'

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def serving(understudy_serve: UnderstudyServe) -> Serving:
    """The page's configuration, served."""
    return understudy_serve(SERVICES + blocks("yaml")[0])


def shell(serving: Serving, command: str) -> Any:
    """The JSON that *command* prints when it asks *serving*."""
    asked = command.replace("127.0.0.1:9090", f"127.0.0.1:{serving.admin_port}")
    done = subprocess.run(["sh", "-ec", asked.replace("curl ", "curl -sS ")], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_unit_is_asked_for_with_curl(serving: Serving) -> None:
    """The answer is the one on the page."""
    assert shell(serving, blocks("sh")[0]) == json.loads(blocks("json")[0])


def test_flags_are_asked_for_with_curl(serving: Serving) -> None:
    """One flag and all flags; curl's own content type is no hindrance."""
    one, every = blocks("sh")[1].splitlines()
    answer = shell(serving, one)

    assert answer["key"] == "new-search"
    assert answer["variant"] in ("on", "off")
    assert shell(serving, every)["flags"] == [answer]


def test_a_kill_is_an_event_like_the_one_on_the_page(serving: Serving) -> None:
    """The same fields, in the same order."""
    assert serving.admin("/api/v1/flags/new-search/kill", method="POST").status == 200
    told = first_event(serving)
    event = blocks("text")[0]

    assert re.sub(r"\d+", "N", told.removeprefix("retry: 2000\n\n").strip()) == re.sub(
        r"\d+", "N", event.strip()
    )


def first_event(serving: Serving) -> str:
    """What the stream says first, to the end of an event's data."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.admin_port, timeout=60)
    try:
        connection.request("GET", "/ofrep/v1/sse")
        answer, told = connection.getresponse(), ""
        while "\ndata: " not in told or not told.endswith("\n"):
            line = answer.readline()
            assert line, f"the stream has ended: {told}"
            told += line.decode()
        return told
    finally:
        connection.close()
