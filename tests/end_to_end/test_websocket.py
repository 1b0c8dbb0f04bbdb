"""WebSockets through the real command: a real service behind it, a library and a browser before it."""

import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from serve_world import PATIENCE_SECONDS, wait_until
from servers import Serving, StartServer, UnderstudyServe
from websockets.sync.client import ClientConnection, connect

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
SERVICE = Path(__file__).with_name("websocket_service.py")

CONFIG = """
store: memory://
services:
  v1: {{url: "http://127.0.0.1:{port}"}}
  v2: {{url: "http://127.0.0.1:{port}"}}
flags:
  chat:
    state: ENABLED
    variants: {{dark: {{serve: v1, mirror: [v2]}}}}
    defaultVariant: dark
routes:
  - {{path: /, flag: chat, unit: ip}}
"""


@pytest.fixture(scope="module")
def serving(
    free_port: Callable[[], int], start_server: StartServer, understudy_serve: UnderstudyServe
) -> Serving:
    """Understudy before the echoing service; every request would be mirrored if it could be."""
    port = free_port()
    start_server([sys.executable, str(SERVICE), str(port)], port=port)
    return understudy_serve(CONFIG.format(port=port))


def connected(serving: Serving, **more: Any) -> ClientConnection:
    """A client of the echo, with the time of a busy machine to open and to close, and no pings of its own."""
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{serving.proxy_port}/echo",
        open_timeout=PATIENCE_SECONDS,
        close_timeout=PATIENCE_SECONDS,
        ping_interval=None,
        **more,
    )
    return client


def test_a_library_talks_through_it(serving: Serving) -> None:
    """Text, two mebibytes, fragments, a ping and the closing handshake."""
    with connected(serving, max_size=None) as client:
        client.send("hello")
        assert client.recv(timeout=PATIENCE_SECONDS) == "hello"
        large = bytes(range(256)) * 8192
        client.send(large)
        assert client.recv(timeout=PATIENCE_SECONDS) == large
        client.send(["in ", "three ", "parts"])
        assert client.recv(timeout=PATIENCE_SECONDS) == "in three parts"
        assert client.ping().wait(timeout=PATIENCE_SECONDS)
    assert client.close_code == 1000


def test_many_at_once(serving: Serving) -> None:
    """Each of a hundred tunnels carries its own."""
    with ExitStack() as opened:
        clients = [opened.enter_context(connected(serving)) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(f"number {number}")
        assert [client.recv(timeout=PATIENCE_SECONDS) for client in clients] == [
            f"number {n}" for n in range(100)
        ]


@pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="NO CHROMIUM: no browser was tried on a WebSocket"
)
def test_a_browser_talks_through_it(serving: Serving, tmp_path: Path) -> None:
    """A page that came through the proxy opens a socket through the proxy, and closes it in order."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path}")
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER))) as browser:
        browser.get(f"http://127.0.0.1:{serving.proxy_port}/")
        WebDriverWait(browser, PATIENCE_SECONDS).until(lambda page: page.title.startswith("closed"))
        assert browser.title == "closed 1000 done"
        assert "from the browser and 3 bytes" in browser.page_source


def test_no_copy_is_made_of_a_tunnel(serving: Serving) -> None:
    """Counted as skipped; the tunnel itself is a request answered with a 101."""
    with connected(serving):
        wait_until(lambda: "understudy_tunnels 1.0" in serving.admin("/metrics").body.decode(), "the tunnel")
    wait_until(lambda: serving.report()["mirror"]["skipped"]["upgrade"] >= 1, "the copy that was not made")
    metrics = serving.admin("/metrics").body.decode()
    assert 'understudy_mirror_total{outcome="skipped_upgrade",service="v2"}' in metrics
    assert "understudy_errors_total{" not in metrics
