"""What a run under strain found: goals with their figures, and facts beside them."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from circumstances import circumstances
from goals import Goal
from processes import BenchError, end_like_ctrl_c
from programs import build
from results import STYLES
from rich.console import Console
from rich.table import Table
from serving import raise_file_limit
from stage import Stage, staged

WIDTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """One run under strain."""

    title: str
    goals: Sequence[Goal]
    facts: Sequence[tuple[str, str]]

    @property
    def is_reached(self) -> bool:
        """Every goal."""
        return all(goal.verdict == "reached" for goal in self.goals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a soak is run."""

    stage: Stage
    console: Console
    is_pure: bool
    """The uncompiled source instead of the wheel."""


Run = Callable[[Terms], Sequence[Soak]]


def main(text: str, run: Run) -> int:
    """The command line of one soak, described by *text*; the exit status: 0, 1 missed or failed, 130."""
    return soak_all(text, [run], page=None)


def soak_all(text: str, runs: Sequence[Run], *, page: Callable[[Sequence[Soak], str], None] | None) -> int:
    """Run all of *runs*, show what they found, and hand it to *page* with the circumstances."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--pure", action="store_true", help="run the uncompiled source, not the wheel")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    end_like_ctrl_c()
    raise_file_limit()
    found: list[Soak] = []
    try:
        build(console)
        for run in runs:
            with staged(set()) as stage:
                for soak in run(Terms(stage=stage, console=console, is_pure=options.pure)):
                    show(soak, console)
                    found.append(soak)
    except BenchError as error:
        console.print("[bold red]No figures:[/]", str(error), highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everything that was started has been ended.")
        return 130
    about = circumstances(" ".join([".venv/bin/python", *sys.argv]), {})
    if options.json:
        document = {"circumstances": asdict(about), "soaks": [_as_json(soak) for soak in found]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if page is not None:
        page(
            found,
            f"{about.at}, {about.cpu_model}, {about.cores} cores, {about.kernel}, commit {about.commit}",
        )
    return 0 if all(soak.is_reached for soak in found) else 1


def _as_json(soak: Soak) -> dict[str, object]:
    goals = [{**asdict(goal), "verdict": goal.verdict} for goal in soak.goals]
    return {"title": soak.title, "goals": goals, "facts": dict(soak.facts)}


def lines(soak: Soak) -> list[tuple[str, str, str, str]]:
    """Goals, then facts, as text: what, figure, bound, verdict."""
    goals = [
        (goal.what, f"{goal.value:,.1f}{goal.unit}", f"≤ {goal.at_most:,g}{goal.unit}", goal.verdict)
        if goal.value is not None
        else (goal.what, "-", f"≤ {goal.at_most:,g}{goal.unit}", goal.verdict)
        for goal in soak.goals
    ]
    return [*goals, *((what, figure, "", "") for what, figure in soak.facts)]


def show(soak: Soak, console: Console) -> None:
    """For people."""
    table = Table("", "measured", "wanted", "verdict", title=soak.title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines(soak):
        table.add_row(*line, style=STYLES.get(line[-1], ""))
    console.print(table)
