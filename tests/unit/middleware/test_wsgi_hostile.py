"""Applications, servers and clients that do what they should not, and the middleware between them."""

import http.client
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from middleware_world import configured, rules
from wsgi_world import Environ, Start, ask, served, until_booked, until_told

from understudy.middleware import UnderstudyWSGIMiddleware
from understudy.middleware.environ import length_of
from understudy.middleware.wsgi_again import again
from understudy.middleware.wsgi_tee import Input, Pieces, Tee, teed

DARK = {"dark": {"mirror": ["v2"]}}


def dark(app: Any, shadow: int = 9, **more: Any) -> UnderstudyWSGIMiddleware:
    """*app* whose requests rehearse on the port *shadow*, where perhaps nobody listens."""
    services = {"v2": f"http://127.0.0.1:{shadow}"}
    told = rules(DARK, serves="dark", mirror_methods=["GET", "POST", "HEAD"])
    return UnderstudyWSGIMiddleware(app, configured(services, **told, shadow={"control": 0, **more}))


def environ_of(**more: Any) -> Environ:
    """A whole environ, with *more*."""
    environ: Environ = {}
    setup_testing_defaults(environ)
    return {**environ, **more}


def answer_of(app: Any, environ: Environ, start: Callable[..., Any] = lambda *_: lambda _: None) -> bytes:
    """The body, as a server takes it."""
    answer = app(environ, start)
    try:
        return b"".join(answer)
    finally:
        close = getattr(answer, "close", None)
        if close is not None:
            close()


@pytest.mark.parametrize("odd", [{"HTTP_X_NUMBER": 7}, {"CONTENT_LENGTH": 5}])
def test_a_number_is_read_as_it_is_written(odd: Environ) -> None:
    """Django's test client hands on what it was given."""

    def app(environ: Environ, start: Start) -> list[bytes]:
        decision = environ["understudy"]
        start("200 OK", [])
        return [decision.variant.encode(), decision.head.headers[-1][1]]

    middleware = dark(app)
    (value,) = odd.values()
    assert answer_of(middleware, environ_of(**odd)) == b"dark%d" % value
    middleware.stop()


@pytest.mark.parametrize("odd", [{"HTTP_X_\u0100": "1"}, {"PATH_INFO": None}])
def test_what_cannot_be_decided_passes_with_a_decision(odd: Environ) -> None:
    """The application finds one all the same, which says that no route matches."""

    def app(environ: Environ, start: Start) -> list[bytes]:
        decision = environ["understudy"]
        start("200 OK", [])
        return [f"{decision.variant or 'none'} {decision.value('other', 1)}".encode()]

    middleware = dark(app)
    assert answer_of(middleware, environ_of(**odd)) == b"none 1"
    assert answer_of(middleware, environ_of()) == b"dark 1"
    books = until_booked(middleware, 1)
    metrics = middleware.understudy.stages[0].metrics
    middleware.stop()
    assert books["eligible"] == 1
    assert metrics.errors["internal"] == 1


def test_a_fault_that_every_request_meets_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Counted each time, with one trace in the log for a while."""

    def app(_environ: Environ, start: Start) -> list[bytes]:
        start("200 OK", [])
        return [b"ok"]

    middleware = dark(app)
    for _ in range(50):
        assert answer_of(middleware, environ_of(PATH_INFO=None)) == b"ok"
    metrics = middleware.understudy.stages[0].metrics
    middleware.stop()

    assert metrics.errors["internal"] == 50
    assert [record.message for record in caplog.records].count(
        "a request could not be decided, and passes"
    ) == 1


@pytest.mark.parametrize(
    ("said", "length"),
    [
        ("5", 5),
        ("0", 0),
        ("", None),
        (None, None),
        ("9" * 5000, None),
        ("+5", None),
        ("\u0665", None),
        (5, 5),
    ],
)
def test_a_length_is_a_number_or_none(said: object, length: int | None) -> None:
    """Of any size, in any script: nothing raises."""
    assert length_of({"CONTENT_LENGTH": said}) == length


def test_an_absurd_length_reaches_the_application() -> None:
    """It answers as without the middleware, to which the request is one that the proxy would refuse."""

    def app(environ: Environ, start: Start) -> list[bytes]:
        start("400 Bad Request", [])
        return [environ["CONTENT_LENGTH"][:1].encode()]

    middleware = dark(app)
    assert answer_of(middleware, environ_of(REQUEST_METHOD="POST", CONTENT_LENGTH="9" * 5000)) == b"9"
    middleware.stop()


@pytest.mark.parametrize(
    ("status", "headers", "items"),
    [
        ("\u00b200 Odd", [], [b"a"]),
        ("200 OK", [(b"x-bytes", b"1")], [b"a"]),
        ("200 OK", [("X-Three", "1", "2")], [b"a"]),
        ("200 OK", [], ["text", None, 7]),
    ],
)
def test_an_answer_that_cannot_be_read_passes(status: str, headers: Any, items: Any) -> None:
    """Whether it is one is the server's to say; nothing of it is compared."""

    def app(environ: Environ, start: Start) -> Any:
        start(status, headers)
        return iter(items)

    middleware = dark(app)
    assert list(middleware(environ_of(), lambda *_: lambda _: None)) == items
    books = until_booked(middleware, 1)
    report = middleware.report()
    middleware.stop()
    assert books["eligible"] == 1
    assert report["exchanges"] == 0


