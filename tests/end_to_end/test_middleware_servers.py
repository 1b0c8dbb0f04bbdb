"""The middleware under servers that people run: all decide as `understudy.decide`, and lose no evidence."""

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import waitress
from http2_client import Client, Fields, connected
from server_shops import LINE, second
from servers import ANSWER_SECONDS, Server
from store_servers import free_port

from understudy.config import parse_rules, parse_yaml
from understudy.decide import compile_rules
from understudy.messages import RequestHead
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
    "shadow: {{control: 0, confirm: false, timeout: 2s}}\nlimits: {{drain_timeout: 3s}}\n"
)

GUNICORN = (*PYTHON, "gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}", "--graceful-timeout", "4")
THREADS = (*GUNICORN, "-w", "2", "-k", "gthread", "--threads", "4", "server_shops:app")
TLS = ("--certfile", "{folder}/cert.pem", "--keyfile", "{folder}/key.pem")
GRANIAN = (*PYTHON, "granian", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2", "--interface")


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a shop is served; *speaks* is the version of HTTP that its clients do."""

    shop: str
    command: tuple[str, ...]
    speaks: int = 1
    has_tls: bool = False


SERVERS = {
    "hypercorn": How(
        shop="starlette",
        command=(*PYTHON, "hypercorn", "-b", "127.0.0.1:{port}", *TLS, "server_shops:app"),
        speaks=2,
        has_tls=True,
    ),
    "granian": How(shop="starlette", command=(*GRANIAN, "asgi", "server_shops:app"), speaks=2),
    "gunicorn-asgi": How(shop="starlette", command=(*GUNICORN, "-k", "asgi", "server_shops:app")),
    "gunicorn-django": How(shop="django", command=THREADS),
    "gunicorn-gevent": How(shop="django", command=(*GUNICORN, "-w", "2", "-k", "gevent", "server_shops:app")),
    "waitress-django": How(shop="django", command=(*SERVE, "waitress", "{port}")),
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
    speaks: int

    @property
    def closed(self) -> list[int]:
        """The lengths of the streams that were closed, once for each time."""
        file = self.folder / "closed"
        return sorted(map(int, file.read_text().split())) if file.exists() else []


@contextmanager
def shop(folder: Path, v2: int, how: How) -> Iterator[Shop]:
    """The shop, served."""
    config = folder / "understudy.yaml"
    config.write_text(CONFIG.format(folder=folder, v2=v2) + RULES)
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
        yield Shop(server=server, folder=folder, tls=tls, speaks=how.speaks)
    finally:
        server.stop()


@contextmanager
def other_shop() -> Iterator[int]:
    """The other version of the shop, in this process: its port."""
    server: Any = waitress.create_server(second(), map={}, host="127.0.0.1", port=0, threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        server.trigger.pull_trigger(sys.exit)
        thread.join(5)
        server.close()


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
    if shop.speaks == 2:
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
    if shop.speaks == 2:
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


# -- what is expected ------------------------------------------------------------------------------------


def decided(users: Sequence[str]) -> dict[str, str]:
    """The variant of each user, by the rules alone."""
    rules = parse_rules(parse_yaml(RULES), services=["app", "v2"])
    compiled = compile_rules(flags=rules.flags, routes=rules.routes)
    found = {}
    for user in users:
        decision = compiled.decide(RequestHead(headers=((b"x-user", user.encode()),)))
        assert decision is not None
        found[user] = decision.variant
    return found


USERS = decided([f"user-{number}" for number in range(40)])
DARK, CANARY = (next(user for user, met in USERS.items() if met == variant) for variant in ("dark", "canary"))


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


def until(told: Any, what: str) -> None:
    """Wait for *told*. Fails with *what* after a minute."""
    limit = time.monotonic() + ANSWER_SECONDS
    while not told():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


def until_told(shop: Shop, words: str, *, times: int = 1) -> None:
    """Wait until the server's log says *words* so often."""
    until(lambda: shop.server.log.read_text().count(words) >= times, words)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_decides_streams_and_tells_all(tmp_path: Path, name: str) -> None:
    """Users meet what the rules say; streams come whole and are closed once; the exit loses no evidence."""
    requests = [
        Asked(user=user, path=f"/orders/{at}", body=b"x" * (at % 2) * 5000) for at, user in enumerate(USERS)
    ]
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        answers = ask(running, requests)
        streams = ask(running, [Asked(user=user, path="/lines/20") for user in (DARK, CANARY)])
        leave(running, Asked(user=DARK, path=f"/lines/{LEFT}"))
        until(lambda: LEFT in running.closed, "the stream that was left is closed")
        status = running.server.stop()
        told = report(tmp_path, eligible=1)

    assert not [answer for answer in answers if answer.status != 200]
    assert [answer.fields["x-variant"] for answer in answers] == list(USERS.values())
    for asked, answer in zip(requests, answers, strict=True):
        price = "2" if USERS[asked.user] == "canary" else "1"
        number = asked.path.rpartition("/")[2]
        assert json.loads(answer.body) == {"order": number, "read": len(asked.body), "price": price}
    assert [answer.body for answer in streams] == [LINE * 20] * 2
    assert running.closed == [20, LEFT]
    assert status == 0

    dark = Counter(USERS.values())["dark"] + 2 + (running.speaks == 2)
    mirror = told["mirror"]
    books = {key: n if isinstance(n, int) else sum(n.values()) for key, n in mirror.items()}
    assert books["eligible"] == dark == books["sent"] + books["skipped"] + books["dropped"], mirror
    assert books["sent"] == books["answered"] + books["failed"]
    # A server may take the whole of an answer that nobody reads any more: then that is compared, too.
    assert dark - 1 <= told["exchanges"] + told["passed_over"] <= dark, mirror
    found = {found["path"] for endpoint in told["endpoints"] for found in endpoint["findings"]}
    assert found == {"/body/price", "/headers/x-shop"}


@pytest.mark.parametrize("name", REPLACED)
def test_a_restart_of_the_workers_loses_no_evidence(tmp_path: Path, name: str) -> None:
    """HUP puts new workers in the place of those that answer: nobody fails, and every copy is booked."""
    requests = [Asked(user=DARK, path="/orders/1")] * 20
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        answered = ask(running, requests)
        for booted in (4, 6):
            running.server.process.send_signal(signal.SIGHUP)
            answered += ask(running, requests)
            until_told(running, "Booting worker", times=booted)
            answered += ask(running, requests)
        assert running.server.stop() == 0
        mirror = report(tmp_path, eligible=100)["mirror"]

    assert [answer.status for answer in answered] == [200] * 100
    assert mirror["eligible"] == mirror["sent"] == mirror["answered"] == 100


@pytest.mark.parametrize("name", REPLACED)
def test_a_graceful_stop_ends_what_is_under_way(tmp_path: Path, name: str) -> None:
    """A stream that is half sent when the server is told to stop comes whole, and is booked."""
    with other_shop() as v2, shop(tmp_path, v2, SERVERS[name]) as running:
        client = http.client.HTTPConnection("127.0.0.1", running.server.port, timeout=ANSWER_SECONDS)
        client.request("GET", f"/lines/{LEFT}", headers={"X-User": DARK})
        answer = client.getresponse()
        size = len(answer.read(1000))
        running.server.process.terminate()
        until_told(running, "Handling signal: term")
        size += len(answer.read())
        client.close()
        assert running.server.stop() == 0
        mirror = report(tmp_path, eligible=1)["mirror"]

    assert size == LEFT * len(LINE)
    assert running.closed == [LEFT]
    assert mirror["eligible"] == mirror["sent"] == 1
