"""A real browser on a real admin server, in front of a control plane in memory."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from admin_fakes import FakeControl
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from store_servers import free_port

from understudy.admin import create_admin

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 60

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="NO CHROMIUM: the live page was not tried in a browser"
)


@dataclass
class Stage(FakeControl):
    """Its report can be changed; compare rules that are written make findings ignored, as in earnest."""

    asked: int = 0

    async def report(self) -> dict[str, Any]:
        await self._answer()
        self.asked += 1
        rules = self.versions[-1].document["compare"]
        ignored = {(rule["endpoint"], path) for rule in rules for path in rule.get("ignore", ())}
        endpoints = [
            row
            | {
                "findings": [
                    found | ({"verdict": "ignored"} if (row["endpoint"], found["path"]) in ignored else {})
                    for found in row["findings"]
                ]
            }
            for row in self.evidence["endpoints"]
        ]
        return self.evidence | {"endpoints": endpoints, "rules_version": self.versions[-1].version}

    def revision(self) -> int:
        return self.changes + 1000 * self.versions[-1].version

    def show(self, report: dict[str, Any]) -> None:
        """From now on the report is *report*, and whoever listens is told."""
        self.evidence = report
        self.changes += 1


@dataclass
class Browser:
    """One tab of Chromium, and what it complained of."""

    driver: webdriver.Chrome
    url: str = ""
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Load *url*, on a screen of the usual size."""
        self.url = url
        self.resize(1200, 900)
        self.driver.get(url)

    def resize(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """Become a screen of that size, in light or in dark mode."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {script}")

    def text(self, selector: str) -> str:
        """What is written in the first element that *selector* finds; empty when there is none."""
        return str(self.ask(f"(document.querySelector({selector!r}) || {{}}).textContent || ''"))

    def until(self, condition: str | Callable[[], Any], why: str = "") -> Any:
        """Wait until a JavaScript expression, or a function, is true; its value."""

        def holds(_: object) -> Any:
            return self.ask(condition) if isinstance(condition, str) else condition()

        wait = WebDriverWait(self.driver, PATIENCE_SECONDS, poll_frequency=0.05)
        return wait.until(holds, why or str(condition))

    def press(self, *keys: str) -> None:
        """Type on the keyboard, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def console(self) -> list[str]:
        """Every warning and error since the last call: failed scripts, refused resources, broken policies."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] != "INFO"]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Chromium with a fresh *profile*, until the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as driver:
        yield Browser(driver)


class Theatre:
    """The admin server in a thread; ``close`` and ``open`` again at the same port, as a restart does."""

    def __init__(self, control: FakeControl) -> None:
        self._control = control
        self._port = free_port()
        self.open()

    @property
    def url(self) -> str:
        """Where the live page is."""
        return f"http://127.0.0.1:{self._port}/"

    def open(self) -> None:
        """Listen, and serve in a thread."""
        self._stopping = asyncio.Event()
        app = create_admin(self._control, stopping=self._stopping)
        config = uvicorn.Config(app, port=self._port, log_level="critical", ws="none", lifespan="off")
        self._server, self._socket = uvicorn.Server(config), config.bind_socket()
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._server.started:  # uvicorn tells nobody
            assert time.monotonic() < until, "the admin server does not listen"
            time.sleep(0.002)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def close(self) -> None:
        """Stop, which ends every stream of events too."""
        self._server.should_exit = True
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._socket.close()
