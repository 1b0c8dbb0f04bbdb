"""Who met which variant in a WSGI application: the same counts, told in the loop, read in the store."""

import asyncio
import io
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from met_world import configuration, patient_ends, stored
from wsgi_world import Environ, Start, ask, served

from understudy.middleware import Understudy, UnderstudyWSGIMiddleware

__all__ = ["patient_ends"]

EVERYBODY = ("ann", "bob", "carl", "cora", "dan", "dan", "ann")
MET = {("shop", "stable"): 3, ("shop", "canary"): 2, ("shop", "dark"): 2}


def app(environ: Environ, start: Start) -> Any:
    """Answers as the service does; asks for other flags at /ask, raises at /broken."""
    path = environ["PATH_INFO"]
    if path == "/broken":
        raise RuntimeError("broken")
    if path == "/ask":
        decision = environ["understudy"]
        decision.is_enabled("new_cart")
        decision.variant_of("shop")
        decision.value("missing")
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"hi"]


@pytest.fixture
def service() -> Iterator[str]:
    """The canary, and the shadow."""
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


def after(config: dict[str, Any], users: Sequence[str], path: str = "/a") -> tuple[Any, Any]:
    """What an application has left in the store: evaluations and units."""
    with served(UnderstudyWSGIMiddleware(app, config)) as port:
        for user in users:
            ask(port, path, X_User=user)
    return asyncio.run(stored(config))


def test_every_decided_request_counts(tmp_path: Path, service: str) -> None:
    """By the variant that was met; units as keyed hashes when that is asked for."""
    config = configuration(tmp_path, service, exposures={"sample": 1.0})
    units = {("shop", "stable"): 2, ("shop", "canary"): 2, ("shop", "dark"): 1}
    assert after(config, EVERYBODY) == (MET, units)


def test_no_unit_is_kept_unasked(tmp_path: Path, service: str) -> None:
    """Nor does a request count that raises nothing but questions of its own, or none."""
    config = configuration(tmp_path, service)
    assert after(config, ["ann", "bob"], "/ask") == (
        {("shop", "stable"): 2, ("new_cart", "on"): 1, ("new_cart", "off"): 1},
        {},
    )


def test_a_request_without_an_answer_counts(tmp_path: Path, service: str) -> None:
    """The application raises: whoever asked has met the variant."""
    config = configuration(tmp_path, service)
    assert after(config, ["ann", "dan"], "/broken")[0] == {("shop", "stable"): 1, ("shop", "dark"): 1}


def test_a_fallback_is_met_as_what_it_is(tmp_path: Path) -> None:
    """The default variant is met, before and after the canary's origin is ejected; requests count alike."""
    config = configuration(tmp_path, "http://127.0.0.1:9")
    config["services"]["v2"]["eject"] = {"failures": 2}
    middleware = UnderstudyWSGIMiddleware(app, config)
    with served(middleware) as port:
        assert [ask(port, X_User="carl")[0] for _ in range(4)] == [200] * 4
        errands = middleware.understudy.background.errands
        assert errands is not None
    fallbacks = errands.stage.metrics.snapshot()["fallbacks"]
    assert [(row[1:5], sum(row[5])) for row in fallbacks] == [(["shop", "canary", "stable", "app"], 4)]
    assert asyncio.run(stored(config)) == ({("shop", "stable"): 4}, {})


def test_rules_that_turn_meanwhile_change_nothing_that_was_met(tmp_path: Path, service: str) -> None:
    """A request that was decided by those before them counts as it was decided."""
    config = configuration(tmp_path, service)
    is_asked, may_answer = threading.Event(), threading.Event()

    def slow(environ: Environ, start: Start) -> Any:
        is_asked.set()
        may_answer.wait(120)
        return app(environ, start)

    understudy = Understudy(config, kind="wsgi")
    middleware = UnderstudyWSGIMiddleware(slow, understudy=understudy)
    with served(middleware) as port:
        asker = threading.Thread(target=ask, args=(port, "/a"), kwargs={"X_User": "dan"})
        asker.start()
        assert is_asked.wait(60)
        document = {"flags": {}, "routes": [{"path": "/", "serve": "app"}]}
        errands = understudy.background.errands
        assert errands is not None
        turned = understudy.background.run(errands.stage.put_rules(document, author="me", reason=""))
        assert turned.result(60) == 2
        may_answer.set()
        asker.join(60)
    assert asyncio.run(stored(config)) == ({("shop", "dark"): 1}, {})


@pytest.mark.parametrize(("user", "variant"), [("ann", "stable"), ("dan", "dark")])
def test_what_finds_no_room_on_its_way_counts_all_the_same(
    tmp_path: Path, service: str, user: str, variant: str
) -> None:
    """A loop that is stuck is not waited for: copies are dropped, and every request has met its variant."""
    config = configuration(tmp_path, service)
    middleware = UnderstudyWSGIMiddleware(app, config)
    with served(middleware) as port:
        ask(port, X_User=user)
        errands = middleware.understudy.background.errands
        assert errands is not None
        is_stuck, may_go = threading.Event(), threading.Event()

        def block() -> None:
            is_stuck.set()
            may_go.wait(120)

        errands.stage.loop.call_soon_threadsafe(block)
        assert is_stuck.wait(60)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "h", "REMOTE_ADDR": "127.0.0.1"}
        for _ in range(1100):
            given = {**environ, "HTTP_X_USER": user, "wsgi.input": io.BytesIO()}
            list(middleware(given, lambda *_: lambda _: None))
        may_go.set()
    assert asyncio.run(stored(config)) == ({("shop", variant): 1101}, {})
