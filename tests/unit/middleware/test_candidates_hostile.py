"""Candidates, arguments and results that do what they should not: callers go on, figures are true."""

import asyncio
import functools
import io
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from rich.console import Console
from test_candidates import CONFIG, books, found, told

from understudy.middleware import Understudy
from understudy.middleware.rehearsed_call import Called
from understudy.report import render_text

FORKS = """
import os
import sys
import time
from understudy.middleware import Understudy

understudy = Understudy({"store": "memory://", "services": {}, "shadow": {"confirm": False}})

@understudy.shadow(candidate=lambda n: n + 1, name="new")
def old(n):
    return n

def eligible(at_least):
    while True:
        mirror = understudy.background.report()["mirror"]
        ended = mirror["answered"] + sum(mirror["failed"].values())
        if mirror["eligible"] >= at_least and mirror["sent"] == ended:
            return mirror["eligible"]
        time.sleep(0.02)

def child():
    old(1)
    old(2)
    print("child", eligible(2), flush=True)

assert old(1) == 1
print("parent", eligible(1), flush=True)
pid = os.fork()
if pid == 0:
    child()
    sys.exit(0)
os.waitpid(pid, 0)
old(2)
print("parent", eligible(2), flush=True)
"""

POOLED = """
import multiprocessing
import time
from understudy.middleware import Understudy

understudy = Understudy({"store": "sqlite:///evidence.db", "services": {}, "shadow": {"confirm": False}})

@understudy.shadow(candidate=lambda n: n + 1, name="new")
def old(n):
    return n

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=old, args=(1,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    until = time.monotonic() + 60
    while (told := understudy.background.report()["exchanges"]) != 1 and time.monotonic() < until:
        time.sleep(0.05)
    print(told)
"""


@pytest.fixture
def understudy() -> Iterator[Understudy]:
    one = Understudy(CONFIG)
    yield one
    one.background.stop()


def program(text: str, place: Path) -> str:
    """What a program prints, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", text],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


class Blocking:
    """A result that takes its time to be read."""

    def __init__(self, may_go: threading.Event) -> None:
        self._may_go = may_go

    def model_dump(self, *, mode: str) -> str:
        self._may_go.wait(120)
        return mode


def test_a_result_that_hangs_when_it_is_read_holds_up_nobody(understudy: Understudy) -> None:
    """It is read in the thread that made it, within the same time: other candidates go on."""
    may_go = threading.Event()

    @understudy.shadow(candidate=lambda: Blocking(may_go), name="slow", timeout=0.3)
    def slow() -> int:
        return 1

    @understudy.shadow(candidate=lambda: 1, name="fine")
    def fine() -> int:
        return 1

    slow()
    fine()
    report = told(understudy, 2)
    may_go.set()
    assert report["mirror"]["failed"] == {"timeout": 1}
    assert report["matched"] == 1


class Broken:
    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError


def test_a_result_that_raises_when_it_is_read_is_unreadable(understudy: Understudy) -> None:
    """The candidate's as the function's own; also one in a circle, and one of whom nobody awaits the rest."""
    circle: list[Any] = []
    circle.append(circle)

    async def later() -> int:
        return 1

    for name, result in (("a", Broken()), ("b", circle), ("c", {1, Broken}), ("d", [{"x": Broken()}])):
        understudy.shadow(candidate=lambda result=result: result, name=name)(lambda: 1)()
        understudy.shadow(candidate=lambda: 1, name=f"{name}_own")(lambda result=result: result)()
    understudy.shadow(candidate=lambda: later(), name="e")(lambda: 1)()
    report = told(understudy, 9)
    assert report["mirror"]["failed"] == {"unreadable": 5}
    assert report["mirror"]["skipped"] == {"unreadable": 4}
    assert report["exchanges"] == 0


class CopiedOnce:
    """Can be copied, but its copy cannot."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Copied":
        return Copied()


class Copied:
    def __deepcopy__(self, memo: dict[int, Any]) -> "Copied":
        raise ZeroDivisionError


def test_arguments_that_cannot_be_copied_again_are_no_difference(understudy: Understudy) -> None:
    """The candidate was never called: that is counted, and says nothing of it."""
    understudy.shadow(candidate=lambda _: 1, name="new")(lambda _: 1)(CopiedOnce())
    report = told(understudy, 1)
    assert (report["mirror"]["failed"], report["exchanges"]) == ({"uncopyable": 1}, 0)


