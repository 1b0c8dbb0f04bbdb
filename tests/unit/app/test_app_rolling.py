"""A rolling restart, step by step: nobody goes before its successor serves."""

import itertools

import pytest

from understudy.app.children import Child
from understudy.app.rolling import READY_SECONDS, Rolling


class Crew:
    """A supervisor of two workers that writes down what it is asked for."""

    def __init__(self) -> None:
        self.children = [
            Child(role="control", pid=1, is_ready=True),
            Child(role="worker", index=0, pid=10, is_ready=True),
            Child(role="worker", index=1, pid=11, is_ready=True),
        ]
        self.said: list[str] = []
        self.leaving: set[int] = set()
        self.can_start = True
        self._pids = itertools.count(20)

    def start(self, child: Child) -> None:
        if self.can_start:
            child.pid = next(self._pids)
        self.said.append(f"start {child.name} as {child.pid}")

    def replaced(self, child: Child) -> None:
        self.leaving.add(child.pid)
        self.said.append(f"replaced {child.pid}")

    def is_leaving(self, pid: int) -> bool:
        return pid in self.leaving

    def discard(self, child: Child) -> None:
        self.said.append(f"discard {child.pid}")


def begun() -> tuple[Crew, Rolling]:
    crew = Crew()
    rolling = Rolling(crew)
    rolling.begin()
    rolling.step(0.0)
    return crew, rolling


def test_nothing_is_done_unless_somebody_asks() -> None:
    """A step costs nothing then."""
    crew = Crew()
    Rolling(crew).step(0.0)
    assert crew.said == []


def test_one_worker_after_the_other_is_replaced() -> None:
    """The next one starts when the one before has drained and gone."""
    crew, rolling = begun()
    assert crew.said == ["start worker 0 as 20"]
    rolling.step(0.1)
    assert crew.said[1:] == []
    assert rolling.successor is not None
    rolling.successor.is_ready = True
    rolling.step(0.2)
    assert crew.said[1:] == ["replaced 10"]
    assert (crew.children[1].pid, crew.children[1].is_ready) == (20, True)
    rolling.step(0.3)
    assert crew.said[2:] == []
    crew.leaving.clear()
    rolling.step(0.4)
    assert crew.said[2:] == ["start worker 1 as 21"]
    rolling.successor.is_ready = True
    rolling.step(0.5)
    crew.leaving.clear()
    rolling.step(0.6)
    assert crew.said[3:] == ["replaced 11"]
    assert not rolling.is_busy


def test_a_successor_that_dies_ends_it() -> None:
    """The worker that it was for serves on, and so do the others."""
    crew, rolling = begun()
    rolling.ended("it ended by status 1")
    rolling.step(0.1)
    assert crew.said == ["start worker 0 as 20"]
    assert [child.pid for child in crew.children] == [1, 10, 11]
    assert not rolling.is_busy


def test_a_successor_that_never_serves_ends_it() -> None:
    """It is killed when its time is over."""
    crew, rolling = begun()
    rolling.step(READY_SECONDS + 1)
    rolling.step(READY_SECONDS + 2)
    assert crew.said[1:] == ["discard 20"]
    assert not rolling.is_busy


def test_a_successor_that_cannot_be_forked_ends_it() -> None:
    """Nothing has changed."""
    crew = Crew()
    crew.can_start = False
    rolling = Rolling(crew)
    rolling.begin()
    rolling.step(0.0)
    assert crew.said == ["start worker 0 as 0"]
    assert not rolling.is_busy


def test_a_worker_that_dies_meanwhile_has_its_successor_already() -> None:
    """It is not started twice; the restart goes on with the next."""
    crew, rolling = begun()
    assert rolling.lost(crew.children[1])
    assert crew.children[1].pid == 20
    assert not rolling.lost(crew.children[2])
    rolling.step(0.1)
    assert crew.said[1:] == ["start worker 1 as 21"]


def test_a_worker_that_is_away_is_passed_over() -> None:
    """It is about to be started anyway."""
    crew = Crew()
    crew.children[1].pid = 0
    rolling = Rolling(crew)
    rolling.begin()
    rolling.step(0.0)
    assert crew.said == ["start worker 1 as 20"]


@pytest.mark.parametrize("drains", [False, True])
def test_asking_again_begins_anew_after_the_present_worker(drains: bool) -> None:
    """Two restarts at once would leave nobody to serve."""
    crew, rolling = begun()
    assert rolling.successor is not None
    rolling.successor.is_ready = drains
    rolling.step(0.1)
    rolling.begin()
    rolling.step(0.2)
    assert crew.said[-1] == ("replaced 10" if drains else "start worker 0 as 20")
    crew.leaving.clear()
    if rolling.successor is not None:
        rolling.successor.is_ready = True
    rolling.step(0.3)
    crew.leaving.clear()
    rolling.step(0.4)
    assert crew.said[-1] == "start worker 0 as 21"


def test_stopping_begins_nothing_more() -> None:
    """What is under way is the supervisor's to end."""
    crew, rolling = begun()
    rolling.stop()
    assert rolling.successor is not None
    rolling.successor.is_ready = True
    rolling.step(0.1)
    crew.leaving.clear()
    rolling.step(0.2)
    assert crew.said == ["start worker 0 as 20", "replaced 10"]
