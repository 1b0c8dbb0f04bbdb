"""How far a replay is: a bar on a terminal, else a line now and then, always on standard error."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from understudy.replay import Progress as Played

LINE_SECONDS: Final = 10.0
"""How often a log that nobody watches live gets a line."""


class ReplayBar:
    """Use as a context; `show` may be called as often as one likes."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._began_at = time.monotonic()
        self._told_at = self._began_at
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (
                TextColumn("replay"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, played: Played) -> None:
        """Tell where the replay stands."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=played.played, description=self._in_words(played, now))
        elif now - self._told_at >= LINE_SECONDS:
            self._told_at = now
            self._console.print(
                f"replay: {played.played:,} of {played.total:,}, {self._in_words(played, now)}",
                soft_wrap=True,
            )

    def _in_words(self, played: Played, now: float) -> str:
        rate = played.played / max(0.001, now - self._began_at)
        failing = f", {played.failing:,} failing" if played.failing else ""
        return f"{rate:,.0f}/s, {played.differing:,} differing{failing}, {played.verdict} so far"
