"""The same requests through three front doors: proxy, ASGI, WSGI. What comes of them has to be the same.

Compared are the variant and the answer that each request met, the bytes of each copy that was sent, up to
the fields that name the hop (`OWN`), and what the reports find. Ends with 1 when anything differs.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import free_ports, listens

from understudy.middleware import Understudy, UnderstudyMiddleware, UnderstudyWSGIMiddleware, stage

DOORS = ("proxy", "asgi", "wsgi")
HERE = Path(__file__).parent
USERS = 8
PLAINLY = ("--no-access-log", "--no-date-header", "--no-server-header", "--no-proxy-headers")
"""Uvicorn adds no fields that the other version has not, and believes no word on who asks."""

OWN = {"via"}
"""Fields that say the name of the hop itself."""

CONFIG = """
listen: 127.0.0.1:{door}
admin: {{listen: 127.0.0.1:{admin}}}
store: sqlite:///{folder}/understudy.db
workers: 1
services:
  app: {{url: 'http://127.0.0.1:{app}'}}
  v2: {{url: 'http://127.0.0.1:{v2}'}}
flags:
  shop:
    state: ENABLED
    variants: {{stable: {{serve: app}}, canary: {{serve: v2}}, dark: {{serve: app, mirror: [v2]}}}}
    defaultVariant: stable
    targeting:
      if: [{{'==': [{{var: query.q}}, A]}}, canary, {{fractional: [[canary, 20], [dark, 60], [stable, 20]]}}]
routes: [{{path: /, flag: shop, unit: 'header:x-user', mirror_methods: [GET, HEAD, POST, PUT]}}]
endpoints: {{templates: ['/price/{{id}}', '/same/{{id}}', '/a%2Fb/{{id}}']}}
shadow: {{control: 0, confirm: false}}
"""


# -- the application, in two versions --------------------------------------------------------------------


def respond(
    version: int, method: str, path: str, body: bytes, variant: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, fields and body: a version has its own prices, and a status of its own for every tenth."""
    is_price = path.startswith("/price/")
    told = {"total": version if is_price else 1, "read": len(body), "sum": sum(body), "method": method}
    status = 200 if version == 1 or not (is_price and path.endswith("0")) else 203
    text = json.dumps(told).encode()
    return (
        status,
        {"content-type": "application/json", "content-length": str(len(text)), "x-met": variant},
        text,
    )


def compare_everything() -> None:
    """Pass over no exchange for want of time, as the middleware does beside an application's requests."""
    vars(stage).update(COMPARING_SHARE=1.0, LONG_SHARE=1.0)


def make_asgi() -> Any:
    """Behind the middleware."""
    compare_everything()
    return UnderstudyMiddleware(_asgi, config=os.environ["EQUALITY_CONFIG"])


def make_plain() -> Any:
    """Behind the proxy, which says in a field what it decided."""
    return _asgi


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for what in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{what}.complete"})
        return
    body, has_more = b"", True
    while has_more:
        message = await receive()
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
    decision = scope.get("understudy")
    said = dict(scope["headers"]).get(b"x-understudy-variant", b"").decode()
    path = scope["raw_path"].decode()
    status, fields, text = respond(1, scope["method"], path, body, decision.variant if decision else said)
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})


def make_wsgi() -> Any:
    """Behind the middleware for WSGI."""
    compare_everything()
    return UnderstudyWSGIMiddleware(_wsgi, config=os.environ["EQUALITY_CONFIG"])


