"""What holds in a process of gevent's, where threads are greenlets: ``gevent_facts.py FACT``."""

# ruff: noqa: E402  gevent patches before anything else is imported
from gevent import monkey

monkey.patch_all()

import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import gevent
import gevent.pool
import pytest
from middleware_world import configured, rules

from understudy.middleware import Understudy, UnderstudyWSGIMiddleware
from understudy.middleware.native import native

get_thread = native("_thread", "get_ident")

SECONDS = 60.0
"""What a busy machine may make of anything that happens at all."""
TIMES = 20
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary"


def shop(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """The application."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ["understudy"].variant.encode()]


def made(v2: socket.socket, app: Any = shop, **shadow: Any) -> UnderstudyWSGIMiddleware:
    """*app* with the middleware: users meet the variant that they name, of which two ask *v2*."""
    variants = {"stable": {}, "canary": {"serve": "v2"}, "dark": {"mirror": ["v2"]}}
    document = rules(variants, serves="stable")
    document["flags"]["shop"]["targeting"] = {"var": "headers.x-user"}
    settings = {"confirm": False, "control": 0, "timeout": f"{SECONDS:g}s", **shadow}
    services = {"v2": f"http://127.0.0.1:{v2.getsockname()[1]}"}
    return UnderstudyWSGIMiddleware(app, configured(services, **document, shadow=settings))


def ask(middleware: UnderstudyWSGIMiddleware, user: str) -> bytes:
    """The body of one answer, iterated and closed as servers do."""
    environ: dict[str, Any] = {"HTTP_X_USER": user}
    setup_testing_defaults(environ)
    answer = middleware(environ, lambda *_: print)
    try:
        return b"".join(answer)
    finally:
        close = getattr(answer, "close", None)
        if close is not None:
            close()


def until(told: Callable[[], bool]) -> None:
    """Let greenlets go on until *told*."""
    with gevent.Timeout(SECONDS):
        while not told():
            gevent.sleep(0.005)


def eligible(middleware: UnderstudyWSGIMiddleware) -> int:
    """How many mirrored requests are booked."""
    count: int = middleware.report()["mirror"]["eligible"]
    return count


def a_hung_canary() -> None:
    """Its own request waits, and no other one."""
    with socket.create_server(("127.0.0.1", 0)) as v2:
        middleware = made(v2)
        waiting = gevent.spawn(ask, middleware, "canary")
        with gevent.Timeout(SECONDS):
            connection, _ = v2.accept()
            assert connection.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
        assert {ask(middleware, "stable") for _ in range(TIMES)} == {b"stable"}
        assert not waiting.ready()
        with connection:
            connection.sendall(ANSWER)
            assert waiting.get(timeout=SECONDS) == b"canary"


def a_busy_loop() -> None:
    """What mirrors is held up: requests are not, and are booked later."""
    held = native("_thread", "allocate_lock")()
    begun: list[bool] = []

    async def hold() -> None:
        begun.append(True)
        assert held.acquire(timeout=SECONDS)

    with socket.create_server(("127.0.0.1", 0)) as v2:
        middleware = made(v2, timeout="1s")
        ask(middleware, "stable")
        held.acquire()
        holding = middleware.understudy.background.run(hold())
        until(lambda: bool(begun))
        assert {ask(middleware, "dark") for _ in range(TIMES)} == {b"dark"}
        assert not holding.done()
        held.release()
        until(lambda: eligible(middleware) == TIMES)


class Wakers:
    """Stands for the hub of this thread, and notes in which threads others use what it is waked by."""

    def __init__(self) -> None:
        self.loop = self
        self.begun = 0
        self.ended: list[int] = []
        self._hub = gevent.get_hub()

    def async_(self) -> "Waker":
        self.begun += 1
        return Waker(self, self._hub.loop.async_())


class Waker:
    """One of them; it is *real*."""

    def __init__(self, wakers: Wakers, real: Any) -> None:
        self._wakers = wakers
        self._real = real
        self.start = real.start
        self.send = real.send

    def close(self) -> None:
        self._wakers.ended.append(get_thread())
        self._real.close()


def wakers() -> None:
    """Of gevent's loop other threads use nothing but what is meant for them, and nothing is left in it."""
    with socket.create_server(("127.0.0.1", 0)) as v2:
        answering = gevent.spawn(answer_all, v2)
        middleware = made(v2)
        ask(middleware, "stable")
        used = Wakers()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gevent, "get_hub", lambda: used)
            with gevent.Timeout(SECONDS):
                assert {ask(middleware, "canary") for _ in range(TIMES)} == {b"canary"}
                for _ in range(TIMES):
                    middleware.report()
            middleware.stop()
        answering.kill()
    assert used.begun >= TIMES
    assert used.ended == [get_thread()] * used.begun


