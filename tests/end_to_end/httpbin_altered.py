"""httpbin with a few answers altered, as a next version might: a WSGI application for ``gunicorn``."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from httpbin import app
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Response

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """httpbin's own answer, altered when `ALTERED` names the request."""
    alter = next((alter for prefix, alter in ALTERED.items() if _is_named(environ, prefix)), None)
    if alter is None:
        plain: Iterable[bytes] = app(environ, start_response)
        return plain
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    # A copy, because werkzeug adds a Content-Type to the one it is given; only `ALTERED` may alter.
    answer = Response(b"".join(body), status=status, headers=list(headers))
    if "Content-Type" not in headers:
        del answer.headers["Content-Type"]
    alter(answer)
    return answer(environ, start_response)


def _is_named(environ: Environ, prefix: str) -> bool:
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".startswith(prefix)


def _change_a_value(answer: Response) -> None:
    document = json.loads(answer.get_data())
    document["origin"] = "elsewhere"
    answer.set_data(json.dumps(document))


def _drop_a_field(answer: Response) -> None:
    document = json.loads(answer.get_data())
    del document["headers"]["User-Agent"]
    answer.set_data(json.dumps(document))


def _fail(answer: Response) -> None:
    answer.status_code = 500


def _modify_one_byte(answer: Response) -> None:
    body = bytearray(answer.get_data())
    body[len(body) // 2] ^= 1
    answer.set_data(bytes(body))


def _end_a_stream_early(answer: Response) -> None:
    lines = answer.get_data().splitlines(keepends=True)
    answer.set_data(b"".join(lines[:-1]))


ALTERED: dict[str, Callable[[Response], None]] = {
    "GET /anything": _change_a_value,
    "GET /headers": _drop_a_field,
    "GET /status/418": _fail,
    "GET /bytes/": _modify_one_byte,
    "GET /stream/": _end_a_stream_early,
}
