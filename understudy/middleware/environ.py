"""A WSGI request as the scope that the middleware decides and asks by: one way to read both kinds."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from understudy.middleware.hop import BODILESS
from understudy.middleware.request import UNRESERVED, Scope

Environ = dict[str, Any]

TARGETS: Final = ("RAW_URI", "REQUEST_URI")
"""Where servers tell the target as the client spelled it: gunicorn; uWSGI, Werkzeug, mod_wsgi and others."""

KEY: Final = "understudy"
"""Where the decision stands in an environ."""

GIVEN: Final = "understudy.environ"
"""Where the environ stands in a scope that is kept."""

MEANS: Final = frozenset(
    {
        KEY,
        "gunicorn.http2.send_trailers",
        "gunicorn.socket",
        "werkzeug.socket",
        "wsgi.early_hints",
        "wsgi.file_wrapper",
        "wsgi.input",
        "wsgi.input_terminated",
    }
)
"""What belongs to one request alone, or to its server."""


MOST_DIGITS: Final = 18
"""Of a length, as the proxy has it: Python refuses to read thousands."""


def scope_of(environ: Environ) -> Scope:
    """What *environ* says, as an HTTP scope. Names of fields are lower case, for their case is not told."""
    address = environ.get("REMOTE_ADDR", "")
    path, query = target_of(environ)
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": "",
        "raw_path": path,
        "query_string": query,
        "headers": fields_of(environ),
        "client": (address, 0) if address else None,
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "http_version": version_of(environ),
    }


def version_of(environ: Mapping[str, Any]) -> str:
    """The version of HTTP as ASGI names it: 2, where some servers say ``HTTP/2.0``."""
    protocol: str = environ.get("SERVER_PROTOCOL", "HTTP/1.1")
    version = protocol.partition("/")[2]
    return version if version.startswith("1") else version.partition(".")[0]


def target_of(environ: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Path and query: as the client spelled them where the server tells, else the path escaped anew.

    Never from Host: of a target that names one, only what follows it counts.
    """
    for name in TARGETS:
        target: str = environ.get(name, "")
        if target.startswith(("http://", "https://", "HTTP://", "HTTPS://")):
            _, slash, rest = target.partition("//")[2].partition("/")
            target = slash + rest
        if target.startswith("/"):
            path, _, query = target.partition("#")[0].partition("?")
            return path.encode("latin-1", "replace"), query.encode("latin-1", "replace")
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    told = quote(path.encode("latin-1", "replace"), safe=UNRESERVED) or "/"
    return told.encode("ascii"), environ.get("QUERY_STRING", "").encode("latin-1", "replace")


def fields_of(environ: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The fields of the request; of several with one name, what the server made of them."""
    fields = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:]
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            name = key
        else:
            continue
        told = str(value).encode("latin-1", "replace")  # a number where Django's test client was given one
        fields.append((name.replace("_", "-").lower().encode("latin-1"), told))
    return fields


def has_body(environ: Mapping[str, Any]) -> bool:
    """Whether the request announces a body, or may have one without a word, as in HTTP/2."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return True
    if length := environ.get("CONTENT_LENGTH"):
        return bool(length != "0")
    return environ["REQUEST_METHOD"] not in BODILESS and not version_of(environ).startswith("1")


def length_of(environ: Mapping[str, Any]) -> int | None:
    """The Content-Length; None when it is no number of at most `MOST_DIGITS`, or there is none."""
    told = str(environ.get("CONTENT_LENGTH") or "")
    return int(told) if told.isascii() and told.isdigit() and len(told) <= MOST_DIGITS else None


def kept(environ: Environ) -> Environ:
    """A copy of *environ* that another request may be made of."""
    return {key: value for key, value in environ.items() if key not in MEANS}