def busy_greenlets() -> None:
    """Greenlets hold up each other: what mirrors goes on meanwhile, and the copy goes out."""
    with socket.create_server(("127.0.0.1", 0)) as v2:
        middleware = made(v2, timeout="1s")
        assert ask(middleware, "dark") == b"dark"
        reached, _, _ = native("select", "select")([v2.fileno()], [], [], SECONDS)
        assert reached


def a_function() -> None:
    """Its candidates run beside its callers, with whom they share what only greenlets may wait for."""
    understudy = Understudy(configured({}, shadow={"confirm": False, "control": 0}))
    lock = threading.Lock()

    def new(n: int) -> int:
        with lock:
            time.sleep(0.005)  # a caller, or another one, wants it meanwhile
        return n + 1

    @understudy.shadow(candidate=new, name="new", in_flight=TIMES)
    def old(n: int) -> int:
        with lock:
            time.sleep(0.005)  # the candidate wants it meanwhile
        return n

    with gevent.Timeout(SECONDS):
        assert gevent.pool.Pool(4).map(old, range(TIMES)) == list(range(TIMES))
    until(lambda: understudy.background.report()["exchanges"] == TIMES)


def controls() -> None:
    """They run beside the requests, with whom they share what only greenlets may wait for."""
    lock = threading.Lock()

    def slow(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        with lock:
            time.sleep(0.005)  # a request, or another control, wants it meanwhile
        return shop(environ, start)

    with socket.create_server(("127.0.0.1", 0)) as v2:
        answering = gevent.spawn(answer_all, v2)
        middleware = made(v2, slow, control=1)
        with gevent.Timeout(SECONDS):
            answers = gevent.pool.Pool(4).map(lambda _: ask(middleware, "dark"), range(TIMES))
        assert answers == [b"dark"] * TIMES
        until(lambda: int(middleware.report()["with_control"]) == TIMES)
        answering.kill()


def answer_all(listener: socket.socket) -> None:
    """Another version, which answers as a canary does."""
    while True:
        connection, _ = listener.accept()
        gevent.spawn(answer_each, connection)


def answer_each(connection: socket.socket) -> None:
    with connection:
        while connection.recv(65536):
            connection.sendall(ANSWER)


def an_end() -> None:
    """`stop` lets the greenlets go on while it waits for copies, and cuts those that hang off in time."""
    with socket.create_server(("127.0.0.1", 0)) as v2:
        middleware = made(v2)
        ask(middleware, "dark")
        with gevent.Timeout(SECONDS):
            connection, _ = v2.accept()
        ticks: list[float] = []

        def tick() -> None:
            while True:
                ticks.append(time.monotonic())
                gevent.sleep(0.01)

        ticking = gevent.spawn(tick)
        middleware.stop()
        ticking.kill()
        assert len(ticks) > 1  # on a busy machine few, and none at all if it held up the others
        assert ask(middleware, "dark") == b""
        connection.close()


FACTS: dict[str, Callable[[], None]] = {
    fact.__name__: fact
    for fact in (a_hung_canary, a_busy_loop, wakers, busy_greenlets, a_function, controls, an_end)
}

if __name__ == "__main__":
    FACTS[sys.argv[1]]()
