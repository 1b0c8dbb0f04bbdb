"""The middleware under a threaded WSGI server: who answers, what is decided, what is rehearsed."""

import io
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from middleware_world import configured, rules
from wsgi_world import Environ, Start, ask, served, until_booked, until_told

from understudy.errors import ConfigError
from understudy.middleware import Understudy, UnderstudyWSGIMiddleware
from understudy.middleware.environ import fields_of, kept, target_of
from understudy.middleware.wsgi_tee import Input, Pieces, Tee, teed

DARK = {"dark": {"mirror": ["v2"]}}


class Shop:
    """Answers alike in every version, but for /price."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.seen: list[Environ] = []

    def __call__(self, environ: Environ, start: Start) -> Any:
        self.seen.append(environ)
        read = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        total = self.version if environ["PATH_INFO"] == "/price" else 1
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"total": total, "read": read}).encode()]


def dark(shadow: int, app: Any, **more: Any) -> UnderstudyWSGIMiddleware:
    """*app* whose requests rehearse on the port *shadow*."""
    services = {"v2": f"http://127.0.0.1:{shadow}"}
    return UnderstudyWSGIMiddleware(
        app, configured(services, **rules(DARK, serves="dark"), shadow={"control": 0, **more})
    )


def test_the_application_sees_its_decision() -> None:
    """The decision in the environ answers for the route's flag and for others, for the same unit."""
    config = configured({}, **rules({"stable": {}}, serves="stable", unit="header:x-user"))
    config["flags"]["new_cart"] = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"==": [{"var": "targetingKey"}, "ann"]}, "on", "off"]},
    }

    def app(environ: Environ, start: Start) -> Any:
        decision = environ["understudy"]
        start("200 OK", [])
        return [f"{decision.variant} {decision.unit} {decision.is_enabled('new_cart')}".encode()]

    with served(UnderstudyWSGIMiddleware(app, config)) as port:
        assert ask(port, X_User="ann")[2] == b"stable ann True"
        assert ask(port, X_User="bob")[2] == b"stable bob False"


def test_a_dark_variant_is_rehearsed() -> None:
    """The application answers; equal answers match, others are differences, and the books balance."""
    with served(Shop(2)) as shadow:
        middleware = dark(shadow, Shop(1))
        with served(middleware) as port:
            for _ in range(5):
                assert json.loads(ask(port, "/same?a=%20b")[2]) == {"total": 1, "read": 0}
                assert json.loads(ask(port, "/price")[2]) == {"total": 1, "read": 0}
            report = until_told(middleware, "exchanges", at_least=10)

    assert report["matched"] == 5
    (finding,) = [found for endpoint in report["endpoints"] for found in endpoint["findings"]]
    assert (finding["path"], finding["kind"], finding["differing"]) == ("/body/total", "value", 5)
    mirror = report["mirror"]
    assert mirror["eligible"] == mirror["sent"] == mirror["answered"] == 10


def test_the_control_is_the_application_once_more() -> None:
    """What the application answers differently by itself is seen in its control answers, and is noise."""
    numbers = iter(range(100_000))

    def app(environ: Environ, start: Start) -> Any:
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"n": next(numbers), "seen": environ["understudy"].flag}).encode()]

    shadow_app = UnderstudyWSGIMiddleware(app, configured({}, **rules({"on": {}}, serves="on")))
    with served(shadow_app) as shadow:
        middleware = dark(shadow, app, control=1.0)
        with served(middleware) as port:
            for _ in range(10):
                ask(port, "/n")
            report = until_told(middleware, "exchanges", at_least=10)

    (endpoint,) = report["endpoints"]
    (finding,) = endpoint["findings"]
    assert (finding["path"], finding["control_differing"], finding["with_control"]) == ("/body/n", 10, 10)


def test_the_request_is_mirrored_as_the_application_read_it() -> None:
    """A body that was read goes along; one that was read in part, or never, is not read for its copy."""
    rehearsed = Shop(1)

    def app(environ: Environ, start: Start) -> Any:
        reads = environ["PATH_INFO"][1:]
        if reads:
            environ["wsgi.input"].read(int(reads))
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"total": 1, "read": 6}).encode()]

    with served(rehearsed) as shadow:
        config = configured(
            {"v2": f"http://127.0.0.1:{shadow}"},
            **rules(DARK, serves="dark", mirror_methods=["POST"]),
            shadow={"control": 0},
        )
        middleware = UnderstudyWSGIMiddleware(app, config)
        with served(middleware) as port:
            for path in ("/6", "/3", "/"):
                assert ask(port, path, method="POST", body=b"abcdef")[0] == 200
            books = until_booked(middleware, 3)

    assert (books["sent"], books["skipped"]) == (1, 2)
    assert [environ["PATH_INFO"] for environ in rehearsed.seen] == ["/6"]