class Lazy:
    """An answer that tells when it is asked for its items, and that it was closed."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def __iter__(self) -> Iterator[bytes]:
        self.told.append("iter")
        raise ZeroDivisionError

    def close(self) -> None:
        self.told.append("close")


def test_an_answer_is_asked_for_its_items_by_the_server() -> None:
    """Not before; one that is never iterated is only closed, and so is one whose items cannot be had."""
    told: list[str] = []
    reasons: list[str] = []

    class Witness:
        def ended(self, reason: str) -> None:
            reasons.append(reason)

    def tee() -> Tee:
        return Tee(lambda *_: lambda _: None, Pieces(9), Witness(), is_head=False)

    never: Any = teed(Lazy(told), tee())
    never.close()
    broken: Any = teed(Lazy(told), tee())
    with pytest.raises(ZeroDivisionError):
        list(broken)
    broken.close()
    assert told == ["close", "iter", "close"]
    assert reasons == ["client_aborted", "primary_failed"]


def test_a_body_that_is_read_twice_is_kept_once() -> None:
    """By who may go back in it: what was read again is no more of it, and what was skipped is not whole."""
    pieces = Pieces(100)
    source = Input(io.BytesIO(b"abcdef"), pieces, length=6)
    assert source.read() == b"abcdef"
    source.seek(0)
    assert source.read() == b"abcdef"
    assert (b"".join(pieces.kept), source.is_whole) == (b"abcdef", True)

    pieces = Pieces(100)
    source = Input(io.BytesIO(b"abcdef"), pieces, length=6)
    assert source.read(2) == b"ab"
    source.seek(0)
    assert source.read() == b"abcdef"
    assert not source.is_whole


@pytest.mark.parametrize("length", [4, 6])
def test_a_body_of_another_length_than_was_said_is_not_whole(length: int) -> None:
    """The client left in the middle of it, or the server gives more: no copy says what the client said."""
    source = Input(io.BytesIO(b"abcde"), Pieces(100), length=length)
    assert (source.read(), source.read()) == (b"abcde", b"")
    assert not source.is_whole


def test_a_body_has_the_ways_to_be_read_that_the_server_gave_it() -> None:
    """Who looks for `read1`, or asks for the next line, finds what is there without the middleware."""

    class Bare:
        def read(self, size: int = -1) -> bytes:
            return b""

    assert not hasattr(Input(Bare(), Pieces(9), length=None), "read1")
    passed = Input(io.BytesIO(b"a\nb"), Pieces(9), length=None)
    assert passed.read1(1) == b"a"
    assert next(passed) == b"\n"
    assert (next(passed, b""), next(passed, b"none")) == (b"b", b"none")
    assert passed.is_whole


def test_a_control_is_given_a_body_of_known_length() -> None:
    """Also where the first one came in chunks: nothing else says where it ends."""
    given = again({"understudy.environ": {"HTTP_TRANSFER_ENCODING": "chunked"}, "understudy": None}, b"abc")
    assert (given["CONTENT_LENGTH"], "HTTP_TRANSFER_ENCODING" in given) == ("3", False)
    assert given["wsgi.input"].read() == b"abc"


def test_a_canary_whose_head_the_server_refuses_is_left() -> None:
    """The server's exception is its own, and the service is not kept waiting for a reader that is gone."""
    is_gone = threading.Event()

    def service(environ: Environ, start: Start) -> Any:
        start("200 OK", [])
        try:
            for _ in range(10_000):
                yield b"x" * 65536
        finally:
            is_gone.set()

    def refuses(*_: Any) -> Any:
        raise ValueError("no such header")

    with served(service) as port:
        variants = {"c": {"serve": "v2"}}
        config = configured({"v2": f"http://127.0.0.1:{port}"}, **rules(variants, serves="c"))
        middleware = UnderstudyWSGIMiddleware(lambda *_: [b""], config)
        with pytest.raises(ValueError, match="no such header"):
            middleware(environ_of(), refuses)
        assert is_gone.wait(60)
        middleware.stop()


