"""What the commands print: problems, the summary of a configuration, an explained decision."""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from understudy.cli.streams import print_document
from understudy.config import Summary
from understudy.config.summary import RouteSummary, VariantSummary
from understudy.errors import Problem


def console(*, err: bool = False) -> Console:
    """A console without markup, since everything printed comes from files; plain when not a terminal."""
    return Console(stderr=err, markup=False, highlight=False, emoji=False, soft_wrap=True)


_UNUSUAL = re.compile(r"[^\n -~]")

OPEN = "open to every user of this machine until the first token is made"


def print_json(value: object) -> None:
    """*value* as indented JSON on standard output."""
    print_document(json_text(value))


def json_text(value: object) -> str:
    """*value* as indented JSON. What steers a terminal, or turns its text around, is written as an escape."""
    return _UNUSUAL.sub(_escaped, json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def plain_problems(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """*problems* as JSON-able values."""
    return [dataclasses.asdict(problem) for problem in problems]


def print_problems(problems: Sequence[Problem], *, subject: str = "") -> None:
    """Each problem with its path, what is wrong and what was probably meant, on standard error."""
    screen = console(err=True)
    for problem in problems:
        where = Text(f"{problem.path}: " if problem.path else "", style="bold")
        screen.print(Text("error: ", style="red") + where + Text(visible(problem.message)))
        if problem.hint:
            screen.print(Text(f"  {visible(problem.hint)}", style="cyan"))
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    screen.print(Text(f"{count} in {subject}" if subject else count, style="red"))


def visible(text: str) -> str:
    """*text* with control characters written out, so that no file can steer the terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def print_summary(summary: Summary, *, subject: str) -> None:
    """What the configuration *subject* would do."""
    screen = console()
    screen.print(Text(f"{subject} is valid", style="green"))
    screen.print()
    workers = f"{summary.workers} worker{'s' if summary.workers > 1 else ''}"
    facts = [
        ("listen", f"{', '.join(summary.listen)} ({workers})"),
        (
            "admin",
            f"http://{summary.admin} ({OPEN})",
        ),
        ("store", summary.store),
        *(("service", f"{name} → {url}") for name, url in summary.services.items()),
        ("shadow", _shadow_line(summary.shadow)),
        ("compare", f"{summary.compare_rules} rule{'' if summary.compare_rules == 1 else 's'}"),
        *([("endpoints", summary.endpoints)] if summary.endpoints != "learned" else []),
    ]
    print_rows(facts)
    for index, route in enumerate(summary.routes):
        _print_route(screen, index, route)
    if summary.routes and summary.warnings:
        screen.print()
    for warning in summary.warnings:
        screen.print(Text("warning: ", style="yellow") + Text(visible(warning)))


def _shadow_line(shadow: Mapping[str, str]) -> str:
    return (
        f"{shadow['control']} asked twice, {shadow['timeout']} each, "
        f"at most {shadow['in_flight']} in flight, {shadow['budget']} in all, {shadow['body_cap']} a body"
        f"{', differences confirmed' if shadow['confirm'] == 'on' else ''}"
    )


def _print_route(screen: Console, index: int, route: RouteSummary) -> None:
    unit = f" by {route.unit}" if route.unit else ""
    killed = "  KILLED" if route.is_killed else ""
    aim = f"flag {route.flag}{unit}{killed}" if route.flag else route.serve
    screen.print(Text(f"\nroute {index}  {route.matches}  → {aim}", style="bold"))
    rows = [("variant", "who", "serve", "mirror", "control")]
    for variant in route.variants:
        mirror = ", ".join(variant.mirror) or "-"
        control = variant.control or (variant.serve if variant.mirror else "-")
        rows.append((variant.name, _who(variant), variant.serve, mirror, control))
    if route.flag:
        print_rows(rows, indent="  ")


def print_rows(rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """*rows* in columns as wide as they need; the first one bold. Never wrapped, so it can be grepped."""
    screen = console()
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        screen.print(Text(indent) + Text(first, style="bold") + Text(("  " + "  ".join(rest)).rstrip()))


def _who(variant: VariantSummary) -> str:
    """Who gets the variant, in words: ``5 % of units, by rule``."""
    who = []
    if variant.share is None:
        who.append("as its rule computes")
    elif variant.share == 1:
        who.append("all")
    elif variant.share > 0:
        who.append(f"{variant.share * 100:.4g} % of units")
    if variant.is_named:
        who.append("by rule")
    if variant.is_default:
        who.append("default")
    return ", ".join(who) or "nobody"


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values under each other."""
    print_rows([(name, visible(str(value))) for name, value in fields.items()])