class Closing:
    """An answer that counts its closings, and may break off."""

    def __init__(self, pieces: list[bytes], *, breaks: bool = False) -> None:
        self.pieces = iter(pieces)
        self.breaks = breaks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.breaks:
            raise ValueError("in the middle")

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("breaks", "reads_all", "reason"),
    [(False, True, ""), (True, True, "primary_failed"), (False, False, "client_aborted")],
)
def test_an_answer_is_closed_once_however_it_ends(breaks: bool, reads_all: bool, reason: str) -> None:
    """Whole, broken off or left by its client: one `close`, one word on how it ended, the same exception."""
    reasons: list[str] = []

    class Witness:
        def ended(self, reason: str) -> None:
            reasons.append(reason)

    answer = Closing([b"a", b"", b"b"], breaks=breaks)
    pieces = Pieces(100)
    passing = teed(answer, Tee(lambda *_: lambda _: None, pieces, Witness(), is_head=False))
    assert next(passing) == b"a"
    if breaks:
        with pytest.raises(ValueError, match="in the middle"):
            list(passing)
    elif reads_all:
        assert list(passing) == [b"", b"b"]
    passing.close()
    passing.close()

    assert (answer.closed, reasons) == (1, [reason])
    assert b"".join(pieces.kept) == (b"ab" if reads_all else b"a")


def test_what_is_written_and_what_replaces_an_answer_is_seen() -> None:
    """`write`, and a second `start_response` with exc_info: what the client got is what is compared."""

    def app(environ: Environ, start: Start) -> Any:
        start("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("late")
        except ValueError as error:
            write = start(
                "500 Oh",
                [("Content-Type", "text/plain"), ("X-Why", "late")],
                (type(error), error, error.__traceback__),
            )
        write(b"written, ")
        return [b"returned"]

    with served(app) as shadow:
        middleware = dark(shadow, app)
        with served(middleware) as port:
            status, fields, body = ask(port)
            report = until_told(middleware, "exchanges")

    assert (status, fields["x-why"], body) == (500, "late", b"written, returned")
    assert report["matched"] == 1


def test_an_exception_of_the_application_stays_its_own() -> None:
    """The server is told as without the middleware; the copy is counted, and nothing is compared."""

    def app(environ: Environ, start: Start) -> Any:
        raise ZeroDivisionError("mine")

    with served(Shop(1)) as shadow:
        middleware = dark(shadow, app)
        environ: Environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/x",
            "HTTP_HOST": "h",
            "wsgi.input": io.BytesIO(),
        }
        with pytest.raises(ZeroDivisionError, match="mine"):
            middleware(environ, lambda *_: lambda _: None)
        books = until_booked(middleware, 1)
        report = middleware.report()
        middleware.stop()

    assert books["answered"] == 1
    assert report["exchanges"] == 0


def test_a_canary_streams_both_ways() -> None:
    """The service gets the body and answers in pieces; the client has each before the next is asked for."""
    goes_on = threading.Event()

    def service(environ: Environ, start: Start) -> Any:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start(
            "201 Created",
            [("X-Seen", environ["HTTP_X_UNDERSTUDY_VARIANT"]), ("X-Host", environ["HTTP_HOST"])],
        )
        yield b"first"
        assert goes_on.wait(60)
        yield str(len(body)).encode()

    with served(service) as port:
        config = configured({"v2": f"http://127.0.0.1:{port}"}, **rules({"c": {"serve": "v2"}}, serves="c"))
        middleware = UnderstudyWSGIMiddleware(Shop(1), config)
        started: list[Any] = []
        environ: Environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/up",
            "HTTP_HOST": "shop.example",
            "CONTENT_LENGTH": "300000",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(b"x" * 300_000),
        }

        def start(*given: Any) -> Any:
            started.append(given)

        answer = middleware(environ, start)
        items = iter(answer)
        assert next(items) == b"first"
        goes_on.set()
        assert b"".join(items) == b"300000"
        answer.close()  # type: ignore[attr-defined]
        middleware.stop()

    ((status, fields),) = started
    assert status == "201 Created"
    assert {"x-seen": "c", "x-host": "shop.example"}.items() <= dict(fields).items()
    assert dict(fields)["via"].startswith("1.1 understudy")


