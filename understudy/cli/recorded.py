"""`understudy record`: the stream of a recording into a file, with a bar while it comes."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from understudy.cli.frame import CommandError, ExitCode, complain
from understudy.cli.remote import AdminApi

PATH: Final = "/api/v1/recordings"
BEGINNING: Final = b'{"startedDateTime":'
"""Of each entry; it cannot stand inside one, where quotes are escaped."""

TAIL_BYTES: Final = 64 * 1024
_SUMMARY: Final = b'"_understudy":'


def run(api: AdminApi, wanted: Mapping[str, Any], output: Path) -> ExitCode:
    """Record what is *wanted* into *output*; how the command shall end. Raises: CommandError, OSError."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb", buffering=0) as file, _ending_early(api):
            tail, came, trouble = _receive(api, wanted, file.write)
    except CommandError:
        part.unlink()
        raise
    summary = _summary(tail)
    if summary is None and not came:
        part.unlink()
        raise CommandError(
            f"nothing was recorded: {trouble or 'the recording broke off'}", code=ExitCode.UNREACHABLE
        )
    part.replace(output)
    if summary is None:
        complain(
            f"{output} breaks off: {trouble or 'the proxy left'}",
            "`understudy replay` takes every request that is whole in it",
            is_warning=True,
        )
        return ExitCode.UNREACHABLE
    return _tell(summary, output)


def _receive(api: AdminApi, wanted: Mapping[str, Any], write: Any) -> tuple[bytes, int, str]:
    """Write the HAR as it comes: its last bytes, how many entries came, and what ended it too early."""
    tail, came, trouble = b"", 0, ""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (TextColumn("record"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=int(wanted["requests"]))
        try:
            for piece in api.stream(PATH, wanted):
                write(piece)
                seen = tail[-len(BEGINNING) + 1 :] + piece
                came += seen.count(BEGINNING)
                tail = (tail + piece)[-TAIL_BYTES:]
                bar.update(task, completed=came)
        except httpx.TransportError as error:
            trouble = " ".join(str(error).split()) or type(error).__name__
    return tail, came, trouble


def _summary(tail: bytes) -> dict[str, Any] | None:
    """What the HAR says of itself at its end; None when it has none."""
    at = tail.rfind(_SUMMARY)
    if at < 0:
        return None
    try:
        summary, _ = json.JSONDecoder().raw_decode(tail[at + len(_SUMMARY) :].decode("utf-8"))
    except ValueError:
        return None
    return summary if isinstance(summary, dict) else None


def _tell(summary: Mapping[str, Any], output: Path) -> ExitCode:
    requests, passed = int(summary["requests"]), int(summary["passed"])
    why = {"requests": "enough requests", "seconds": "time is up", "max_bytes": "the file is full"}
    ended = why.get(str(summary["ended"]), str(summary["ended"]))
    typer.echo(
        f"{output}: {requests:,} of {passed:,} requests in {summary['seconds']:.0f} s ({ended})", err=True
    )
    if summary["missed"]:
        missed = ", ".join(f"{reason} {n:,}" for reason, n in sorted(summary["missed"].items()))
        complain(f"some were missed: {missed}", is_warning=True)
    if not requests:
        complain(
            "nothing passed that the recording asked for", "has the proxy traffic? Is --path-prefix right?"
        )
        return ExitCode.REFUSED
    return ExitCode.OK


@contextmanager
def _ending_early(api: AdminApi) -> Iterator[None]:
    """The first Ctrl-C asks the proxy to end the recording, whose file is then completed."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        api.delete(PATH)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
