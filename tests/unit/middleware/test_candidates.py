"""Functions that rehearse: the caller's answer is its own, the candidate's is compared."""

import asyncio
import contextvars
import dataclasses
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.middleware import Understudy, rehearsed_call
from understudy.middleware.candidate import copied
from understudy.middleware.outcome import raised, returned
from understudy.middleware.plain import as_json

CONFIG: dict[str, Any] = {
    "store": "memory://",
    "services": {},
    "shadow": {"confirm": False, "timeout": "60s"},  # else a busy machine's candidates are late
}


@pytest.fixture
def understudy() -> Iterator[Understudy]:
    one = Understudy(CONFIG)
    yield one
    one.background.stop()


def told(understudy: Understudy, at_least: int) -> dict[str, Any]:
    """The report, once so many calls are booked and none is under way."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        report = understudy.background.report()
        if is_booked(report, at_least):
            return report
        time.sleep(0.02)
    raise TimeoutError(str(report["mirror"]))


def is_booked(report: dict[str, Any], at_least: int) -> bool:
    """Whether every call is booked, and the books balance."""
    mirror = books(report)
    compared = sum(e["exchanges"] + e["not_compared"] for e in report["endpoints"])
    if mirror["eligible"] < at_least or mirror["sent"] != mirror["answered"] + mirror["failed"]:
        return False
    assert mirror["eligible"] == mirror["sent"] + mirror["skipped"] + mirror["dropped"]
    return bool(compared >= mirror["answered"])


def books(report: dict[str, Any]) -> dict[str, int]:
    """The mirror's books, by outcome."""
    return {key: n if isinstance(n, int) else sum(n.values()) for key, n in report["mirror"].items()}


