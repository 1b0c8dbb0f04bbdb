"""A Flask shop behind the middleware, for gunicorn; UNDERSTUDY_CONFIG names the configuration.

``forked`` has mirrored a request already when a server forks from it (gunicorn --preload).
"""

import io
import os
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, jsonify, request

from understudy.middleware import UnderstudyWSGIMiddleware

flask = Flask("shop")


@flask.route("/orders/<number>", methods=["GET", "POST"])
def orders(number: str) -> Response:
    answer = jsonify({"order": number, "read": len(request.get_data()), "price": "1"})
    answer.headers["X-Variant"] = request.environ["understudy"].variant
    return answer


@flask.route("/stream")
def stream() -> Response:
    def lines() -> Iterator[str]:
        for number in range(100_000):
            yield f"line {number} {'x' * 1000}\n"

    return Response(lines(), mimetype="text/plain")


def application(environ: dict[str, Any], start: Any) -> Any:
    """The shop with the middleware, made with the first request or before a fork."""
    return made()(environ, start)


_made: list[UnderstudyWSGIMiddleware] = []


def made() -> UnderstudyWSGIMiddleware:
    """The middleware of this process, or of the one that it was forked from."""
    if not _made:
        _made.append(UnderstudyWSGIMiddleware(flask.wsgi_app, config=os.environ["UNDERSTUDY_CONFIG"]))
    return _made[0]


def ask_before_fork() -> None:
    """One request in this process, with all that it begins."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/orders/0",
        "SERVER_NAME": "shop",
        "SERVER_PORT": "80",
        "HTTP_HOST": "shop",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
    }
    answer = made()(environ, lambda *_: lambda _: None)
    list(answer)
    answer.close()  # type: ignore[attr-defined]
    made().report()  # the store is open, and will be written to at any moment


if os.environ.get("ASK_BEFORE_FORK"):
    ask_before_fork()