@pytest.mark.parametrize("serves", ["canary", "dark"])
def test_a_body_that_http2_does_not_announce_goes_along(serves: str) -> None:
    """Fields need not tell its length there: services get it all the same, and copies do."""
    got: queue.SimpleQueue[tuple[bytes, str]] = queue.SimpleQueue()

    def service(environ: Environ, start: Start) -> Any:
        source = environ["wsgi.input"]
        if "HTTP_TRANSFER_ENCODING" in environ:
            body = b"".join(source.read(int(source.readline(), 16) + 2)[:-2] for _ in range(2))
        else:
            body = source.read(int(environ["CONTENT_LENGTH"]))
        got.put((body, environ["HTTP_VIA"].partition(" ")[0]))
        start("200 OK", [("Content-Length", "0")])
        return []

    def app(environ: Environ, start: Start) -> Any:
        environ["wsgi.input"].read()
        start("200 OK", [("Content-Length", "0")])
        return []

    with served(service) as port:
        variants = {"canary": {"serve": "v2"}, **DARK}
        told = rules(variants, serves=serves, mirror_methods=["POST"])
        config = configured({"v2": f"http://127.0.0.1:{port}"}, **told, shadow={"control": 0})
        middleware = UnderstudyWSGIMiddleware(app, config)
        environ: Environ = {
            "REQUEST_METHOD": "POST",
            "SERVER_PROTOCOL": "HTTP/2.0",
            "PATH_INFO": "/up",
            "HTTP_HOST": "shop.example",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(b"abcdef"),
        }
        answer = middleware(environ, lambda *_: lambda _: None)
        assert b"".join(answer) == b""
        answer.close()  # type: ignore[attr-defined]
        assert got.get(timeout=60) == (b"abcdef", "2")
        middleware.stop()


def test_a_canary_that_breaks_off_breaks_off() -> None:
    """The server is left with an OSError, on which it closes the connection; nobody takes it for whole."""

    def service(environ: Environ, start: Start) -> Any:
        start("200 OK", [("Content-Length", "100")])
        yield b"half"

    with served(service) as port:
        config = configured({"v2": f"http://127.0.0.1:{port}"}, **rules({"c": {"serve": "v2"}}, serves="c"))
        middleware = UnderstudyWSGIMiddleware(Shop(1), config)
        environ: Environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "HTTP_HOST": "h",
            "wsgi.input": io.BytesIO(),
        }
        items = iter(middleware(environ, lambda *_: lambda _: None))
        assert next(items) == b"half"
        with pytest.raises(OSError, match="broke off"):
            next(items)
        middleware.stop()


def test_a_canary_out_of_reach_is_told_as_the_proxy_tells() -> None:
    """Nobody listens there: 502 as problem+json, from inside the application."""
    config = configured({"v2": "http://127.0.0.1:9"}, **rules({"c": {"serve": "v2"}}, serves="c"))
    with served(UnderstudyWSGIMiddleware(Shop(1), config)) as port:
        status, fields, body = ask(port)

    assert (status, fields["content-type"]) == (502, "application/problem+json")
    assert json.loads(body)["status"] == 502


def test_a_canary_without_origins_falls_back_to_the_application() -> None:
    """Once its origin is ejected, the default variant answers with the whole request."""
    variants = {"stable": {}, "c": {"serve": "v2"}}
    config = configured({}, **rules(variants, serves="stable"))
    config["flags"]["shop"]["targeting"] = {"if": [True, "c"]}
    config["services"] = {"v2": {"url": "http://127.0.0.1:9", "eject": {"failures": 1}}}
    with served(UnderstudyWSGIMiddleware(Shop(1), config)) as port:
        ask(port)
        status, _, body = ask(port, "/price", method="POST", body=b"abc")

    assert (status, json.loads(body)) == (200, {"total": 1, "read": 3})


def test_a_mistaken_configuration_fails_at_once_or_lets_pass() -> None:
    """Naming the place and the mend; with `fail_open` the application answers as if there were none."""
    mistaken = {"services": {"v2": {"url": "nowhere"}}}
    with pytest.raises(ConfigError, match="services"):
        UnderstudyWSGIMiddleware(Shop(1), mistaken)
    with served(UnderstudyWSGIMiddleware(Shop(1), mistaken, fail_open=True)) as port:
        assert ask(port)[0] == 200
    with pytest.raises(TypeError):
        UnderstudyWSGIMiddleware(Shop(1), {}, understudy=Understudy({}))


