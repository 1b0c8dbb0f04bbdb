"""`understudy report --wait`: when it ends, and what is told meanwhile. No test waits: the clock is ours."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from understudy.cli.frame import CommandError, ExitCode
from understudy.cli.waiting import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    TIMEOUT_SECONDS,
    Bar,
    Clock,
    Lines,
    how_far,
    read_timeout,
    wait,
)
from understudy.report.view import View, read_report


def report(verdict: str = "undecided", exchanges: int = 10, needed: int | None = 90) -> dict[str, Any]:
    """A report of that verdict."""
    return {"verdict": verdict, "exchanges": exchanges, "needed": needed}


AWAY = CommandError("no answer from http://a", code=ExitCode.UNREACHABLE)
REFUSED = CommandError("not allowed", code=ExitCode.REFUSED)


@dataclass
class Script:
    """Answers in their order, the last one for ever, each after *took* seconds; remembers what was told."""

    answers: list[dict[str, Any] | CommandError]
    took: float = 0.0
    at: float = 1000.0
    asked: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def ask(self) -> dict[str, Any]:
        self.asked.append(self.at)
        self.at += self.took
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, CommandError):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.at, sleep=self.sleep)

    def report(self, view: View) -> None:
        self.told.append(how_far(view))

    def away(self, why: str) -> None:
        self.told.append(why)

    def back(self) -> None:
        self.told.append("back")

    def wait(self, timeout: float = 600.0) -> dict[str, Any]:
        return wait(self.ask, self, timeout=timeout, clock=self.clock)


@pytest.mark.parametrize("verdict", ["clean", "regression"])
def test_the_first_decided_report_ends_the_waiting(verdict: str) -> None:
    """With the figures of every report before it."""
    script = Script([report(), report(exchanges=60, needed=40), report(verdict, 100, None)])

    assert script.wait()["verdict"] == verdict
    assert script.told == [
        "10 compared, about 90 more needed",
        "60 compared, about 40 more needed",
        "100 compared",
    ]
    assert script.asked == [1000.0, 1000.0 + POLL_SECONDS, 1000.0 + 2 * POLL_SECONDS]


def test_a_decided_report_is_not_asked_for_twice() -> None:
    """Nothing is waited for."""
    script = Script([report("clean")])
    script.wait()

    assert script.asked == [1000.0]


def test_after_the_timeout_the_last_report_is_given() -> None:
    """At the time that was set, asked once more then."""
    script = Script([report()])

    assert script.wait(timeout=5.0)["verdict"] == "undecided"
    assert script.asked == [1000.0, 1002.0, 1004.0, 1005.0]


def test_a_slow_report_is_asked_for_less_often() -> None:
    """Waiting shall not be the work that it waits for."""
    script = Script([report()], took=5.0)
    script.wait(timeout=60.0)

    assert script.asked == [1000.0, 1025.0, 1050.0, 1060.0]


def test_nobody_answering_for_a_while_is_borne() -> None:
    """A control process that died is back in seconds: told when it goes and when it comes."""
    script = Script([report(), AWAY, AWAY, report("clean")])

    assert script.wait()["verdict"] == "clean"
    assert script.told == [
        "10 compared, about 90 more needed",
        "no answer from http://a",
        "back",
        "10 compared, about 90 more needed",
    ]


def test_nobody_answering_for_long_is_an_error() -> None:
    """After a minute there is none to wait for."""
    script = Script([report(), AWAY])
    with pytest.raises(CommandError, match="no answer"):
        script.wait()

    assert script.asked[-1] - script.asked[1] == PATIENCE_SECONDS


def test_each_absence_is_borne_anew() -> None:
    """A restart every minute is no reason to give up."""
    absence: list[dict[str, Any] | CommandError] = [AWAY] * 20
    script = Script([*absence, report(), *absence, report(), *absence, report("clean")])

    assert script.wait()["verdict"] == "clean"


def test_nobody_answering_at_the_end_is_an_error() -> None:
    """The report before it is old, and no verdict."""
    script = Script([report(), AWAY])
    with pytest.raises(CommandError, match="no answer"):
        script.wait(timeout=4.0)

    assert script.asked[-1] == 1004.0


def test_a_refusal_is_final() -> None:
    """Asking again would not be answered otherwise."""
    script = Script([REFUSED])
    with pytest.raises(CommandError, match="not allowed"):
        script.wait()

    assert script.asked == [1000.0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", TIMEOUT_SECONDS), ("90", 90.0), ("1.5m", 90.0), ("2 h", 7200.0), ("500ms", 0.5)],
)
def test_a_timeout_is_a_duration(text: str, seconds: float) -> None:
    """As in the configuration."""
    assert read_timeout(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1s", "soon", "10 minutes", "25h", "nan", "1e9"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """With the place, and an exit code that is no verdict."""
    with pytest.raises(CommandError, match="--timeout ") as caught:
        read_timeout(text)

    assert caught.value.code is ExitCode.USAGE


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """At most one in 30 s, none that says nothing new, and none about the end: the report says that."""
    times: Iterator[float] = iter([0.0, 0.0, 0.0, 10.0, 31.0, 31.0, 70.0, 70.0])
    lines = Lines(Clock(now=lambda: next(times)))
    with lines:
        for exchanges in (1, 2, 3, 3):
            lines.report(read_report(report(exchanges=exchanges)))
        lines.report(read_report(report("clean")))
        lines.away("no answer")
        lines.back()

    assert capsys.readouterr().err.splitlines() == [
        "waiting for a verdict: 1 compared, about 90 more needed",
        "waiting for a verdict: 3 compared, about 90 more needed",
        "warning: no answer; asking again for 60 s",
        "the admin API answers again",
    ]


def test_a_bar_takes_every_report() -> None:
    """What is needed may grow, shrink or be unknown; hostile words stay words."""
    with Bar() as bar:
        for needed in (90, 200, None, 0):
            bar.report(read_report(report(needed=needed)))
        bar.away("[bold]no answer")
        bar.back()