def test_a_candidate_that_hangs_for_ever_gathers_nothing(
    understudy: Understudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Call after call gives up behind it; none of their arguments is kept."""
    made: list[Called] = []
    begin = Called.__init__

    def init(self: Called, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Called, "__init__", init)
    may_go = threading.Event()
    old = understudy.shadow(candidate=lambda: may_go.wait(120), name="new", timeout=0.05, in_flight=1)(
        lambda: True
    )
    for n in range(1, 6):
        old()
        told(understudy, n)
    report = told(understudy, 5)
    waiting = [len(called.hands) for called in made]
    may_go.set()
    assert report["mirror"]["failed"] == {"timeout": 5}
    assert waiting == [0, 0]


class Callables:
    def __call__(self, n: int) -> int:
        return n


class AsyncCallable:
    async def __call__(self, n: int) -> int:
        return n


class GeneratorCallable:
    def __call__(self, n: int) -> Iterator[int]:
        yield n


def add(n: int, m: int = 0) -> int:
    return n + m


@pytest.mark.parametrize("one", [functools.partial(add, m=0), Callables(), abs, int, max])
def test_whatever_can_be_called_can_rehearse(understudy: Understudy, one: Callable[..., int]) -> None:
    """Partials, objects, builtins without a signature: on both sides, under a name of their own."""
    arguments = (1, 0) if one is max else (1,)
    assert understudy.shadow(candidate=one)(one)(*arguments) == 1
    assert told(understudy, 1)["matched"] == 1
    with pytest.raises(TypeError, match="both are async, or neither"):
        understudy.shadow(candidate=AsyncCallable(), name="a")(one)
    with pytest.raises(TypeError, match=r"GeneratorCallable is a generator"):
        understudy.shadow(candidate=GeneratorCallable(), name="b")


async def test_a_mock_that_is_awaited_rehearses(understudy: Understudy) -> None:
    """Which says that it is async, though its class does not."""
    new, old = AsyncMock(return_value=1, __qualname__="new"), AsyncMock(return_value=1, __qualname__="old")
    assert await understudy.shadow(candidate=new, name="new")(old)(1) == 1
    assert (await asyncio.to_thread(told, understudy, 1))["matched"] == 1
    new.assert_awaited_once_with(1)


async def test_an_object_that_is_awaited_rehearses(understudy: Understudy) -> None:
    """One with an async ``__call__``."""
    assert await understudy.shadow(candidate=AsyncCallable())(AsyncCallable())(1) == 1
    assert (await asyncio.to_thread(told, understudy, 1))["matched"] == 1


@pytest.mark.parametrize("name", ["\ud800", "a\nb", " ", "a ", "\x00", "x" * 201, "app"])
def test_a_name_that_no_report_can_show_is_refused(understudy: Understudy, name: str) -> None:
    """At once, with what would do: it would go into every metric and every row of evidence."""
    with pytest.raises(ValueError, match="name: "):
        understudy.shadow(candidate=abs, name=name)


def test_an_odd_name_is_told_as_it_is(understudy: Understudy) -> None:
    """Whatever else can be shown."""
    name = "<b>größe/1?x={id}&\"'</b>"
    understudy.shadow(candidate=lambda: 2, name=name)(lambda: 1)()
    report = told(understudy, 1)
    assert report["endpoints"][0]["service"] == name
    assert found(report) == [("/body", "value", 1)]


def test_an_application_that_seeds_chance_draws_what_it_would_draw(understudy: Understudy) -> None:
    """Which calls rehearse is drawn from elsewhere, here and where copies are chosen."""
    old = understudy.shadow(candidate=abs, name="new", share=0.5)(abs)
    random.seed(7)
    wanted = [random.random() for _ in range(50)]
    random.seed(7)
    drawn = []
    for half in range(2):
        for n in range(25):
            old(n)
            drawn.append(random.random())
        told(understudy, half)
    assert drawn == wanted


async def test_a_candidate_that_cancels_itself_has_answered(understudy: Understudy) -> None:
    """As with every exception; nobody waits until the deadline for it."""

    async def new() -> int:
        raise asyncio.CancelledError

    @understudy.shadow(candidate=new, timeout=100)
    async def old() -> int:
        return 1

    assert await old() == 1
    report = await asyncio.to_thread(told, understudy, 1)
    assert ("/status", "status", 1) in found(report)


def test_a_candidate_whose_loop_is_closed_is_counted(understudy: Understudy) -> None:
    """As under `asyncio.run` for each call: it can run nowhere any more."""

    async def new() -> int:
        return 1

    @understudy.shadow(candidate=new)
    async def old() -> int:
        return 1

    errands = understudy.background.begin()
    assert errands is not None
    is_stuck, may_go = threading.Event(), threading.Event()

    def block() -> None:
        is_stuck.set()
        may_go.wait(120)

    errands.stage.loop.call_soon_threadsafe(block)
    assert is_stuck.wait(60)
    assert asyncio.run(old()) == 1
    may_go.set()
    assert told(understudy, 1)["mirror"]["failed"] == {"loop_closed": 1}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_the_caller_ends_the_caller(understudy: Understudy, error: type[BaseException]) -> None:
    """A function that exits has not answered: nothing rehearses, nothing is swallowed."""

    def exits() -> int:
        raise error

    with pytest.raises(error):
        understudy.shadow(candidate=lambda: 1, name="new")(exits)()
    fine = understudy.shadow(candidate=lambda: 1, name="fine")(lambda: 1)
    fine()
    assert books(told(understudy, 1))["eligible"] == 1


def test_a_caller_that_is_cancelled_rehearses_nothing(understudy: Understudy) -> None:
    """It has no answer to compare with."""

    async def waits() -> int:
        await asyncio.Event().wait()
        return 1

    old = understudy.shadow(candidate=waits, name="new")(waits)

    async def application() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(old(), 0.01)

    asyncio.run(application())
    understudy.shadow(candidate=lambda: 1, name="fine")(lambda: 1)()
    assert books(told(understudy, 1))["eligible"] == 1


def test_functions_that_call_themselves_are_booked_call_by_call(understudy: Understudy) -> None:
    """Each call of the function rehearses; what a candidate calls does not, however deep."""

    def new(n: int) -> int:
        return 1 if n == 0 else n * old(n - 1)

    @understudy.shadow(candidate=new, name="new")
    def old(n: int) -> int:
        return 1 if n == 0 else n * old(n - 1)

    assert old(10) == 3628800
    report = told(understudy, 11)
    assert books(report)["eligible"] == 11
    assert report["matched"] == report["exchanges"] == 11


def test_many_threads_call_at_once(understudy: Understudy) -> None:
    """Each has its own answer; every call is booked once, and differs where it should."""
    old = understudy.shadow(candidate=lambda n: n % 2, name="new", in_flight=1024)(lambda _: 0)
    gate = threading.Barrier(100)

    def work(n: int) -> None:
        gate.wait(60)
        for turn in range(5):
            assert old(n + turn) == 0

    threads = [threading.Thread(target=work, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    report = told(understudy, 500)
    mirror = books(report)
    assert mirror["eligible"] == 500
    compared = report["exchanges"] + report["passed_over"]
    assert compared == mirror["answered"] == 500 - mirror["dropped"]
    assert sum(n for _, _, n in found(report)) == report["exchanges"] - report["matched"]


def test_a_forked_process_rehearses_by_itself(tmp_path: Path) -> None:
    """It begins its own loop, and its counts are its own."""
    assert program(FORKS, tmp_path).split() == ["parent", "1", "child", "2", "parent", "2"]


def test_a_process_of_multiprocessing_keeps_its_evidence(tmp_path: Path) -> None:
    """It ends without the interpreter's exit; what it rehearsed is stored all the same."""
    assert program(POOLED, tmp_path).strip() == "1"


def test_the_report_has_words_for_functions(understudy: Understudy) -> None:
    """A function has no status: it raises, or it returns."""

    def new(n: int) -> int:
        raise KeyError(n)

    old = understudy.shadow(candidate=new, name="new", in_flight=1024)(lambda n: n)
    for n in range(200):
        old(n)
    shown = io.StringIO()
    render_text(told(understudy, 200), Console(width=200, file=shown))
    text = " ".join(shown.getvalue().split())
    assert "raises where the function returns, or returns where it raises" in text
    assert "and functions that are repeatable" in text
    assert "another status" not in text


def test_a_fast_caller_is_not_held_up(understudy: Understudy) -> None:
    """Twenty thousand calls beside a candidate that hangs: what waits is bounded, callers go on."""
    may_go = threading.Event()
    old = understudy.shadow(candidate=lambda _: may_go.wait(300), name="new", in_flight=2)(lambda _: 0)
    began = time.perf_counter()
    for _ in range(20_000):
        old("x" * 100)
    seconds = time.perf_counter() - began
    may_go.set()
    report = told(understudy, 20_000)
    assert books(report)["eligible"] == 20_000
    assert report["mirror"]["dropped"].keys() <= {"handover", "in_flight"}
    assert seconds < 60, "one candidate hangs for longer"
