"""`understudy report --wait`: ask for the report until it is decided, and say how far it is."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from understudy.cli.frame import CommandError, ExitCode, complain
from understudy.cli.remote import AdminApi
from understudy.config.place import Refused
from understudy.config.quantity import duration_text, read_duration
from understudy.report.numbers import count, plural
from understudy.report.view import View, read_report

TIMEOUT_SECONDS = 600.0
"""Ten minutes: a few thousand mirrored requests at a handful a second, and less than any job may run."""
PATIENCE_SECONDS = 60.0
"""For so long nobody may answer: a control process is back in seconds, a new machine in a minute."""
POLL_SECONDS = 2.0
_POLL_SHARE = 4.0  # between two questions at least so many times what the answer took: asking is work too
_LINE_SECONDS = 30.0

Report = dict[str, Any]
Ask = Callable[[], Report]
"""Asks once. Raises: CommandError."""


def read_timeout(text: str) -> float:
    """Seconds, from the text of ``--timeout``; `TIMEOUT_SECONDS` when it is empty. Raises: CommandError."""
    if not text:
        return TIMEOUT_SECONDS
    try:
        return read_duration(text)
    except Refused as error:
        raise CommandError(f"--timeout {error.message}", error.hint, code=ExitCode.USAGE) from None


class Told(Protocol):
    """Who is told how far it is."""

    def report(self, view: View) -> None:
        """What has been seen so far."""

    def away(self, why: str) -> None:
        """Nobody answers, since now."""

    def back(self) -> None:
        """Somebody answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time, as the one who waits knows it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_for_report(api: AdminApi, timeout: float) -> dict[str, Any]:
    """The report of *api* once it is decided, or after *timeout* seconds. Raises: CommandError."""

    def ask() -> Report:
        return api.json(api.get("/api/v1/report"), key="verdict")

    with teller() as told:
        report = wait(ask, told, timeout=timeout)
    if read_report(report).verdict == "undecided":
        complain(f"still undecided after {duration_text(timeout)}", is_warning=True)
    return report


def wait(ask: Ask, told: Told, *, timeout: float, clock: Clock | None = None) -> Report:
    """The first report that is decided, or the one that is asked for when *timeout* seconds have gone.

    Nobody answering is borne for `PATIENCE_SECONDS` at a time. Raises: CommandError when it lasts longer,
    when it lasts at the end, and at once when the answer is a refusal.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    lost_at: float | None = None
    while True:
        asked = clock.now()
        try:
            report = ask()
        except CommandError as error:
            if error.code is not ExitCode.UNREACHABLE:
                raise
            lost_at = _bear(error, lost_at, told, clock.now(), end)
        else:
            if lost_at is not None:
                told.back()
            lost_at = None
            view = read_report(report)
            told.report(view)
            if view.verdict != "undecided" or clock.now() >= end:
                return report
        took = clock.now() - asked
        clock.sleep(max(0.0, min(max(POLL_SECONDS, _POLL_SHARE * took), end - clock.now())))


def _bear(error: CommandError, lost_at: float | None, told: Told, now: float, end: float) -> float:
    """When it began that nobody answers. Raises: *error*, when it has lasted long enough."""
    if lost_at is None:
        told.away(error.message)
        lost_at = now
    if now >= end or now - lost_at >= PATIENCE_SECONDS:
        raise error
    return lost_at


def how_far(view: View) -> str:
    """``1,200 compared, about 340 more needed``."""
    needed = f", about {count(view.needed)} more needed" if view.needed else ""
    return f"{count(view.exchanges)} compared{needed}"


def is_away(why: str) -> str:
    """The sentence on a control process that does not answer."""
    return f"{why}; asking again for {PATIENCE_SECONDS:g} s"


class Lines:
    """A line now and then on standard error, for a log."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._last = ""
        self._due = self._clock.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def report(self, view: View) -> None:
        """At most every 30 s, and only what is new."""
        line = f"waiting for a verdict: {how_far(view)}"
        if view.verdict == "undecided" and line != self._last and self._clock.now() >= self._due:
            typer.echo(line, err=True)
            self._last, self._due = line, self._clock.now() + _LINE_SECONDS

    def away(self, why: str) -> None:
        """At once."""
        complain(is_away(why), is_warning=True)

    def back(self) -> None:
        """At once."""
        typer.echo("the admin API answers again", err=True)


class Bar:
    """A bar on a terminal: what has been compared, of what will be needed as far as one can tell."""

    def __init__(self) -> None:
        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[differing]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("waiting", total=None, differing="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, view: View) -> None:
        """The bar moves; what is needed may grow, so it may move back."""
        total = view.exchanges + view.needed if view.needed else None
        waiting = len(view.having("undecided"))
        differing = f"{plural(waiting, 'difference')} to be told apart" if waiting else ""
        self._progress.update(
            self._task,
            description="waiting for a verdict",
            completed=view.exchanges,
            total=total,
            differing=differing,
        )

    def away(self, why: str) -> None:
        """Above the bar."""
        self._progress.console.print(Text(is_away(why), style="yellow"), soft_wrap=True)

    def back(self) -> None:
        """Above the bar."""
        self._progress.console.print("the admin API answers again")


def teller() -> Bar | Lines:
    """A bar where somebody looks, lines where something is logged."""
    return Bar() if sys.stderr.isatty() else Lines()
