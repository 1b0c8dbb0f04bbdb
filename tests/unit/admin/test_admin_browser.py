"""The live page in a real browser, over a real socket, under its real policy."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from admin_fakes import REPORT, FakeControl

from understudy.admin import create_admin

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
)
SCRIPT = "</pre><script>document.title='PWNED'</script><img src=x onerror=document.title='PWNED'>"


class Counting(FakeControl):
    """Every report counts one exchange more, and holds a sample that would like to be a script."""

    asked = 0

    async def report(self) -> dict[str, Any]:
        """The report of this moment."""
        self.asked += 1
        found = {"path": SCRIPT, "kind": "value", "verdict": "regression", "samples": [{"primary": SCRIPT}]}
        rows = [{"endpoint": "GET /" + SCRIPT, "service": "v2", "exchanges": 1, "findings": [found]}]
        return REPORT | {"exchanges": 1000 + self.asked, "rules_version": self.asked, "endpoints": rows}


async def browsed(url: str, profile: Path) -> str:
    """The document at *url* after twelve seconds of the page's own time."""
    assert CHROMIUM is not None
    arguments = [*FLAGS, "--virtual-time-budget=12000", f"--user-data-dir={profile}", url]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(CHROMIUM, *arguments, stdout=pipe, stderr=pipe)
    output, _ = await process.communicate()
    return output.decode()


@pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the live page was not tried in a browser")
async def test_the_live_page_refreshes_and_runs_nothing_else(tmp_path: Path) -> None:
    """Its script swaps in newer reports, and no sample runs, neither at first nor after a swap."""
    control = Counting()
    config = uvicorn.Config(create_admin(control), port=0, log_level="critical", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[socket]))
            document = await browsed(f"http://127.0.0.1:{socket.getsockname()[1]}/", tmp_path)
            server.should_exit = True
    finally:
        socket.close()

    assert control.asked >= 3
    assert f"<dd>{1000 + control.asked:,}</dd>" in document
    assert f"Rules version {control.asked}<" in document
    assert "Live · " in document
    assert "<title>Clean · Understudy report</title>" in document