def found(report: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Path, kind and how often, of every finding."""
    return [(f["path"], f["kind"], f["differing"]) for e in report["endpoints"] for f in e["findings"]]


def new_total(prices: list[int], factor: int = 1) -> dict[str, int]:
    """Wrong for more than two."""
    return {"total": sum(prices[:2]) * factor, "count": len(prices)}


def test_the_caller_gets_the_functions_answer(understudy: Understudy) -> None:
    """Equal answers match, others are differences at their path, under the function's name."""

    @understudy.shadow(candidate=new_total)
    def total(prices: list[int], factor: int = 1) -> dict[str, int]:
        """Sums."""
        return {"total": sum(prices) * factor, "count": len(prices)}

    assert total([1, 2], factor=2) == {"total": 6, "count": 2}
    assert total([1, 2, 3]) == {"total": 6, "count": 3}
    report = told(understudy, 2)

    assert (total.__name__, total.__doc__) == ("total", "Sums.")
    (endpoint,) = report["endpoints"]
    assert endpoint["endpoint"].startswith("ONCE /test_candidates.test_the_caller_gets")
    assert (report["exchanges"], report["matched"]) == (2, 1)
    assert found(report) == [("/body/total", "value", 1)]
    assert endpoint["service"] == "test_candidates.new_total"


def test_a_candidate_is_timed_by_itself(understudy: Understudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waits for a thread, and its arguments for a copy, says nothing of it."""
    monkeypatch.setattr(rehearsed_call, "perf_counter", iter([40.0, 42.0]).__next__)

    @understudy.shadow(candidate=new_total)
    def total(prices: list[int]) -> dict[str, int]:
        return new_total(prices)

    total([1, 2])
    (endpoint,) = told(understudy, 1)["endpoints"]
    assert 1.5 <= endpoint["latency"]["shadow"]["p50"] <= 2.5


def test_exceptions_are_answers(understudy: Understudy) -> None:
    """Whoever raises where the other does not, or something else, differs; the same type and words match."""

    def new(key: str) -> str:
        if key == "same":
            raise KeyError("same")
        if key == "other":
            raise ValueError("new words")
        if key == "only_new":
            raise ValueError("only the candidate")
        return "fine"

    @understudy.shadow(candidate=new, name="new")
    def old(key: str) -> str:
        if key in ("same", "only_old"):
            raise KeyError(key)
        if key == "other":
            raise ValueError("old words")
        return "fine"

    for key in ("same", "only_old"):
        with pytest.raises(KeyError):
            old(key)
    with pytest.raises(ValueError, match="old words"):
        old("other")
    assert old("only_new") == "fine"
    report = told(understudy, 4)

    assert (report["exchanges"], report["matched"]) == (4, 1)
    assert ("/status", "status", 2) in found(report)
    assert ("/body/message", "value", 1) in found(report)


def test_a_candidate_that_exits_ends_only_itself(understudy: Understudy) -> None:
    """It is an exception like others, and its thread is free for the next call."""

    def new(number: int) -> int:
        if number == 1:
            sys.exit("no")
        return number

    @understudy.shadow(candidate=new, in_flight=1)
    def old(number: int) -> int:
        return number

    assert old(1) == 1
    told(understudy, 1)
    assert old(2) == 2
    report = told(understudy, 2)

    assert (report["exchanges"], report["matched"], report["mirror"]["failed"]) == (2, 1, {})


def test_an_async_candidate_that_exits_ends_only_itself(understudy: Understudy) -> None:
    """The application's event loop goes on."""

    async def new() -> int:
        sys.exit("no")

    @understudy.shadow(candidate=new)
    async def old() -> int:
        return 1

    async def application() -> dict[str, Any]:
        assert await old() == 1
        return await asyncio.to_thread(told, understudy, 1)

    report = asyncio.run(application())

    assert (report["exchanges"], report["matched"], report["mirror"]["failed"]) == (1, 0, {})


def test_an_async_candidate_whose_loop_ends_is_late(understudy: Understudy) -> None:
    """As under `asyncio.run` for each call: it is a `timeout`, and no fault of mirroring."""
    begun = threading.Event()

    async def new() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 1

    @understudy.shadow(candidate=new, timeout=0.3)
    async def old() -> int:
        return 1

    async def application() -> None:
        assert await old() == 1
        await asyncio.to_thread(begun.wait, 60)

    asyncio.run(application())

    assert told(understudy, 1)["mirror"]["failed"] == {"timeout": 1}


async def test_an_async_candidate_runs_in_the_callers_loop() -> None:
    """After the answer, with the caller's context; a loop that mirrors already needs no thread."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    may_go, seen = asyncio.Event(), []

    async def new(number: int) -> dict[str, Any]:
        await may_go.wait()
        seen.append((user.get(), asyncio.get_running_loop()))
        return {"n": number, "user": user.get()}

    understudy = Understudy(CONFIG)
    await understudy.start()

    @understudy.shadow(candidate=new)
    async def old(number: int) -> dict[str, Any]:
        return {"n": number, "user": user.get()}

    user.set("ann")
    assert await old(1) == {"n": 1, "user": "ann"}
    user.set("bob")
    may_go.set()
    async with asyncio.timeout(60):
        while not is_booked(report := await understudy.report(), 1):
            await asyncio.sleep(0.02)
    errands = understudy.background.errands
    await understudy.stop()

    assert seen == [("ann", asyncio.get_running_loop())]
    assert report["matched"] == 1
    assert errands is None


async def test_an_async_caller_may_leave_mirroring_to_a_thread(understudy: Understudy) -> None:
    """Nobody started it in this loop: the thread books, the candidate still runs here."""
    seen = []

    async def new() -> int:
        seen.append(asyncio.get_running_loop())
        return 1

    @understudy.shadow(candidate=new)
    async def old() -> int:
        return 1

    assert await old() == 1
    report = await asyncio.to_thread(told, understudy, 0)
    async with asyncio.timeout(60):
        while not is_booked(report, 1):
            report = await understudy.report()
            await asyncio.sleep(0.02)

    assert seen == [asyncio.get_running_loop()]
    assert report["matched"] == 1


def test_a_method_rehearses_with_its_instance(understudy: Understudy) -> None:
    """The instance is the caller's own, the other arguments are copies that may be changed."""

    class Cart:
        def __init__(self) -> None:
            self.lock = threading.Lock()  # no copy can be made of it
            self.rate = 3

        def new(self, items: list[int]) -> int:
            items.append(99)
            return self.rate * len(items)

        @understudy.shadow(candidate=new, name="new")
        def old(self, items: list[int]) -> int:
            items.append(1)
            return self.rate * len(items)

    items = [5]
    assert Cart().old(items) == 6
    report = told(understudy, 1)

    assert items == [5, 1]
    assert report["matched"] == 1


def test_control_calls_learn_the_noise(understudy: Understudy) -> None:
    """A function that may be called twice is, and what differs by itself is seen to."""
    numbers = iter(range(1_000_000))
    calls: list[int] = []
    repeating = Understudy({**CONFIG, "shadow": {"control": 1.0, "confirm": False}})

    def new() -> dict[str, int]:
        return {"n": next(numbers)}

    @repeating.shadow(candidate=new, repeatable=True)
    def old() -> dict[str, int]:
        calls.append(1)
        return {"n": next(numbers)}

    for _ in range(10):
        old()
    report = told(repeating, 10)
    repeating.background.stop()

    ((finding,),) = [endpoint["findings"] for endpoint in report["endpoints"]]
    assert (finding["control_differing"], finding["with_control"]) == (10, 10)
    assert len(calls) == 20


def test_a_function_with_effects_is_called_once(understudy: Understudy) -> None:
    """Unless it is said to be repeatable, neither controls nor confirmations call it again."""
    calls: list[int] = []
    eager = Understudy({**CONFIG, "shadow": {"control": 1.0}})

    @eager.shadow(candidate=lambda: 2, name="new")
    def old() -> int:
        calls.append(1)
        return 1

    for _ in range(10):
        old()
    report = told(eager, 10)
    eager.background.stop()

    assert len(calls) == 10
    assert sum(n for _, _, n in found(report)) == 10


def test_a_candidate_that_hangs_is_bounded(understudy: Understudy) -> None:
    """Callers notice nothing; so many hang at most, the rest is dropped, and each gives up in time."""
    may_go = threading.Event()
    running: list[int] = []

    def new() -> int:
        running.append(1)
        may_go.wait(300)
        return 1

    @understudy.shadow(candidate=new, name="new", timeout=0.2, in_flight=2)
    def old() -> int:
        return 1

    begun = time.perf_counter()
    for _ in range(50):
        assert old() == 1
    called_seconds = time.perf_counter() - begun
    assert called_seconds < 5, "half of what it takes to wait for each"
    report = told(understudy, 50)
    begun = time.perf_counter()
    understudy.background.stop()
    stopped_seconds = time.perf_counter() - begun
    may_go.set()

    assert len(running) == 2
    mirror = books(report)
    assert report["mirror"]["failed"] == {"timeout": mirror["failed"]}
    assert report["mirror"]["dropped"]["in_flight"] == mirror["dropped"] == 50 - mirror["failed"]
    # Two, and two more for each time that has passed before all had called.
    assert mirror["failed"] <= 2 * (1 + called_seconds // 0.2)
    assert stopped_seconds < 60, "they would hang for longer"


def test_a_candidate_rehearses_nothing_itself(understudy: Understudy) -> None:
    """One that calls the function it stands beside does not rehearse again, and again."""

    @understudy.shadow(candidate=lambda n: old(n), name="new")
    def old(n: int) -> int:
        return n

    assert old(1) == 1
    assert books(told(understudy, 1))["eligible"] == 1


def test_a_share_of_the_calls_rehearses(understudy: Understudy) -> None:
    """None at 0; about half at one half."""

    @understudy.shadow(candidate=abs, name="none", share=0)
    def never(n: int) -> int:
        return n

    @understudy.shadow(candidate=lambda n: n, name="half", share=0.5)
    def half(n: int) -> int:
        return n

    @understudy.shadow(candidate=abs, name="last")
    def last(n: int) -> int:
        return n

    for n in range(200):
        never(n)
        half(n)
    last(1)
    limit = time.monotonic() + 60
    while not any(e["service"] == "last" for e in told(understudy, 1)["endpoints"]):
        assert time.monotonic() < limit
    eligible = books(told(understudy, 1))["eligible"] - 1
    assert 60 < eligible < 140, "beyond this in one of 60 million runs"


def test_what_cannot_be_copied_or_said_is_counted(understudy: Understudy) -> None:
    """The caller has its answer all the same."""

    @understudy.shadow(candidate=lambda _: 1, name="one")
    def uncopyable(_: object) -> int:
        return 1

    @understudy.shadow(candidate=object, name="two")
    def unreadable() -> object:
        return object()

    assert uncopyable(threading.Lock()) == 1
    assert type(unreadable()) is object
    report = told(understudy, 2)
    assert report["mirror"]["skipped"] == {"uncopyable": 1, "unreadable": 1}


def test_what_is_mistaken_is_said_at_once(understudy: Understudy) -> None:
    """Generators, one async and one not, a name that is taken, shares that are none."""

    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> int:
        return 1

    def now() -> int:
        return 1

    with pytest.raises(TypeError, match="numbers is a generator"):
        understudy.shadow(candidate=numbers)
    with pytest.raises(TypeError, match="numbers is a generator"):
        understudy.shadow(candidate=now, name="a")(numbers)
    with pytest.raises(TypeError, match="both are async, or neither"):
        understudy.shadow(candidate=later, name="b")(now)
    with pytest.raises(TypeError, match="@classmethod"):
        understudy.shadow(candidate=classmethod(lambda cls: 1))  # type: ignore[arg-type]
    understudy.shadow(candidate=now, name="taken")(now)
    with pytest.raises(ValueError, match="name of its own"):
        understudy.shadow(candidate=now, name="taken")
    with pytest.raises(ValueError, match="share"):
        understudy.shadow(candidate=now, name="c", share=1.5)


class Model(pydantic.BaseModel):
    n: int


@dataclasses.dataclass
class Point:
    x: int


class Plain:
    def __init__(self) -> None:
        self.y = 2


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("text", b"text"),
        (b"\x00\xff", b"\x00\xff"),
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        (Point(1), b'{"x":1}'),
        (Model(n=1), b'{"n":1}'),
        (Plain(), b'{"type":"Plain","y":2}'),
        ({3, 1, 2}, b"[1,2,3]"),
        (2**70, b"1180591620717411303424"),
        ({1: "a"}, b'{"1":"a"}'),
    ],
)
def test_results_are_read(value: object, body: bytes) -> None:
    """Text and bytes as such, models and dataclasses by their fields, sets in order, whole numbers whole."""
    assert returned(value).body == body


def test_an_exception_is_read_by_type_and_message() -> None:
    """Built-in ones by their bare name."""
    assert raised(KeyError("a")).body == b'{"raised":"KeyError","message":"\'a\'"}'
    assert raised(pytest.UsageError("b")).body.startswith(b'{"raised":"pytest.UsageError"')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(value=JSON)
def test_every_json_value_can_be_said(value: object) -> None:
    """Whatever JSON can hold, huge numbers too, has a body; equal values have the same one."""
    assert as_json(value) == as_json(value)


@settings(max_examples=50, deadline=None)
@given(value=JSON)
def test_copies_are_equal_and_share_nothing(value: Any) -> None:
    """What one side changes in its copy, the other's does not have."""
    (copy,), named = copied((value,), {"again": {"inner": value}}, keeps_first=False)
    assert copy == value
    assert named == {"again": {"inner": value}}
    if isinstance(value, list | dict):
        assert copy is not value
        value.clear()
        assert named["again"]["inner"] is copy


def test_what_is_given_twice_is_one_object_in_the_copy() -> None:
    """Also in a circle, and in objects that are no JSON; an instance is not copied."""
    circle: list[Any] = [Point(1)]
    circle.append(circle)
    (first, second), _ = copied((circle, circle), {}, keeps_first=False)
    (kept, point), _ = copied((circle, circle[0]), {}, keeps_first=True)
    assert first is second is first[1]
    assert first[0] == Point(1)
    assert first[0] is not circle[0]
    assert kept is circle
    assert point is not circle[0]
