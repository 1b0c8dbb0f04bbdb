"""WSGI applications under a threaded server in this process, and what the middleware counted of them."""

import contextlib
import http.client
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from understudy.middleware import UnderstudyWSGIMiddleware

Environ = dict[str, Any]
Start = Callable[..., Any]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of tests leave as they like."""


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""


@contextlib.contextmanager
def served(app: Any) -> Iterator[int]:
    """*app* on a free port of 127.0.0.1; the middleware, if it is one, stops afterwards."""
    server = make_server("127.0.0.1", 0, app, server_class=Server, handler_class=Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
        if isinstance(app, UnderstudyWSGIMiddleware):
            app.stop()


def ask(
    port: int, path: str = "/", *, method: str = "GET", body: Any = None, **fields: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, fields (lower case) and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def until_told(middleware: UnderstudyWSGIMiddleware, what: str, *, at_least: int = 1) -> dict[str, Any]:
    """The report, once its ``what`` of all endpoints are at least so many. Raises TimeoutError."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        report = middleware.report()
        if sum(endpoint[what] for endpoint in report["endpoints"]) >= at_least:
            return report
        time.sleep(0.02)
    raise TimeoutError(f"{what}: {report}")


def until_booked(middleware: UnderstudyWSGIMiddleware, at_least: int) -> dict[str, int]:
    """The mirror's books, once so many requests were eligible and none is under way."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        mirror = middleware.report()["mirror"]
        books = {key: n if isinstance(n, int) else sum(n.values()) for key, n in mirror.items()}
        if books["eligible"] >= at_least and books["sent"] == books["answered"] + books["failed"]:
            assert books["eligible"] == books["sent"] + books["skipped"] + books["dropped"]
            return books
        time.sleep(0.02)
    raise TimeoutError(str(books))