@pytest.mark.parametrize("is_late", [False, True])
def test_a_canary_under_way_is_carried_to_its_end(is_late: bool) -> None:
    """Whoever stops meanwhile waits for it, for `limits.drain_timeout`; one that is late is cut."""
    goes_on = threading.Event()

    def service(environ: Environ, start: Start) -> Any:
        start("200 OK", [])
        yield b"first"
        goes_on.wait(120)
        yield b"last"

    with served(service) as port:
        services = {"v2": f"http://127.0.0.1:{port}"}
        limits = {"drain_timeout": "0.3s" if is_late else "60s"}
        config = configured(services, **rules({"c": {"serve": "v2"}}, serves="c"), limits=limits)
        middleware = UnderstudyWSGIMiddleware(lambda *_: [b""], config)
        answer: Any = middleware(environ_of(), lambda *_: lambda _: None)
        assert next(answer) == b"first"
        stopping = threading.Thread(target=middleware.stop)
        stopping.start()
        if is_late:
            with pytest.raises(OSError, match="broke off"):
                list(answer)
        goes_on.set()
        assert b"".join(answer) == (b"" if is_late else b"last")
        answer.close()
        stopping.join(60)
        assert not stopping.is_alive()


def test_two_hundred_threads_at_once() -> None:
    """Each gets its own answer and its own decision, and every request is booked once."""

    def app(environ: Environ, start: Start) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), environ["understudy"].variant.encode()]

    with served(lambda environ, start: (start("200 OK", []), [b"x"])[1]) as shadow:
        middleware = dark(app, shadow)
        wrong: list[bytes] = []
        gate = threading.Barrier(200)

        def work(n: int) -> None:
            gate.wait(60)
            for turn in range(5):
                got = answer_of(middleware, environ_of(PATH_INFO=f"/{n}/{turn}"))
                if got != f"/{n}/{turn}dark".encode():
                    wrong.append(got)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        books = until_booked(middleware, 1000)
        middleware.stop()
    assert wrong == []
    assert books["eligible"] == 1000


def test_a_head_request_is_compared_without_a_body() -> None:
    """What the application returns is not what the client gets."""

    def app(environ: Environ, start: Start) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
        return [] if environ.get("HTTP_X_UNDERSTUDY_SHADOW") else [b"hello"]

    with served(app) as shadow:
        middleware = dark(app, shadow)
        with served(middleware) as port:
            assert ask(port, method="HEAD")[2] == b""
            report = until_told(middleware, "exchanges")
    assert report["matched"] == 1


def test_a_client_that_leaves_closes_the_answer() -> None:
    """In the middle of a long one: closed once, booked as left, and the thread goes on."""
    closed = threading.Event()

    def app(environ: Environ, start: Start) -> Any:
        start("200 OK", [])
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.set()

    with served(lambda environ, start: (start("200 OK", []), [b"x"])[1]) as shadow:
        middleware = dark(app, shadow)
        with served(middleware) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.read(10) == b"x" * 10
            answer.close()
            connection.close()
            assert closed.wait(60)
            books = until_booked(middleware, 1)
            report = middleware.report()
    assert (books["eligible"], report["exchanges"]) == (1, 0)