def test_errands_without_room_are_dropped_and_counted() -> None:
    """A loop that is busy is not waited for: what finds no room is dropped, and the books still balance."""
    with served(Shop(1)) as shadow:
        middleware = dark(shadow, Shop(1))
        with served(middleware) as port:
            ask(port)
            errands = middleware.understudy.background.errands
            assert errands is not None
            is_stuck, may_go = threading.Event(), threading.Event()

            def block() -> None:
                is_stuck.set()
                may_go.wait(60)

            errands.stage.loop.call_soon_threadsafe(block)
            assert is_stuck.wait(60)
            environ: Environ = {
                "REQUEST_METHOD": "GET",
                "PATH_INFO": "/",
                "HTTP_HOST": "h",
                "REMOTE_ADDR": "127.0.0.1",
            }
            for _ in range(1100):
                answer = middleware({**environ, "wsgi.input": io.BytesIO()}, lambda *_: lambda _: None)
                list(answer)
            may_go.set()
            books = until_booked(middleware, 1101)

    assert books["eligible"] == 1101
    assert books["dropped"] >= 76


@pytest.mark.parametrize(
    ("environ", "path", "query"),
    [
        ({"RAW_URI": "/a%2Fb?x=1#y", "PATH_INFO": "/a/b"}, b"/a%2Fb", b"x=1"),
        ({"REQUEST_URI": "http://evil/a?b", "HTTP_HOST": "h"}, b"/a", b"b"),
        ({"RAW_URI": "*", "PATH_INFO": ""}, b"/", b""),
        (
            {"SCRIPT_NAME": "/m", "PATH_INFO": "/\xc3\xa4 b", "QUERY_STRING": "q=%20"},
            b"/m/%C3%A4%20b",
            b"q=%20",
        ),
    ],
)
def test_the_path_is_the_clients(environ: Environ, path: bytes, query: bytes) -> None:
    """As spelled where the server tells, else escaped anew, with the mount; never from a host."""
    assert target_of(environ) == (path, query)


def test_fields_are_read_from_an_environ() -> None:
    """Names in lower case, with the two that WSGI spells otherwise; empty ones of these are none."""
    environ = {"HTTP_X_A": "1", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "", "PATH_INFO": "/"}
    assert fields_of(environ) == [(b"x-a", b"1"), (b"content-type", b"text/plain")]


def test_a_copy_has_none_of_its_servers_means() -> None:
    """What a server gives for one answer alone, its trailers and hints, is not given to the control."""
    means = {"wsgi.early_hints": print, "gunicorn.http2.send_trailers": print, "wsgi.input": io.BytesIO()}
    assert kept({**means, "PATH_INFO": "/"}) == {"PATH_INFO": "/"}


READS = st.lists(
    st.tuples(st.sampled_from(["read", "readline", "readlines", "iterate"]), st.integers(1, 40)), max_size=12
)


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=120), reads=READS, cap=st.integers(0, 130))
def test_a_body_is_kept_as_it_is_read(body: bytes, reads: list[tuple[str, int]], cap: int) -> None:
    """However it is read: the application gets what it would get, and what is kept is what it got, capped."""
    plain, pieces = io.BytesIO(body), Pieces(cap)
    passed = Input(io.BytesIO(body), pieces, length=len(body))
    got = b""
    for how, size in reads:
        if how == "iterate":
            wanted, given_ = next(iter(plain), b""), next(iter(passed), b"")
        elif how == "readlines":
            wanted, given_ = b"".join(plain.readlines(size)), b"".join(passed.readlines(size))
        else:
            wanted, given_ = getattr(plain, how)(size), getattr(passed, how)(size)
        assert given_ == wanted
        got += given_
    assert b"".join(pieces.kept) == got[: cap + 1]
    assert pieces.length == len(got)
    assert not passed.is_whole or got == body
    passed.read()
    assert passed.is_whole


def test_two_applications_share_one_understudy() -> None:
    """Each is asked for its own controls."""
    again: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def named(name: bytes) -> Any:
        def app(environ: Environ, start_response: Start) -> list[bytes]:
            if environ.get("HTTP_X_UNDERSTUDY_SHADOW") == "control":
                again.put(name)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [name]

        return app

    services = {"v2": "http://127.0.0.1:9"}
    told = configured(services, **rules({"dark": {"mirror": ["v2"]}}, serves="dark"), shadow={"control": 1})
    understudy = Understudy(told, kind="wsgi")
    one = UnderstudyWSGIMiddleware(named(b"one"), understudy=understudy)
    two = UnderstudyWSGIMiddleware(named(b"two"), understudy=understudy)
    for app, name in ((one, b"one"), (two, b"two")):
        environ: Environ = {}
        setup_testing_defaults(environ)
        answered = app(environ, lambda *_: print)
        assert b"".join(answered) == name
        answered.close()  # type: ignore[attr-defined]
        assert again.get(timeout=60) == name
    understudy.background.stop()
