"""The thread that mirrors: how it begins, what it survives, what is left when it and its process end."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from middleware_world import configured, rules

from understudy.errors import StoreError
from understudy.middleware import Understudy, UnderstudyWSGIMiddleware, background
from understudy.middleware.errands import Errands
from understudy.middleware.native import Executor
from understudy.middleware.stage import Stage

CONFIG: dict[str, Any] = {"store": "memory://", "services": {}, "shadow": {"confirm": False}}

SHORT = """
from understudy.middleware import Understudy

understudy = Understudy({"store": "sqlite:///evidence.db", "services": {}, "shadow": {"confirm": False}})

@understudy.shadow(candidate=lambda n: n + 1, name="new")
def old(n):
    return n

assert old(1) == 1
"""


@pytest.fixture
def understudy() -> Iterator[Understudy]:
    one = Understudy(CONFIG)
    yield one
    one.background.stop()


def test_a_program_that_ends_at_once_keeps_its_evidence(tmp_path: Path) -> None:
    """It ends before the thread's loop and the store have begun; what it did is stored, nothing is said."""
    for times in (1, 2):  # the second finds tables that are there
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", SHORT],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        found = sqlite3.connect(tmp_path / "evidence.db").execute("SELECT count(*) FROM evidence_sources")
        assert found.fetchone() == (times,)


def test_what_is_only_beginning_can_be_stopped(understudy: Understudy) -> None:
    """`stop` returns when the loop has ended, not before it began."""
    assert understudy.background.begin_soon() is not None
    understudy.background.stop()

    assert understudy.background.errands is None
    assert understudy.background.begin() is None
    with pytest.raises(RuntimeError, match="has ended"):
        understudy.background.run(asyncio.sleep(0))
    with pytest.raises(StoreError, match="off or has ended"):
        understudy.background.report()


def test_without_a_thread_requests_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has none left: the application answers, and nobody waits for what will not begin."""

    def none(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(background, "start_thread", none)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [])
        return [environ["understudy"].variant.encode() or b"none"]

    monkeypatch.setattr(background, "START_SECONDS", 300.0)
    understudy = Understudy(configured({}, **rules({"a": {}}, serves="a")))
    middleware = UnderstudyWSGIMiddleware(app, understudy=understudy)
    began = time.monotonic()
    assert understudy.background.begin_soon() is None
    for _ in range(3):
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        assert list(middleware(environ, lambda *_: print)) == [b"none"]
    assert time.monotonic() - began < background.START_SECONDS / 2
    assert "can't start new thread" in understudy.failure


def test_a_fault_in_one_piece_of_work_ends_that_one(understudy: Understudy) -> None:
    """Whatever raises in the loop: the next call is mirrored all the same."""

    async def fails() -> None:
        raise ZeroDivisionError

    errands = understudy.background.begin()
    assert errands is not None
    stage = errands.stage

    async def spawn() -> None:
        task = stage.spawn(fails())
        assert isinstance(task, asyncio.Task)
        await task

    understudy.background.run(spawn()).result(60)

    @understudy.shadow(candidate=abs, name="new")
    def old(n: int) -> int:
        return n

    old(1)
    until = time.monotonic() + 60
    while understudy.background.report()["matched"] < 1 and time.monotonic() < until:
        time.sleep(0.02)
    assert understudy.background.report()["matched"] == 1
    assert stage.metrics.errors["internal_work"] == 1


def test_a_loop_that_dies_lets_requests_and_calls_pass(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever ends it: it is told, nobody waits, and what it was to do is left."""

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [])
        return [environ["understudy"].variant.encode() or b"none"]

    config = configured({"v2": "http://127.0.0.1:9"}, **rules({"a": {"mirror": ["v2"]}}, serves="a"))
    understudy = Understudy(config)
    middleware = UnderstudyWSGIMiddleware(app, understudy=understudy)
    old = understudy.shadow(candidate=abs, name="new")(abs)
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    under_way = middleware({**environ}, lambda *_: print)
    errands = understudy.background.errands
    assert errands is not None
    errands.stage.loop.call_soon_threadsafe(sys.exit, 3)
    until = time.monotonic() + 60
    while understudy.background.errands is not None and time.monotonic() < until:
        time.sleep(0.01)

    assert b"".join(under_way) == b"a"
    assert b"".join(middleware({**environ}, lambda *_: print)) == b"none"
    assert old(-1) == 1
    with pytest.raises(StoreError, match="stopped"):
        middleware.report()
    understudy.background.stop()
    assert "what mirrors has ended" in caplog.text


def test_under_eventlet_the_middleware_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threads are greenlets, of which a loop would hold up all others: that is said, requests pass."""

    class Patcher:
        @staticmethod
        def is_monkey_patched(module: str) -> bool:
            return module == "thread"

    monkeypatch.setitem(sys.modules, "eventlet.patcher", Patcher)
    middleware = UnderstudyWSGIMiddleware(lambda *_: [b"x"], configured({}, **rules({"a": {}}, serves="a")))
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    assert list(middleware(environ, lambda *_: print)) == [b"x"]
    assert "serve with threads or gevent" in middleware.understudy.failure
    with pytest.raises(StoreError, match="gevent"):
        middleware.report()


class Interrupting:
    """Offers more while it is offered itself, as a signal's handler may."""

    def __init__(self, errands: Errands) -> None:
        self.errands = errands
        self.is_first = True

    def __hash__(self) -> int:
        if self.is_first:
            self.is_first = False
            self.errands.offer(1, lambda _: None, self)
        return 1

    def refused(self, stage: Stage, times: int) -> None:
        """Not of interest."""


@pytest.mark.parametrize("begun", [0, 1])
def test_a_thread_finds_the_stage_while_loops_begin(begun: int) -> None:
    """Wherever it may be interrupted (before and behind a call), one more does: no call is lost for it."""
    understudy = Understudy({"store": "memory://", "services": {}})
    code = vars(Understudy)["stage"].fget.__code__
    stages: list[Any] = [object() for _ in range(begun)]
    understudy.by_loop.update({stage: stage for stage in stages})

    def meanwhile(frame: FrameType, _event: str, _: object) -> None:
        if frame.f_code is code:
            stages.append(object())
            understudy.by_loop[stages[-1]] = stages[-1]

    sys.setprofile(meanwhile)
    try:
        found = understudy.stage
    finally:
        sys.setprofile(None)
    understudy.by_loop.clear()
    assert len(stages) > begun + 2
    assert found in stages


def test_what_interrupts_an_offer_may_offer() -> None:
    """In the same thread, between any two instructions: nothing waits for itself."""
    errands = Errands(0)
    assert not errands.offer(1, lambda _: None, Interrupting(errands))


def test_a_forked_process_leaves_the_errands_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked request goes on; the lock may be held for ever, by a thread that is not there."""
    errands = Errands(1000)
    monkeypatch.setattr("understudy.middleware.errands.os.getpid", lambda: -1)
    assert not errands.offer(1, lambda _: None, Interrupting(errands))


def test_an_executor_tells_what_came_of_its_work() -> None:
    """Results, and exceptions as they were raised, also after it was shut down, as its loop ends last."""
    executor = Executor(1)
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)
    executor.shutdown()
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 7, 0).result(60)
