"""How an origin is judged: failures in a row, a time away, one more chance; and what checks say."""

import logging

import pytest

from understudy.config import Ejection
from understudy.upstream import Health


class Judge:
    """A health with its clock, and what it told."""

    def __init__(self, failures: int = 5) -> None:
        self.now = 100.0
        self.events: list[str] = []
        self.health = Health(
            "origin x",
            eject=Ejection(failures=failures, seconds=30.0),
            clock=lambda: self.now,
            on_change=self.events.append,
        )

    def is_up(self) -> bool:
        return self.health.is_up

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.health.failed("closed")


@pytest.mark.parametrize(
    ("status", "failures"), [(200, 0), (404, 0), (500, 0), (501, 0), (502, 4), (503, 4), (504, 4), (505, 0)]
)
def test_only_what_a_gateway_says_is_a_failure(status: int, failures: int) -> None:
    """A 500 is the answer of an application that is there; any answer but 502, 503, 504 ends the row."""
    judge = Judge()
    judge.fail(3)
    judge.health.note(status)
    assert judge.health.failures == failures
    assert judge.events == []


def test_enough_failures_in_a_row_eject_for_a_time() -> None:
    """More of them meanwhile prolong nothing, and an answer of a request sent before shortens nothing."""
    judge = Judge()
    judge.fail(4)
    assert judge.is_up()
    judge.fail(3)
    assert (judge.is_up(), judge.health.ejections, judge.events) == (False, 1, ["ejected"])
    judge.health.note(200)
    judge.health.sweep(129.9)
    assert not judge.is_up()
    judge.health.sweep(130.0)
    assert (judge.is_up(), judge.events) == (True, ["ejected", "tried_again"])


def test_after_its_time_one_failure_ejects_again_and_one_answer_redeems() -> None:
    """It is on probation until it answers."""
    judge = Judge()
    judge.fail(5)
    judge.health.sweep(130.0)
    judge.now = 131.0
    judge.fail(1)
    assert (judge.is_up(), judge.health.ejections) == (False, 2)
    judge.health.sweep(160.9)
    assert not judge.is_up()
    judge.health.sweep(161.0)
    judge.health.note(200)
    judge.fail(4)
    assert judge.is_up()


def test_zero_failures_never_eject() -> None:
    """The setting that turns it off."""
    judge = Judge(failures=0)
    judge.fail(1000)
    assert (judge.is_up(), judge.events) == (True, [])


def test_checks_and_ejections_are_judged_apart() -> None:
    """Up is who neither fails its checks nor is ejected."""
    judge = Judge()
    judge.health.checked(is_failing=True, reason="/healthz answered 500")
    judge.health.checked(is_failing=True, reason="again")
    judge.fail(5)
    judge.health.checked(is_failing=False, reason="")
    assert not judge.is_up()
    judge.health.sweep(130.0)
    assert judge.is_up()
    assert judge.events == ["unhealthy", "ejected", "healthy", "tried_again"]


def test_each_turn_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who, for how long, and what the last failure was."""
    caplog.set_level(logging.INFO, "understudy.upstream")
    judge = Judge(failures=2)
    judge.fail(4)
    judge.health.sweep(130.0)
    judge.health.checked(is_failing=True, reason="/ answered 500")
    judge.health.checked(is_failing=False, reason="")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "origin x is ejected for 30 s after 2 failures in a row, the last: closed"),
        ("INFO", "origin x is tried again"),
        ("WARNING", "origin x is unhealthy: / answered 500"),
        ("INFO", "origin x is healthy again"),
    ]