def _wsgi(environ: dict[str, Any], start: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    path = environ["RAW_URI"].partition("?")[0]
    method = environ["REQUEST_METHOD"]
    status, fields, text = respond(1, method, path, body, environ["understudy"].variant)
    start(f"{status} OK", list(fields.items()))
    return [b"" if method == "HEAD" else text]


# -- the other version, which keeps what it is sent --------------------------------------------------------


@dataclass
class Shadow:
    """Version 2 on a port of its own. ``copies``: start line, fields and body of each copy, by its number."""

    port: int = 0
    copies: dict[str, tuple[bytes, list[tuple[str, bytes]], bytes]] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                start, *lines = head[:-4].split(b"\r\n")
                pairs = [line.partition(b": ") for line in lines]
                fields = [(name.decode("latin-1").lower(), value) for name, _, value in pairs]
                known = dict(fields)
                body = await self._body(reader, known)
                if "x-understudy-shadow" in known:
                    copy = (start, [pair for pair in fields if pair[0] not in OWN], body)
                    self.copies[known["x-n"].decode()] = copy
                method, target, _ = start.decode("latin-1").split(" ")
                variant = known.get("x-understudy-variant", b"").decode()
                status, told, text = respond(2, method, target.partition("?")[0], body, variant)
                lines_out = "".join(f"{name}: {value}\r\n" for name, value in told.items())
                writer.write(f"HTTP/1.1 {status} OK\r\n{lines_out}\r\n".encode())
                writer.write(b"" if method == "HEAD" else text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, fields: Mapping[str, bytes]) -> bytes:
        if "transfer-encoding" not in fields:
            return await reader.readexactly(int(fields.get("content-length", b"0")))
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return body


@contextmanager
def shadows() -> Iterator[dict[str, Shadow]]:
    """One for each door, in a thread of their own."""
    found = {door: Shadow() for door in DOORS}
    loop = asyncio.new_event_loop()
    for shadow in found.values():
        server = loop.run_until_complete(asyncio.start_server(shadow.serve, "127.0.0.1", 0))
        shadow.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


# -- the requests ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    is_chunked: bool


def requests(count: int) -> list[Asked]:
    """Always the same ones: methods, escapes, queries, fields, bodies of all sizes, some of them chunked."""
    chance = random.Random(20240229)
    made = []
    for number in range(count):
        method = chance.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT"])
        path = chance.choice(["/price", "/same", "/a%2Fb"]) + f"/{number % 40}"
        query = chance.choice(["", "?q=%41&x=+", "?beta", "?n=%C3%A4"])
        has_body = method in ("POST", "PUT")
        fields = {
            "Host": "shop.example",
            "X-N": str(number),
            "X-Request-Id": f"r-{number}",
            "X-User": f"user-{chance.randrange(3000)}",
        }
        if chance.random() < 0.5:
            fields["Cookie"] = "session=secret; theme=dark"
        if chance.random() < 0.3:
            fields["Authorization"] = "Bearer secret"
        if chance.random() < 0.3:
            fields["Accept-Language"] = "de, en;q=0.5"
            fields["X-Latin"] = "f\u00fcr"
        if chance.random() < 0.2:
            fields["X-Forwarded-For"] = "1.2.3.4"
            fields["X-Understudy-Variant"] = "mine"
        if has_body:
            fields["Content-Type"] = chance.choice(["application/json", "text/plain; charset=utf-8"])
        body = chance.randbytes(chance.choice([0, 10, 1000, 20_000])) if has_body else b""
        is_chunked = bool(body) and chance.random() < 0.2
        made.append(
            Asked(method=method, target=path + query, fields=fields, body=body, is_chunked=is_chunked)
        )
    return made


def ask_all(port: int, asked: list[Asked]) -> list[tuple[int, str, bytes]]:
    """Status, variant and body of each answer, asked by `USERS` at once."""
    mine = threading.local()

    def ask(one: Asked) -> tuple[int, str, bytes]:
        for attempt in (1, 2):
            connection = getattr(mine, "connection", None)
            if connection is None:
                connection = mine.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                return _ask(connection, one)
            except (http.client.RemoteDisconnected, ConnectionError):
                connection.close()  # a server closes what was idle, or after so many
                mine.connection = None
                if attempt == 2:
                    raise
        raise AssertionError

    with ThreadPoolExecutor(USERS) as users:
        return list(users.map(ask, asked))


def _ask(connection: http.client.HTTPConnection, one: Asked) -> tuple[int, str, bytes]:
    connection.putrequest(one.method, one.target, skip_host=True, skip_accept_encoding=True)
    for name, value in one.fields.items():
        connection.putheader(name, value.encode("latin-1"))
    if one.is_chunked:
        connection.putheader("Transfer-Encoding", "chunked")
    elif one.method in ("POST", "PUT"):
        connection.putheader("Content-Length", str(len(one.body)))
    connection.endheaders(one.body or None, encode_chunked=one.is_chunked)
    answer = connection.getresponse()
    return answer.status, answer.getheader("x-met", ""), answer.read()


# -- the doors -----------------------------------------------------------------------------------------------


@contextmanager
def door(name: str, folder: Path, shadow: Shadow) -> Iterator[int]:
    """The door called *name*, listening: its port."""
    port, admin, app = free_ports(3)
    folder.mkdir()
    config = folder / "understudy.yaml"
    config.write_text(CONFIG.format(folder=folder, door=port, admin=admin, app=app, v2=shadow.port))
    inner = [*(sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "--factory"), *PLAINLY]
    gunicorn = [*(sys.executable, "-m", "gunicorn", "--no-control-socket", "--pythonpath", str(HERE))]
    commands = {
        "proxy": [
            [*inner, "--port", str(app), "equality:make_plain"],
            [sys.executable, "-m", "understudy", "serve", "--config", str(config)],
        ],
        "asgi": [[*inner, "--port", str(port), "equality:make_asgi"]],
        "wsgi": [[*gunicorn, "--threads", str(USERS), "-b", f"127.0.0.1:{port}", "equality:make_wsgi()"]],
    }[name]
    environ = {**os.environ, "EQUALITY_CONFIG": str(config)}
    running: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "log").open("wb") as log:
            running += [
                subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd=folder)
                for command in commands
            ]
        for needed in [port, app] if name == "proxy" else [port]:
            until(lambda needed=needed: listens(needed), folder / "log")
        yield port
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            process.wait(20)


