"""Shops under servers that people run: how each is started, asked, left and read afterwards."""

import asyncio
import http.client
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import waitress
from http2_client import Client, Fields, connected
from server_shops import second
from servers import ANSWER_SECONDS, Server
from store_servers import free_port
from waitress import wasyncore

from understudy.middleware import Understudy

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LEFT = 1000
"""How many lines has the stream that its client leaves: more than fits between the two."""
PYTHON = (sys.executable, "-m")
SERVE = (sys.executable, str(HERE / "serve_shop.py"))

RULES = """
flags:
  shop:
    state: ENABLED
    variants: {stable: {serve: app}, canary: {serve: v2}, dark: {serve: app, mirror: [v2]}}
    defaultVariant: stable
    targeting: {fractional: [[canary, 20], [dark, 50], [stable, 30]]}
routes: [{path: /, flag: shop, unit: 'header:x-user', mirror_methods: [GET, POST]}]
"""
CONFIG = (
    "store: sqlite:///{folder}/understudy.db\nservices: {{v2: {{url: 'http://127.0.0.1:{v2}'}}}}\n"
    "shadow: {{control: 0, confirm: false, timeout: 30s}}\nlimits: {{drain_timeout: 30s}}\n"
)

GUNICORN = (*PYTHON, "gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}", "--graceful-timeout", "40")
THREADS = (*GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", "server_shops:app")
HTTP2 = ("--http-protocols", "h2", "--http2-cleartext", "prior-knowledge")
TLS = ("--certfile", "{folder}/cert.pem", "--keyfile", "{folder}/key.pem")
UVICORN = (*PYTHON, "uvicorn", "server_shops:app", "--port", "{port}", "--timeout-graceful-shutdown", "40")
HYPERCORN = (*PYTHON, "hypercorn", "server_shops:app", "-b", "127.0.0.1:{port}")
GRANIAN = (*PYTHON, "granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2", "--interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a shop is served; *speaks* is the version of HTTP that its clients do."""

    shop: str
    command: tuple[str, ...]
    speaks: int = 1
    has_tls: bool = False
    status: int = 0
    """Of its exit once it is told to stop; uvicorn ends by that signal when all is done."""


SERVERS = {
    "hypercorn": How(
        shop="starlette",
        command=(*HYPERCORN, *TLS),
        speaks=2,
        has_tls=True,
    ),
    "hypercorn-http1": How(shop="starlette", command=HYPERCORN),
    "granian": How(shop="starlette", command=(*GRANIAN, "asgi", "server_shops:app"), speaks=2),
    "gunicorn-asgi": How(shop="starlette", command=(*GUNICORN, "-k", "asgi", "server_shops:app")),
    "gunicorn-asgi-http2": How(
        shop="starlette", command=(*GUNICORN, "-k", "asgi", *HTTP2, "server_shops:app"), speaks=2
    ),
    "gunicorn-django": How(shop="django", command=THREADS),
    "gunicorn-bottle-http2": How(shop="bottle", command=(*THREADS, *HTTP2), speaks=2),
    "gunicorn-bottle": How(shop="bottle", command=THREADS),
    "uvicorn": How(shop="starlette", command=UVICORN, status=-signal.SIGTERM),
    "waitress-django": How(shop="django", command=(*SERVE, "waitress", "{port}")),
    "waitress-bottle": How(shop="bottle", command=(*SERVE, "waitress", "{port}")),
    "gunicorn-gevent": How(shop="django", command=(*GUNICORN, "-w", "2", "-k", "gevent", "server_shops:app")),
    "gevent-bottle": How(shop="bottle", command=(*SERVE, "gevent", "{port}")),
    "granian-django": How(shop="django", command=(*GRANIAN, "wsgi", "server_shops:app")),
}

REPLACED = ("gunicorn-django", "gunicorn-gevent")
"""Those with processes that are replaced while they answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A shop that is served, and where it leaves what."""

    server: Server
    folder: Path
    tls: ssl.SSLContext | None
    how: How

    @property
    def closed(self) -> list[int]:
        """The lengths of the streams that were closed, once for each time."""
        file = self.folder / "closed"
        return sorted(map(int, file.read_text().split())) if file.exists() else []


@contextmanager
def shop(folder: Path, v2: int, how: How, rules: str = RULES) -> Iterator[Shop]:
    """The shop, served by *rules*."""
    config = folder / "understudy.yaml"
    config.write_text(CONFIG.format(folder=folder, v2=v2) + rules)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "cert.pem"), append=number > 0)
    tls = None
    if how.has_tls:
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
        tls.set_alpn_protocols(["h2"])
    port = free_port()
    server = Server.start(
        [part.format(port=port, folder=folder) for part in how.command],
        port=port,
        folder=folder,
        environ={
            "SHOP": how.shop,
            "UNDERSTUDY_CONFIG": str(config),
            "CLOSED": str(folder / "closed"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]),
        },
    )
    try:
        yield Shop(server=server, folder=folder, tls=tls, how=how)
    finally:
        server.stop()


