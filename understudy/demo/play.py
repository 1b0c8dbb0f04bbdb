"""The demo from curtain to curtain: start, visit, wait for the evidence, report, check, stay or leave."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from types import FrameType
from typing import Any, Final

import httpx
import orjson
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from understudy.demo.children import Child, ChildFailed, answers, free_ports, listener
from understudy.demo.faults import Check, judge
from understudy.demo.next_release import NextShop
from understudy.demo.shop import Shop
from understudy.demo.traffic import Tally, Visit, client_of, shop_around, visits
from understudy.errors import UnderstudyError
from understudy.report import render_html, render_text

READY_SECONDS: Final = 60.0
"""Longest wait for a process to answer: seconds on a machine that has much else to do, a moment on others."""

EVIDENCE_SECONDS: Final = 60.0
"""Longest wait for the last shadow answers (5 s each at most) and for their comparison."""

POLL_SECONDS: Final = 0.25
STEADY_POLLS: Final = 4
"""Polls in a row with the same count before the evidence counts as complete."""

WIDTH: Final = 110
"""Columns where no terminal says how many it has."""

INTERRUPTED: Final = 130
_LEFTOVERS: Final = ("understudy.db", "understudy.db-wal", "understudy.db-shm", "understudy.db-journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the running demo is reached."""

    proxy: str
    admin: str


class DemoFailed(UnderstudyError):
    """The run itself went wrong, so there is nothing to report."""