def until(told: Any, log: Path, seconds: float = 30.0) -> None:
    """Wait for *told*. Raises TimeoutError with what is in *log*."""
    limit = time.monotonic() + seconds
    while not told():
        if time.monotonic() > limit:
            raise TimeoutError(log.read_text())
        time.sleep(0.05)


async def report_of(folder: Path, shadow: Shadow) -> dict[str, Any]:
    """What stands in a door's store, once that is closed."""
    services = {"v2": {"url": f"http://127.0.0.1:{shadow.port}"}}
    understudy = Understudy({"store": f"sqlite:///{folder}/understudy.db", "services": services})
    try:
        async with asyncio.timeout(10):
            while not (found := await understudy.report())["mirror"]["eligible"]:  # noqa: ASYNC110  it is told by nobody
                await asyncio.sleep(0.05)
        return found
    finally:
        await understudy.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of all requests at one door."""

    answers: list[tuple[int, str, bytes]]
    copies: dict[str, tuple[bytes, list[tuple[str, bytes]], bytes]]
    findings: list[tuple[str, str, str, int]]
    matched: list[tuple[str, int, int]]
    books: dict[str, Any]


def outcome(name: str, folder: Path, shadow: Shadow, asked: list[Asked]) -> Outcome:
    """Ask everything at one door."""
    with door(name, folder / name, shadow) as port:
        answers = ask_all(port, asked)
    report = asyncio.run(report_of(folder / name, shadow))
    endpoints = report["endpoints"]
    return Outcome(
        answers=answers,
        copies=shadow.copies,
        findings=sorted(
            (e["endpoint"], f["path"], f["kind"], f["differing"]) for e in endpoints for f in e["findings"]
        ),
        matched=sorted((e["endpoint"], e["exchanges"], e["matched"]) for e in endpoints),
        books={key: report["mirror"][key] for key in ("eligible", "sent", "answered", "skipped", "dropped")},
    )


def differing(one: Outcome, other: Outcome) -> dict[str, int]:
    """How many requests, copies and findings are not the same at two doors."""
    numbers = one.copies.keys() | other.copies.keys()
    return {
        "variants": sum(a[1] != b[1] for a, b in zip(one.answers, other.answers, strict=True)),
        "answers": sum(a != b for a, b in zip(one.answers, other.answers, strict=True)),
        "copies": sum(one.copies.get(n) != other.copies.get(n) for n in numbers),
        "findings": len(set(one.findings) ^ set(other.findings)),
        "endpoints": len(set(one.matched) ^ set(other.matched)),
        "books": sum(one.books[key] != other.books[key] for key in one.books),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--show", action="store_true", help="print the first copy that differs")
    options = parser.parse_args()
    asked = requests(options.requests)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = stack.enter_context(shadows())
        outcomes = {name: outcome(name, folder, found[name], asked) for name in DOORS}
    first = outcomes["proxy"]
    told: dict[str, Any] = {
        "requests": len(asked),
        "copies": {name: len(one.copies) for name, one in outcomes.items()},
        "variants": {v: sum(a[1] == v for a in first.answers) for v in ("stable", "canary", "dark")},
        "findings": len(first.findings),
        "books": first.books,
        "differing": {name: differing(first, outcomes[name]) for name in DOORS[1:]},
    }
    print(json.dumps(told, indent=2))
    if options.show:
        show(first, outcomes)
    return int(any(n for counts in told["differing"].values() for n in counts.values()))


def show(first: Outcome, outcomes: Mapping[str, Outcome]) -> None:
    """The first copy, finding and count that differ, of each door."""
    for name, one in outcomes.items():
        for number in sorted(first.copies.keys() | one.copies.keys(), key=int):
            if first.copies.get(number) != one.copies.get(number):
                print(name, number, first.copies.get(number), one.copies.get(number), sep="\n  ")
                break
        print(name, sorted(set(one.findings) ^ set(first.findings))[:4])
        print(name, sorted(set(one.matched) ^ set(first.matched))[:4], one.books)


if __name__ == "__main__":
    sys.exit(main())
