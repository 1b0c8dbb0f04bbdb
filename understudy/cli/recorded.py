"""`understudy record`: the stream of a recording into a file, with a bar while it comes."""

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import chain
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
MOST_ASKINGS: Final = 12
ASKING_SECONDS: Final = 0.25
_SUMMARY: Final = b'"_understudy":'


@dataclass(slots=True, kw_only=True)
class _Came:
    """What has come: the last bytes, how many entries, and what ended it too early, with its exit code."""

    tail: bytes = b""
    entries: int = 0
    trouble: str = ""
    code: ExitCode = ExitCode.UNREACHABLE

    def add(self, piece: bytes) -> None:
        seen = self.tail[-len(BEGINNING) + 1 :] + piece
        self.entries += seen.count(BEGINNING)
        self.tail = (self.tail + piece)[-TAIL_BYTES:]

    def end(self, trouble: str, code: ExitCode) -> None:
        self.trouble, self.code = trouble, code


def run(api: AdminApi, wanted: Mapping[str, Any], output: Path) -> ExitCode:
    """Record what is *wanted* into *output*; how the command shall end. What has come is kept, whatever
    ends it. Raises: CommandError."""
    part = output.with_name(output.name + ".part")
    try:
        with _ending_early(api) as asked:
            came = _receive(api, wanted, part)
        summary = _summary(came.tail)
        if summary is None and asked.is_set():  # however it broke off then
            came.end("interrupted", ExitCode.INTERRUPTED)
        if summary is None and not came.entries:
            part.unlink(missing_ok=True)
            raise CommandError(f"nothing was recorded: {came.trouble or 'it broke off'}", code=came.code)
        part.replace(output)
    except OSError as error:
        message = f"{error.filename or output}: {error.strerror or error}"
        raise CommandError(message, code=ExitCode.CANNOT_WRITE) from None
    if summary is None:
        complain(
            f"{output} breaks off: {came.trouble or 'the proxy left'}",
            "`understudy replay` takes every request that is whole in it",
            is_warning=True,
        )
        return came.code
    return _tell(summary, output)


def _receive(api: AdminApi, wanted: Mapping[str, Any], part: Path) -> _Came:
    """Write the HAR to *part* as it comes. Raises: CommandError before there is a file, OSError."""
    came = _Came()
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (TextColumn("record"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=int(wanted["requests"]))
        try:
            pieces = api.stream(PATH, wanted)
            first = next(pieces, b"")  # a refusal comes before it, and must not touch another's file
            with part.open("wb", buffering=0) as file:
                for piece in chain([first], pieces):
                    if not _is_written(file, piece, came):
                        break
                    came.add(piece)
                    bar.update(task, completed=came.entries)
        except httpx.TransportError as error:
            came.end(" ".join(str(error).split()) or type(error).__name__, ExitCode.UNREACHABLE)
        except KeyboardInterrupt:
            came.end("interrupted", ExitCode.INTERRUPTED)
    return came


def _is_written(file: FileIO, piece: bytes, came: _Came) -> bool:
    """Whether all of *piece* is in *file*; a disk may be full, and take a part."""
    try:
        if file.write(piece) == len(piece):
            return True
        trouble = os.strerror(errno.ENOSPC)
    except OSError as error:
        trouble = error.strerror or str(error)
    came.end(trouble, ExitCode.CANNOT_WRITE)
    return False


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
def _ending_early(api: AdminApi) -> Iterator[threading.Event]:
    """Whether Ctrl-C was pressed. The first one asks the proxy to end the recording, whose file is then
    completed. The second, or the first when nobody hears it, ends it here."""
    asked, over = threading.Event(), threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        # Not in the handler: what it interrupts may be half an import, or half a request.
        threading.Thread(target=_end, args=(api, over), daemon=True).start()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)


def _end(api: AdminApi, over: threading.Event) -> None:
    """End the recording, which may not have begun yet; when nobody hears, interrupt the one who reads it."""
    for _ in range(MOST_ASKINGS):
        try:
            if api.json(api.delete(PATH), key="ended")["ended"]:
                return
        except CommandError:
            break
        if over.wait(ASKING_SECONDS):
            return
    main = threading.main_thread().ident
    if main is not None and not over.is_set():
        signal.pthread_kill(main, signal.SIGINT)