def play(*, once: bool, requests: int, folder: Path, seed: int) -> int:
    """See `understudy.demo.run`."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with _interruptible(), _ended_undisturbed() as children:
        try:
            return _play(console, children, once=once, requests=requests, folder=folder, seed=seed)
        except KeyboardInterrupt:
            console.print("\nStopped.")
            return INTERRUPTED
        except (ChildFailed, DemoFailed) as problem:
            console.print("\n[red]The demo failed.[/red]")
            console.print(str(problem), markup=False, soft_wrap=True)
            return 1


def _play(
    console: Console, children: ExitStack, *, once: bool, requests: int, folder: Path, seed: int
) -> int:
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    console.print("Raising the curtain: two releases of a shop, and Understudy in front of them.")
    addresses, stage = raise_curtain(folder, children)
    console.print(f"  ready after {time.monotonic() - started:.1f} s; everything is written to {folder}/")
    tally = _visit(console, addresses, requests=requests, seed=seed)
    for child in stage:
        child.check()
    report = evidence(addresses)
    problems = [*problems_of(tally), *problems_of_counts(tally, cohorts(addresses))]
    write_report(report, folder)
    console.print()
    render_text(report, console)
    checks = judge(report)
    show_checks(console, checks)
    for problem in problems:
        console.print(f"[red]![/red] {problem}")
    is_good = not problems and all(check.ok for check in checks)
    _say_goodbye(console, addresses, folder, is_good=is_good, seconds=time.monotonic() - started)
    if not once and sys.stdin.isatty() and sys.stdout.isatty():
        _stay(console)
    return 0 if is_good else 1


# -- the stage


def raise_curtain(folder: Path, children: ExitStack) -> tuple[Addresses, list[Child]]:
    """Start both shops and ``understudy serve`` and wait until they answer.

    Raises:
        ChildFailed: one of them ended or was not ready in time.
    """
    for name in _LEFTOVERS:
        (folder / name).unlink(missing_ok=True)
    shops = [_start_shop(version, folder, children) for version in ("v1", "v2")]
    proxy_port, admin_port = free_ports(2)
    config = folder / "understudy.yaml"
    ports = {
        "proxy_port": proxy_port,
        "admin_port": admin_port,
        "v1_port": shops[0][1],
        "v2_port": shops[1][1],
    }
    config.write_text(configuration(ports), encoding="utf-8")
    serve = Child.start(
        "understudy serve", ["-m", "understudy", "serve", "-c", str(config)], log=folder / "serve.log"
    )
    children.callback(serve.stop)
    addresses = Addresses(proxy=f"http://127.0.0.1:{proxy_port}", admin=f"http://127.0.0.1:{admin_port}")
    serve.wait_until(lambda: answers(f"{addresses.admin}/readyz"), seconds=READY_SECONDS)
    return addresses, [serve, *(child for child, _ in shops)]


def configuration(ports: Mapping[str, int]) -> str:
    """The text of ``understudy.yaml`` with its four ports filled in."""
    text = resources.files("understudy.demo").joinpath("understudy.yaml").read_text(encoding="utf-8")
    # `$flagd.flagKey` belongs to the rules, so unknown names stay.
    return Template(text).safe_substitute(ports)


def _start_shop(version: str, folder: Path, children: ExitStack) -> tuple[Child, int]:
    bound = listener()
    with bound:
        port = int(bound.getsockname()[1])
        arguments = ["-m", "understudy.demo.shop", "--version", version, "--fd", str(bound.fileno())]
        log = folder / f"shop-{version}.log"
        shop = Child.start(f"shop {version}", arguments, log=log, pass_fds=[bound.fileno()])
    children.callback(shop.stop)
    shop.wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=READY_SECONDS)
    return shop, port


# -- the visitors


def _visit(console: Console, addresses: Addresses, *, requests: int, seed: int) -> Tally:
    planned = visits(requests=requests, seed=seed)
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("visitors ask", total=requests)
        return asyncio.run(_send(addresses.proxy, planned, lambda: bar.advance(task)))


async def _send(url: str, planned: Sequence[Visit], progress: Callable[[], None]) -> Tally:
    async with client_of(url) as client:
        return await shop_around(client, planned, progress=progress)


def problems_of(tally: Tally) -> list[str]:
    """What the clients saw that they should not have."""
    problems = []
    if tally.wrong:
        problems.append(
            f"{tally.wrong} of {tally.asked} answers were wrong, such as: {'; '.join(tally.examples)}"
        )
    if split := tally.split_users:
        problems.append(f"{len(split)} users met two releases, such as {split[0]}")
    return problems


def problems_of_counts(tally: Tally, counted: Mapping[str, int]) -> list[str]:
    """Where the metrics of the proxy, requests by cohort, disagree with what the clients saw."""
    seen = {
        "canary": tally.by_release[NextShop.release],
        "stable and dark": tally.by_release[Shop.release],
    }
    metrics = {
        "canary": counted.get("canary", 0),
        "stable and dark": counted.get("stable", 0) + counted.get("dark", 0),
    }
    return [
        f"{cohort}: the metrics count {metrics[cohort]} requests, the clients {seen[cohort]}"
        for cohort in seen
        if metrics[cohort] != seen[cohort]
    ]


# -- the evidence


def evidence(addresses: Addresses) -> dict[str, Any]:
    """The report, once every mirrored request is accounted for and the count of exchanges stands still.

    Raises:
        DemoFailed: that did not happen within `EVIDENCE_SECONDS`, or the report could not be read.
    """
    deadline = time.monotonic() + EVIDENCE_SECONDS
    last, steady = -1, 0
    while True:
        report = _report(addresses)
        exchanges = int(report["exchanges"])
        steady = steady + 1 if is_settled(report["mirror"]) and exchanges == last else 0
        last = exchanges
        if steady >= STEADY_POLLS:
            return report
        if time.monotonic() > deadline:
            raise DemoFailed(f"the evidence did not settle within {EVIDENCE_SECONDS:g} s: {report['mirror']}")
        time.sleep(POLL_SECONDS)


def is_settled(mirror: Mapping[str, Any]) -> bool:
    """Whether every eligible request was sent, skipped or dropped, and every sent one has an outcome."""
    skipped, dropped = sum(mirror["skipped"].values()), sum(mirror["dropped"].values())
    is_sent = mirror["eligible"] == mirror["sent"] + skipped + dropped
    is_answered = mirror["sent"] == mirror["answered"] + sum(mirror["failed"].values())
    return bool(mirror["answered"] and is_sent and is_answered)


def _report(addresses: Addresses) -> dict[str, Any]:
    answer = _get(f"{addresses.admin}/api/v1/report")
    report: dict[str, Any] = orjson.loads(answer.content)
    return report


def cohorts(addresses: Addresses) -> Counter[str]:
    """Requests by variant, from the metrics of the proxy."""
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(_get(f"{addresses.admin}/metrics").text):
        for sample in family.samples:
            if sample.name == "understudy_requests_total":
                counted[sample.labels["variant"]] += int(sample.value)
    return counted


def _get(url: str) -> httpx.Response:
    try:
        answer = httpx.get(url, timeout=10.0, trust_env=False)
    except httpx.HTTPError as error:
        raise DemoFailed(f"{url}: {type(error).__name__}: {error}") from error
    if answer.status_code != 200:
        raise DemoFailed(f"{url}: status {answer.status_code}: {answer.text[:500]}")
    return answer


# -- the curtain call


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """The report as ``report.html`` and ``report.json`` in *folder*."""
    (folder / "report.html").write_text(render_html(report), encoding="utf-8")
    (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The table of what was planted and what was found."""
    table = Table(title="Planted, and found?", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("", "planted", "where", "expected", "report says"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]NO[/red]"
        table.add_row(mark, check.what, check.where, check.expected, check.verdict)
    console.print()
    console.print(table)


def _say_goodbye(
    console: Console, addresses: Addresses, folder: Path, *, is_good: bool, seconds: float
) -> None:
    verdict = (
        "[green]All planted faults found, no noise blamed[/green]" if is_good else "[red]Not as planted[/red]"
    )
    console.print(f"\n{verdict} ({seconds:.0f} s).")
    console.print(f"  proxy    {addresses.proxy}/catalogue", soft_wrap=True)
    console.print(f"  report   {addresses.admin}/", soft_wrap=True)
    console.print(f"  metrics  {addresses.admin}/metrics", soft_wrap=True)
    console.print(f"  on disk  {(folder / 'report.html').resolve().as_uri()}", soft_wrap=True)


def _stay(console: Console) -> None:
    console.print("Ctrl-C ends the show.")
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        console.print("\nCurtain.")


# -- signals


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM alike raise KeyboardInterrupt, even where a shell had SIGINT ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ended_undisturbed() -> Iterator[ExitStack]:
    """A stack whose closing, which is bounded, no impatient Ctrl-C can cut short."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        stack.close()