@contextmanager
def other_shop() -> Iterator[int]:
    """The other version of the shop, in this process: its port."""
    channels: dict[int, Any] = {}
    server: Any = waitress.create_server(second(), map=channels, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        server.task_dispatcher.shutdown()
        until(lambda: len(channels) <= 2, "all clients are gone, and what listens and the trigger stay")
        # In the server's own thread, which ends when it has nothing left.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(channels))
        thread.join(ANSWER_SECONDS)


# -- who asks --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a user; with a body it is a POST."""

    user: str
    path: str
    body: bytes = b""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of it; fields by their names in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes


def ask(shop: Shop, requests: Sequence[Asked]) -> list[Answered]:
    """The answers to all: at once over one connection of HTTP/2, or four at a time, each over its own."""
    if shop.how.speaks == 2:
        return asyncio.run(_ask_at_once(shop, requests))
    with ThreadPoolExecutor(4) as users:
        return list(users.map(lambda asked: _ask_one(shop.server.port, asked), requests))


def _ask_one(port: int, asked: Asked) -> Answered:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request(asked.method, asked.path, asked.body or None, {"X-User": asked.user})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Answered(status=answer.status, fields=fields, body=answer.read())
    finally:
        connection.close()


async def _ask_at_once(shop: Shop, requests: Sequence[Asked]) -> list[Answered]:
    async def one(client: Client, asked: Asked) -> Answered:
        fields: Fields = [("x-user", asked.user)]
        stream = client.open(asked.method, asked.path, fields, has_body=bool(asked.body))
        if asked.body:
            await client.send(stream, asked.body, is_last=True)
        await stream.whole()
        return Answered(status=stream.status, fields=stream.fields, body=stream.body)

    async with connected(shop.server.port, tls=shop.tls) as client:
        return await asyncio.gather(*(one(client, asked) for asked in requests))


def leave(shop: Shop, asked: Asked) -> None:
    """Ask, and leave in the middle of the answer."""
    if shop.how.speaks == 2:
        asyncio.run(_reset(shop, asked))
        return
    with socket.create_connection(("127.0.0.1", shop.server.port), timeout=ANSWER_SECONDS) as client:
        head = f"GET {asked.path} HTTP/1.1\r\nHost: shop.example\r\nX-User: {asked.user}\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")


async def _reset(shop: Shop, asked: Asked) -> None:
    async with connected(shop.server.port, tls=shop.tls) as client:
        stream = client.open("GET", asked.path, [("x-user", asked.user)])
        await stream.until_body(10_000)
        client.reset(stream)
        again = client.open("GET", "/orders/0", [("x-user", asked.user)])
        await again.whole()


# -- what it left ------------------------------------------------------------------------------------------


def report(folder: Path, *, eligible: int) -> dict[str, Any]:
    """What stands in the store, read as any process would."""

    async def read() -> dict[str, Any]:
        services = {"v2": {"url": "http://127.0.0.1:9"}}
        understudy = Understudy({"store": f"sqlite:///{folder}/understudy.db", "services": services})
        try:
            limit = time.monotonic() + ANSWER_SECONDS
            while (found := await understudy.report())["mirror"]["eligible"] < eligible:
                if time.monotonic() > limit:
                    break  # whoever asked sees what is missing
                await asyncio.sleep(0.02)  # the evidence is read after the rules
            return found
        finally:
            await understudy.stop()

    return asyncio.run(read())


def until(told: Callable[[], object], what: str) -> None:
    """Wait for *told*. Fails with *what* after a minute."""
    limit = time.monotonic() + ANSWER_SECONDS
    while not told():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def until_told(shop: Shop, words: str, *, times: int = 1) -> None:
    """Wait until the server's log says *words* so often."""
    until(lambda: shop.server.log.read_text().count(words) >= times, words)
